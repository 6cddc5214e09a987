//! Forms of single values.

use crate::digest::Sha256;
use crate::recipe::Arch;
use crate::recipe::path::{self, Fault};

type Checked = Result<(), Fault>;

fn need(holds: bool, what: impl FnOnce() -> String, hint: &str) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(Fault::new(what(), hint)),
    }
}

fn only(text: &str, more: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
}

/// A name of the recipe's own: it becomes part of file names.
pub(super) fn name(name: &str) -> Checked {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let hint = "use up to 64 letters of ASCII, digits, `-`, `_` and `.`, first a letter or digit";
    need(first && rest && name.len() <= 64, || format!("{name:?} is not a name"), hint)
}

/// A fragment of a kernel's configuration: one that comes with guestsmith by name, one of the
/// recipe's own by its path (`./mine.config`).
pub(super) fn fragment(name: &str) -> Checked {
    match name.contains('/') {
        true => super::super::path::beside_recipe(name),
        false => self::name(name),
    }
}

/// A suite or component: words with slashes (`trixie-updates`, `trixie/updates`).
pub(super) fn suite(suite: &str) -> Checked {
    let parts = suite.split('/').all(|p| !p.is_empty() && !p.starts_with('.') && only(p, "-_.+"));
    need(parts, || format!("{suite:?} is not the name of a suite or component"), "as in `trixie`")
}

/// Name of a Debian package (Debian Policy 5.6.1 and 5.6.7).
pub(super) fn package(name: &str) -> Checked {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let holds = first && name.len() >= 2 && only(name, "+-.");
    let hint = match name.contains(['=', ':', '_']) {
        true => "only the name: versions belong to the lock, the architecture to `arch`",
        false => "two or more of a-z, 0-9, `+`, `-` and `.`, first a letter or digit",
    };
    need(holds, || format!("{name:?} is not the name of a Debian package"), hint)
}

/// Path of one file in a package, perhaps with `*`.
pub(super) fn file_pattern(pattern: &str) -> Checked {
    path::in_image(pattern)?;
    glob(pattern)
}

/// A glob over paths in an image.
pub(super) fn glob(pattern: &str) -> Checked {
    let hint = "a path in the image starts with a slash, as in /usr/share/doc/**";
    need(pattern.starts_with('/'), || format!("{pattern:?} is not absolute"), hint)?;
    match globset::GlobBuilder::new(pattern).literal_separator(true).build() {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(format!("{pattern:?} is not a glob: {}", error.kind()), "")),
    }
}

/// Address of a download.
pub(super) fn url(url: &str) -> Checked {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let shape = rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or("");
        !host.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    need(
        shape,
        || format!("{url:?} is not an http(s) address"),
        "as in https://example.org/a.tar",
    )?;
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or("");
    let hint = "keep credentials out of recipes: they end up in locks and logs";
    need(!host.contains('@'), || "the address holds credentials".to_string(), hint)
}

/// Address of a Git repository: as of a download, or a directory of this machine.
pub(super) fn repository(address: &str) -> Checked {
    match address.strip_prefix("file://") {
        Some(path) => path::in_image(path),
        None => url(address),
    }
}

/// Commit, tag or branch (git-check-ref-format, the part that matters for safety).
pub(super) fn revision(rev: &str) -> Checked {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    let holds =
        !rev.is_empty() && !rev.starts_with('-') && !rev.contains("..") && !rev.contains(bad);
    need(holds, || format!("{rev:?} is not a commit, tag or branch"), "")
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(text: &str) -> Checked {
    match text.parse::<Sha256>() {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(error.to_string(), "the output of `sha256sum FILE`")),
    }
}

/// Name of a crate.
pub(super) fn crate_name(name: &str) -> Checked {
    let letter = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let holds = letter && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    need(holds, || format!("{name:?} is not the name of a crate"), "")
}

/// A feature of a crate, or of one that it depends on (`name/feature`).
pub(super) fn feature(name: &str) -> Checked {
    let sound = |c: char| c.is_ascii_alphanumeric() || "-_+./".contains(c);
    let holds = !name.is_empty() && !name.starts_with('-') && name.chars().all(sound);
    need(holds, || format!("{name:?} is not a feature"), "")
}

