//! Fragments of a kernel configuration, and how they are put together.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, ensure};

use crate::recipe::Arch;

macro_rules! fragments {
    ($($file:literal,)+) => {
        /// Fragments that come with guestsmith, by file name.
        pub const FRAGMENTS: &[(&str, &str)] = &[$(
            ($file, include_str!(concat!("../../../kernel-configs/", $file))),
        )+];
    };
}

fragments! {
    "agent.config",
    "base.aarch64.config",
    "base.config",
    "base.s390x.config",
    "base.x86_64.config",
    "confidential.aarch64.config",
    "confidential.s390x.config",
    "confidential.x86_64.config",
    "hardened.aarch64.config",
    "hardened.config",
    "hardened.s390x.config",
    "hardened.x86_64.config",
    "realm.aarch64.config",
}

/// A fragment: its name in messages, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// File name.
    pub name: String,
    /// Lines.
    pub text: String,
}

/// One line of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `CONFIG_…`.
    pub name: String,
    /// What it must be; `n` says off.
    pub value: String,
    /// File name and line number of the fragment.
    pub place: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} ({})", self.name, self.value, self.place)
    }
}

/// The fragments that come with guestsmith under `name` for `arch`: `NAME.config` and
/// `NAME.ARCH.config`, of which at least one exists.
///
/// # Errors
/// There is neither.
pub fn named(name: &str, arch: Arch) -> Result<Vec<Fragment>> {
    let arch = match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "aarch64",
        Arch::S390x => "s390x",
    };
    let files = [format!("{name}.config"), format!("{name}.{arch}.config")];
    let known = FRAGMENTS.iter().filter(|(file, _)| files.iter().any(|wanted| wanted == file));
    let found: Vec<_> =
        known.map(|(name, text)| Fragment { name: (*name).into(), text: (*text).into() }).collect();
    let all: Vec<_> = FRAGMENTS.iter().map(|(file, _)| *file).collect();
    ensure!(
        !found.is_empty(),
        "there is no fragment `{name}` for {arch}; known are {} (a file of your own is a path: \
         ./{name}.config)",
        all.join(", ")
    );
    Ok(found)
}

/// All lines of `fragments`, in order, each option once.
///
/// # Errors
/// A line is none of a configuration, or two lines want different things.
pub fn merge(fragments: &[Fragment]) -> Result<Vec<Line>> {
    let mut seen = BTreeMap::<String, Line>::new();
    let mut merged = Vec::new();
    for line in fragments.iter().map(lines).collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        match seen.get(&line.name) {
            Some(first) => ensure!(
                first.value == line.value,
                "two lines of the kernel's configuration contradict each other: {first} and {line}"
            ),
            None => {
                seen.insert(line.name.clone(), line.clone());
                merged.push(line);
            }
        }
    }
    Ok(merged)
}

fn lines(fragment: &Fragment) -> Result<Vec<Line>> {
    let numbered = fragment.text.lines().enumerate();
    let numbered = numbered.map(|(index, text)| (index + 1, text.trim()));
    let stated = numbered.filter(|(_, text)| !text.is_empty() && !is_comment(text));
    stated.map(|(number, text)| line(text, format!("{}:{number}", fragment.name))).collect()
}

/// `# CONFIG_X is not set` is a statement, as in a `.config`.
fn is_comment(text: &str) -> bool {
    text.starts_with('#') && unset(text).is_none()
}

fn unset(text: &str) -> Option<&str> {
    let name = text.strip_prefix("# ")?.strip_suffix(" is not set")?;
    name.starts_with("CONFIG_").then_some(name)
}

fn line(text: &str, place: String) -> Result<Line> {
    if let Some(name) = unset(text) {
        return Ok(Line { name: name.into(), value: "n".into(), place });
    }
    let (name, value) = text.split_once('=').with_context(|| wrong(text, &place))?;
    let option = name.strip_prefix("CONFIG_").unwrap_or_default();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ensure!(!option.is_empty() && option.chars().all(word), wrong(text, &place));
    ensure!(
        value != "m",
        "{place}: {name}=m asks for a module; modules are files of their own, say y or n"
    );
    Ok(Line { name: name.into(), value: value.into(), place })
}

fn wrong(text: &str, place: &str) -> String {
    format!("{place}: `{text}` is no line of a kernel configuration (CONFIG_NAME=value)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(name: &str, text: &str) -> Fragment {
        Fragment { name: name.into(), text: text.into() }
    }

    #[test]
    fn our_fragments_agree_on_every_architecture() {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::S390x] {
            let names = ["base", "confidential", "agent", "hardened"];
            let fragments: Vec<_> =
                names.iter().flat_map(|name| named(name, arch).expect("a fragment")).collect();
            let lines = merge(&fragments).expect("no contradiction");
            assert!(lines.len() > 150, "{arch:?}: {}", lines.len());
        }
    }

    #[test]
    fn a_contradiction_shows_both_lines() {
        let one = fragment("one.config", "# why\nCONFIG_A=y\n");
        let two = fragment("two.config", "CONFIG_B=1\n\n# CONFIG_A is not set\n");
        let error = merge(&[one.clone(), two]).expect_err("a contradiction");
        assert_eq!(
            error.to_string(),
            "two lines of the kernel's configuration contradict each other: \
             CONFIG_A=y (one.config:2) and CONFIG_A=n (two.config:3)"
        );
        assert_eq!(merge(&[one.clone(), one]).expect("twice the same").len(), 1);
    }

    #[test]
    fn what_is_no_line_is_refused_with_its_place() {
        let refused = |text: &str| merge(&[fragment("f", text)]).expect_err(text).to_string();
        assert!(refused("CONFIG_A").starts_with("f:1: `CONFIG_A` is no line"));
        assert!(refused("\nA=y").starts_with("f:2: `A=y` is no line"));
        assert!(refused("CONFIG_A B=y").contains("is no line"));
        assert!(refused("CONFIG_A=m").contains("asks for a module"));
        let unknown = named("hardend", Arch::X86_64).expect_err("unknown").to_string();
        assert!(unknown.starts_with("there is no fragment `hardend` for x86_64; known are agent"));
    }
}
