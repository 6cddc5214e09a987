//! Options that make every build of a kernel another one, refused before minutes are spent.

use std::fmt;

use super::check::values;

/// A source of differences: an option, the values that do no harm, and why others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `CONFIG_…`.
    pub name: &'static str,
    /// Values that do no harm, besides being off.
    pub harmless: &'static [&'static str],
    /// What happens otherwise, and what to do.
    pub why: &'static str,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: {}", self.name, self.why)
    }
}

/// The known sources of differences (Linux `Documentation/kbuild/reproducible-builds.rst`, and
/// reports of projects that ran into them).
pub const RULES: &[Rule] = &[
    Rule {
        name: "CONFIG_MODULE_SIG",
        harmless: &[],
        why: "a signing key is generated and its certificate becomes part of the image; build what \
              the guest needs in, without modules",
    },
    Rule {
        name: "CONFIG_RANDSTRUCT_FULL",
        harmless: &[],
        why: "structures are laid out by a seed that is drawn at every build",
    },
    Rule {
        name: "CONFIG_RANDSTRUCT_PERFORMANCE",
        harmless: &[],
        why: "structures are laid out by a seed that is drawn at every build",
    },
    Rule {
        name: "CONFIG_GCC_PLUGIN_LATENT_ENTROPY",
        harmless: &[],
        why: "the compiler draws random numbers into the code",
    },
    Rule {
        name: "CONFIG_DEBUG_INFO_BTF",
        harmless: &[],
        why: "pahole orders types by which of its threads comes first",
    },
    Rule {
        name: "CONFIG_LOCALVERSION_AUTO",
        harmless: &[],
        why: "the version takes in the state of a Git repository around the sources",
    },
    Rule {
        name: "CONFIG_INITRAMFS_SOURCE",
        harmless: &["\"\""],
        why: "files of the build machine become part of the image; the initrd is our own",
    },
    Rule {
        name: "CONFIG_SYSTEM_TRUSTED_KEYS",
        harmless: &["\"\""],
        why: "a certificate is read from a path that need not exist elsewhere",
    },
    Rule {
        name: "CONFIG_IKHEADERS",
        harmless: &[],
        why: "an archive with the times of files becomes part of the image",
    },
    Rule {
        name: "CONFIG_DEBUG_INFO",
        harmless: &[],
        why: "paths of the build become part of the image's link map; ship no debugging information",
    },
    Rule {
        name: "CONFIG_GCOV_KERNEL",
        harmless: &[],
        why: "paths of the build are compiled into the image",
    },
];

/// The rules that `config` breaks.
pub fn lint(config: &str) -> Vec<&'static Rule> {
    let set = values(config);
    let broken = |rule: &&Rule| set.get(rule.name).is_some_and(|v| !rule.harmless.contains(v));
    RULES.iter().filter(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_of_differences_is_named() {
        let quiet = "CONFIG_INITRAMFS_SOURCE=\"\"\n# CONFIG_MODULE_SIG is not set\nCONFIG_A=y\n";
        assert_eq!(lint(quiet), Vec::<&Rule>::new());
        for rule in RULES {
            let config = format!("{quiet}{}=y\n", rule.name);
            assert_eq!(lint(&config), [rule]);
        }
    }
}