/// Exact version of a crate (Semantic Versioning 2.0.0).
pub(super) fn crate_version(version: &str) -> Checked {
    let core = version.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<_> = core.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let holds = numbers.len() == 3 && numbers.iter().all(digits);
    need(holds, || format!("{version:?} is not an exact version"), "as in \"1.2.3\"")
}

/// Reference of an OCI image with a digest.
pub(super) fn image(image: &str) -> Checked {
    let digest = image.rsplit_once("@sha256:").map(|(_, digest)| digest.parse::<Sha256>());
    let hint = "as in registry.example/name@sha256:…: a tag can move";
    need(matches!(digest, Some(Ok(_))), || format!("{image:?} names no digest"), hint)
}

/// A platform description file of edk2.
pub(super) fn platform(platform: &str) -> Checked {
    path::beside_recipe(platform)?;
    let hint = "as in OvmfPkg/AmdSev/AmdSevX64.dsc";
    need(platform.ends_with(".dsc"), || format!("{platform:?} is not a platform"), hint)
}

/// Permission bits.
pub(super) fn mode(mode: &str) -> Checked {
    let digits = (3..=4).contains(&mode.len()) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let hint = "three or four octal digits in quotes, as in \"0755\"";
    need(digits, || format!("{mode:?} is not a mode"), hint)
}

/// Owner and group by number.
pub(super) fn owner(owner: &str) -> Checked {
    let number = |n: &str| n.parse::<u32>().is_ok() && !n.starts_with('+');
    let holds = owner.split_once(':').is_some_and(|(uid, gid)| number(uid) && number(gid));
    need(holds, || format!("{owner:?} is not an owner"), "two numbers in quotes, as in \"0:0\"")
}

/// An extended attribute (xattr(7)): its name has a namespace; its value is text, or bytes as `0x…`.
pub(super) fn xattr(name: &str, value: &str) -> Checked {
    let spaces = ["security.", "system.", "trusted.", "user."];
    let rest = spaces.iter().find_map(|space| name.strip_prefix(space));
    let named = rest.is_some_and(|rest| !rest.is_empty() && !name.contains(['=', '\0', '\n']));
    let hint = "as in `security.capability` or `user.origin`";
    need(named, || format!("{name:?} is not the name of an extended attribute"), hint)?;
    let bytes = value.strip_prefix("0x").is_none_or(|digits| crate::digest::unhex(digits).is_ok());
    need(bytes, || format!("{value:?} is not hexadecimal"), "two digits for each byte")
}

/// Name of an account or group (useradd(8), Debian's rule).
pub(super) fn account(name: &str) -> Checked {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let holds = first && only(name, "-_") && name.len() <= 32;
    let hint = "up to 32 of a-z, 0-9, `-` and `_`, first a letter or `_`";
    need(holds, || format!("{name:?} is not the name of an account"), hint)
}

/// Name of a unit (systemd.unit(5)).
pub(super) fn unit(name: &str) -> Checked {
    let kinds = ["service", "socket", "target", "timer", "path", "mount", "slice", "device"];
    let stem = name.rsplit_once('.').filter(|(_, kind)| kinds.contains(kind));
    let letters = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let holds = stem.is_some_and(|(stem, _)| !stem.is_empty() && stem.chars().all(letters));
    need(holds, || format!("{name:?} is not the name of a unit"), "as in `ssh.service`")
}

/// A word of the kernel command line.
pub(super) fn word(word: &str) -> Checked {
    need(!word.is_empty(), || "an empty word".to_string(), "remove it")?;
    let bad = word.chars().find(|c| c.is_control());
    need(
        bad.is_none(),
        || format!("{word:?} has the character {:?}", bad.unwrap_or_default()),
        "the kernel's command line is one line of text",
    )?;
    let quoted = word.matches('"').count().is_multiple_of(2);
    need(quoted, || format!("a quotation mark of {word:?} is not closed"), "")?;
    let outside: String = word.split('"').step_by(2).collect();
    need(
        !outside.contains(' '),
        || format!("{word:?} is more than one word"),
        "write one item per word: the words are joined by single spaces",
    )
}

/// Bytes of command line that the kernel keeps: COMMAND_LINE_SIZE of arch/*/include, less the NUL.
pub(super) fn cmdline_limit(arch: Arch) -> usize {
    match arch {
        Arch::X86_64 | Arch::Aarch64 => 2047,
        Arch::S390x => 4095,
    }
}
