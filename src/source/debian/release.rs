//! A signed release: what its suite is, when it was made, and which indices it vouches for.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::control::{self, Stanza};
use super::date::Time;
use crate::store::Expected;

/// What a `Release` file says (<https://wiki.debian.org/DebianRepository/Format>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `Suite`: `stable`.
    pub suite: Option<String>,
    /// `Codename`: `trixie`.
    pub codename: Option<String>,
    /// When the archive made it.
    pub date: Time,
    /// Until when it may be used.
    pub valid_until: Option<Time>,
    /// True if packages for all architectures stand in an index of their own.
    pub separate_all: bool,
    /// True if indices can be had under their digest.
    pub by_hash: bool,
    /// Indices by path below `dists/SUITE`.
    pub files: BTreeMap<String, Expected>,
}

impl Release {
    /// Reads the text that was signed.
    ///
    /// # Errors
    /// A field is missing or is not of its form.
    pub fn parse(text: &str) -> Result<Self> {
        let mut stanzas = control::stanzas(text);
        let stanza = stanzas.next().context("it is empty")??;
        if stanzas.next().is_some() {
            bail!("it has more than one stanza");
        }
        let owned = |name| stanza.get(name).map(str::to_string);
        let words = |name| stanza.get(name).unwrap_or_default().split_whitespace();
        Ok(Self {
            suite: owned("Suite"),
            codename: owned("Codename"),
            date: Time::of_release(stanza.need("Date")?)?,
            valid_until: stanza.get("Valid-Until").map(Time::of_release).transpose()?,
            separate_all: words("Architectures").any(|arch| arch == "all")
                && !words("No-Support-for-Architecture-all").any(|what| what == "Packages"),
            by_hash: stanza.get("Acquire-By-Hash") == Some("yes"),
            files: files(&stanza)?,
        })
    }

    /// Whether this is the release of `suite`, by any of the names that an archive serves it under.
    pub fn is_of(&self, suite: &str) -> bool {
        [&self.suite, &self.codename].into_iter().flatten().any(|name| name == suite)
    }
}

/// `SHA256`; the weaker MD5 and SHA-1 lists are not looked at.
fn files(stanza: &Stanza<'_>) -> Result<BTreeMap<String, Expected>> {
    let list = stanza
        .get("SHA256")
        .context("it has no list of SHA-256 digests; nothing weaker is trusted (MD5, SHA-1)")?;
    list.lines().map(str::trim).filter(|line| !line.is_empty()).map(file).collect()
}

fn file(line: &str) -> Result<(String, Expected)> {
    let (path, expected) =
        checksum(line).with_context(|| format!("`{line}` is no line of the SHA256 list"))?;
    if !crate::lock::is_relative(path) {
        bail!("`{path}` leads out of the archive");
    }
    Ok((path.into(), expected))
}

/// `DIGEST SIZE NAME`, as in `Release` and `.dsc`.
pub fn checksum(line: &str) -> Option<(&str, Expected)> {
    let mut words = line.split_ascii_whitespace();
    let (sha256, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let name = words.next().filter(|_| words.next().is_none())?;
    Some((name, Expected { sha256, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "Suite: stable\nCodename: trixie\n\
        Date: Sat, 21 Nov 2026 09:15:44 UTC\nValid-Until: Sat, 28 Nov 2026 09:15:44 UTC\n\
        Acquire-By-Hash: yes\nArchitectures: all amd64\nSHA256:\n \
        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 main/Packages\n";

    #[test]
    fn what_a_release_says() {
        let release = Release::parse(SOUND).expect("sound");
        assert!(release.is_of("trixie") && release.is_of("stable") && !release.is_of("sid"));
        assert_eq!(release.date.to_string(), "2026-11-21T09:15:44Z");
        assert_eq!(release.valid_until.expect("stated").to_string(), "2026-11-28T09:15:44Z");
        assert!(release.separate_all && release.by_hash);
        assert_eq!(release.files["main/Packages"].size, 3);
        let merged = format!("No-Support-for-Architecture-all: Packages\n{SOUND}");
        assert!(!Release::parse(&merged).expect("sound").separate_all);
    }

    #[test]
    fn what_is_no_release_is_refused() {
        let refused = |from: &str, to: &str| {
            assert!(SOUND.contains(from), "{from}");
            format!("{:#}", Release::parse(&SOUND.replace(from, to)).expect_err(to))
        };
        assert!(refused("SHA256:", "MD5Sum:").contains("nothing weaker is trusted"));
        assert!(refused("Date: Sat", "Dato: Sat").contains("has no field `Date`"));
        assert!(refused("main/Packages", "../Packages").contains("leads out of the archive"));
        assert!(refused(" 3 main", " -3 main").contains("is no line of the SHA256 list"));
        assert!(refused("Codename", "\nCodename").contains("more than one stanza"));
        assert_eq!(Release::parse("").expect_err("empty").to_string(), "it is empty");
    }
}
