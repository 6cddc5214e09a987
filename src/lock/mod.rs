//! The lock: every input of a recipe by hash, with the chain of trust that led to it.
//!
//! `NAME.lock` is TOML, made by `guestsmith lock`, one entry a block, sorted, so that a change shows
//! as few lines. It names no host: paths are relative to whatever mirror has them. A reader refuses
//! a greater [`VERSION`]; [`REVISION`] counts additions that an older reader may ignore.

pub mod diff;
mod hash;
mod text;
mod wants;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::recipe::Recipe;
pub use text::is_relative;
pub use wants::{Depth, MACHINE, Want, wants};

/// Version of the format; a reader refuses a greater one.
pub const VERSION: u32 = 1;
/// Additions to the format since the version began.
pub const REVISION: u32 = 0;

/// What of ours shapes measured bytes, by name and version. A writer never changes what it writes
/// for an old version number.
pub const WRITERS: &[(&str, u32)] = &[("cpio", 1), ("gzip", 1), ("lz4", 1), ("xz", 1), ("zstd", 1)];

/// What is wrong with a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no lock.
    #[error("the lock cannot be read: {0}")]
    Syntax(String),
    /// A later guestsmith wrote it.
    #[error("the lock has version {found}, this guestsmith knows {VERSION}; use a later one")]
    Version {
        /// The version that stands in the lock.
        found: u32,
    },
    /// A writer of a version that this guestsmith does not have.
    #[error(
        "the lock asks for version {found} of the {writer} writer, this guestsmith has {known}"
    )]
    Writer {
        /// Name of the writer.
        writer: String,
        /// The version that the lock asks for.
        found: u32,
        /// What this guestsmith has: versions, or none.
        known: String,
    },
    /// The recipe has changed since it was locked.
    #[error("the lock does not belong to this recipe: {why}; run `guestsmith lock`")]
    Stale {
        /// What does not fit.
        why: String,
    },
}

/// All inputs of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Version of the format.
    pub version: u32,
    /// Additions to the format.
    #[serde(default)]
    pub revision: u32,
    /// Digest of the recipe with all it extends, as [`Recipe::digest`] gives it.
    #[serde(with = "hash")]
    pub recipe: Sha256,
    /// Versions of the writers that shape measured bytes.
    #[serde(default)]
    pub writers: BTreeMap<String, u32>,
    /// Signed releases of archives.
    #[serde(default, rename = "release", skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<Release>,
    /// Indices that the releases vouch for.
    #[serde(default, rename = "index", skip_serializing_if = "Vec::is_empty")]
    pub indices: Vec<Index>,
    /// Packages that the indices vouch for.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// Other files, each by hash.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Commits of Git repositories.
    #[serde(default, rename = "commit", skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<Commit>,
}

/// A signed release of one suite.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// `SUITE@DATE`; indices and packages name their release by it.
    pub id: String,
    /// Suite, as the recipe names it.
    pub suite: String,
    /// `dists/SUITE/InRelease`.
    pub path: String,
    /// Number of bytes.
    pub size: u64,
    /// SHA-256 of `InRelease`.
    #[serde(with = "hash")]
    pub sha256: Sha256,
    /// When the archive made it, RFC 3339.
    pub date: String,
    /// Until when the archive lets it be used, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// True if it was past that time when locked, and `--accept-expired` took it all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted_expired: bool,
    /// Fingerprints of the keys whose signatures on it hold.
    pub signers: Vec<String>,
}

/// An index: the list of one component's packages for one architecture, or of its sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Index {
    /// Release that vouches for it.
    pub release: String,
    /// Path relative to the mirror.
    pub path: String,
    /// Number of bytes.
    pub size: u64,
    /// SHA-256 of the compressed index.
    #[serde(with = "hash")]
    pub sha256: Sha256,
}

/// A binary package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Source of the recipe that it comes from.
    pub source: String,
    /// Architecture that it was resolved for, by Debian's name.
    pub target: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Its own architecture: `target`, or `all`.
    pub arch: String,
    /// Release that vouches for it.
    pub release: String,
    /// Path relative to the mirror.
    pub path: String,
    /// Number of bytes.
    pub size: u64,
    /// SHA-256.
    #[serde(with = "hash")]
    pub sha256: Sha256,
    /// Packages of the same source and target that it needs, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Places of the recipe that ask for it; none for what is only needed by others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// Another file that a source consists of, by hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// Source of the recipe that it belongs to.
    pub source: String,
    /// File name.
    pub name: String,
    /// Version of what it is part of, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Release that vouches for it, for files of an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Path relative to the mirror, for files of an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Number of bytes.
    pub size: u64,
    /// SHA-256.
    #[serde(with = "hash")]
    pub sha256: Sha256,
}

/// A commit of a Git repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Commit {
    /// Source of the recipe that it belongs to.
    pub source: String,
    /// Object name of the commit.
    pub commit: String,
    /// Object name of its tree.
    pub tree: String,
    /// Number of bytes of the archive of its tree.
    pub size: u64,
    /// SHA-256 of the archive of its tree.
    #[serde(with = "hash")]
    pub sha256: Sha256,
}

impl Lock {
    /// A lock without inputs for the recipe with that digest, of this guestsmith's versions.
    pub fn new(recipe: Sha256) -> Self {
        Self {
            version: VERSION,
            revision: REVISION,
            recipe,
            writers: WRITERS.iter().map(|(name, version)| ((*name).into(), *version)).collect(),
            releases: Vec::new(),
            indices: Vec::new(),
            packages: Vec::new(),
            files: Vec::new(),
            commits: Vec::new(),
        }
    }

    /// The package `name` of `source` for `target`.
    pub fn package(&self, source: &str, target: &str, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.source == source && p.target == target && p.name == name)
    }

    /// The package `name` and all that it needs, sorted by name.
    pub fn closure(&self, source: &str, target: &str, name: &str) -> Vec<&Package> {
        let mut found = BTreeMap::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            if let Some(package) = self.package(source, target, name)
                && found.insert(name, package).is_none()
            {
                open.extend(package.needs.iter().map(String::as_str));
            }
        }
        found.into_values().collect()
    }

    /// Files of `source`, sorted by name.
    pub fn files_of(&self, source: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.source == source)
    }

    /// Whether this is a lock of `recipe` in which all of `wants` are found.
    ///
    /// # Errors
    /// [`Error::Stale`] with the reason.
    pub fn satisfies(&self, recipe: &Recipe, wants: &[Want]) -> Result<(), Error> {
        let stale = |why: &str| Err(Error::Stale { why: why.into() });
        if self.recipe != recipe.digest() {
            return stale("the recipe has changed since");
        }
        let lacking = wants.iter().find(|want| !self.has(want));
        lacking.map_or(Ok(()), |want| {
            stale(&format!("it lacks the package `{}` of `{}`", want.name, want.source))
        })
    }

    /// Whether `want` and what it stands for are locked.
    pub fn has(&self, want: &Want) -> bool {
        let whole = |package: &Package| {
            let lacks = |name: &String| self.package(&want.source, &want.target, name).is_none();
            want.depth == Depth::Alone || !package.needs.iter().any(lacks)
        };
        self.package(&want.source, &want.target, &want.name).is_some_and(whole)
    }

    /// Puts every list into its order, without doubles.
    pub fn sort(&mut self) {
        fn sorted<T: Ord + Clone>(list: &mut Vec<T>) {
            *list = list.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        }
        sorted(&mut self.releases);
        sorted(&mut self.indices);
        sorted(&mut self.packages);
        sorted(&mut self.files);
        sorted(&mut self.commits);
    }
}

#[cfg(test)]
mod tests;
