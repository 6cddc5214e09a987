//! What a `Cargo.lock` pins: crates of the registry by hash, crates of Git repositories by commit.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::digest::{Sha1, Sha256};

/// Where Cargo says that a crate comes from when it is the public registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate of the registry that a `Cargo.lock` pins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the `.crate` file.
    pub sha256: Sha256,
}

/// A commit of a repository, as `Cargo.lock` writes it: `git+URL?rev=…#COMMIT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// Address of the repository.
    pub url: String,
    /// `rev`, `tag` or `branch` with its value, where the manifest asks for one.
    pub reference: Option<(String, String)>,
    /// The commit.
    pub commit: String,
}

/// All that a `Cargo.lock` takes from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// Crates of the registry, sorted.
    pub crates: Vec<Pinned>,
    /// Repositories, and the crates that are taken from each.
    pub repositories: BTreeMap<Repository, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct CargoLock {
    #[serde(default)]
    package: Vec<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

impl Outside {
    /// What the `Cargo.lock` of this text takes from outside.
    ///
    /// # Errors
    /// It is no `Cargo.lock`, or a crate comes from elsewhere than the registry and Git.
    pub fn of(text: &str) -> Result<Self> {
        let lock: CargoLock = toml::from_str(text).context("Cargo.lock")?;
        let mut outside = Self::default();
        for CargoPackage { name, version, source, checksum } in lock.package {
            let Some(source) = source else { continue };
            let sound =
                |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
            ensure!(sound(&name) && sound(&version), "Cargo.lock: `{name}` {version} is no crate");
            match (source.as_str(), checksum) {
                (REGISTRY, Some(checksum)) => {
                    let sha256 = checksum.parse();
                    let sha256 =
                        sha256.with_context(|| format!("Cargo.lock: the hash of {name}"))?;
                    outside.crates.push(Pinned { name, version, sha256 });
                }
                (git, None) if git.starts_with("git+") => {
                    let found = Repository::of(git);
                    let found = found.with_context(|| format!("Cargo.lock: {name} {version}"))?;
                    outside.repositories.entry(found).or_default().insert(name);
                }
                _ => bail!(
                    "Cargo.lock: {name} {version} comes from {source} and has no hash; vendor it"
                ),
            }
        }
        outside.crates.sort();
        Ok(outside)
    }
}

impl Repository {
    fn of(source: &str) -> Result<Self> {
        let wrong = || format!("{source} names no commit of a repository");
        let rest = source.strip_prefix("git+").with_context(wrong)?;
        let (place, commit) = rest.rsplit_once('#').with_context(wrong)?;
        commit.parse::<Sha1>().with_context(wrong)?;
        // It becomes part of a configuration.
        let sound = place.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c));
        ensure!(sound, wrong());
        let (url, query) = place.split_once('?').unwrap_or((place, ""));
        let reference = query.split_once('=').map(|(kind, value)| (kind.into(), value.into()));
        let known = |(kind, _): &(String, String)| ["rev", "tag", "branch"].contains(&&**kind);
        ensure!(reference.as_ref().is_none_or(known), wrong());
        Ok(Self { url: url.into(), reference, commit: commit.into() })
    }

    /// The table of Cargo's configuration by which the directory `dir` stands for it (the Cargo
    /// book, «Source Replacement»).
    pub fn replaced(&self, dir: &str) -> String {
        let Self { url, reference, commit } = self;
        let (query, line) = match reference {
            None => (String::new(), String::new()),
            Some((kind, value)) => (format!("?{kind}={value}"), format!("{kind} = \"{value}\"\n")),
        };
        format!(
            "[source.\"git+{url}{query}\"]\ngit = \"{url}\"\n{line}replace-with = \"{commit}\"\n\
             [source.{commit}]\ndirectory = \"{dir}/{commit}\"\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        version = 4
        [[package]]
        name = "agent"
        version = "0.1.0"
        dependencies = ["a"]
        [[package]]
        name = "a"
        version = "1.0.0+x"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        checksum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        [[package]]
        name = "b"
        version = "1.0.0"
        source = "git+https://example.org/b?rev=v1#4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    "#;

    #[test]
    fn crates_are_pinned_by_hash_and_repositories_by_commit() {
        let expected =
            Pinned { name: "a".into(), version: "1.0.0+x".into(), sha256: Sha256::of(b"abc") };
        let outside = Outside::of(LOCK).expect("a lock");
        assert_eq!(outside.crates, [expected]);
        let (repository, crates) = outside.repositories.first_key_value().expect("one");
        assert_eq!(crates, &BTreeSet::from(["b".to_string()]));
        assert_eq!(
            repository.replaced("/git"),
            "[source.\"git+https://example.org/b?rev=v1\"]\ngit = \"https://example.org/b\"\n\
             rev = \"v1\"\nreplace-with = \"4b825dc642cb6eb9a060e54bf8d69288fbee4904\"\n\
             [source.4b825dc642cb6eb9a060e54bf8d69288fbee4904]\n\
             directory = \"/git/4b825dc642cb6eb9a060e54bf8d69288fbee4904\"\n"
        );
    }

    #[test]
    fn what_has_no_hash_or_no_name_is_refused() {
        let refused = |from: &str, to: &str| {
            format!("{:#}", Outside::of(&LOCK.replace(from, to)).expect_err(to))
        };
        let other = refused("registry+https://github.com/rust-lang/crates.io-index", "path+/x");
        assert_eq!(other, "Cargo.lock: a 1.0.0+x comes from path+/x and has no hash; vendor it");
        assert!(
            refused("\"a\"\n        version", "\"../a\"\n        version").contains("no crate")
        );
        assert!(refused("ba7816", "xa7816").contains("the hash of a"));
        assert!(refused("#4b825d", "#xb825d").contains("names no commit"));
        assert!(refused("?rev=", "?ref=").contains("names no commit"));
    }
}
