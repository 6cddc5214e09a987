//! What changed from one lock to another, in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Lock, Package};
use crate::digest::Sha256;

/// A difference between two locks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Something is new.
    Added {
        /// What it is: `package busybox-static (trixie, amd64)`.
        what: String,
        /// Its version.
        version: String,
    },
    /// Something is gone.
    Removed {
        /// What it was.
        what: String,
        /// Its version.
        version: String,
    },
    /// Something has another version, or other contents under the same version.
    Changed {
        /// What it is.
        what: String,
        /// Its version before.
        from: String,
        /// Its version now.
        to: String,
    },
}

/// Differences from `old` to `new`, sorted.
pub fn diff(old: &Lock, new: &Lock) -> Vec<Change> {
    let (old, new) = (entries(old), entries(new));
    let removed = old.iter().filter(|(what, _)| !new.contains_key(*what));
    let removed = removed.map(|(what, (version, _))| Change::Removed {
        what: what.clone(),
        version: version.clone(),
    });
    let others = new.iter().filter_map(|(what, (version, sha256))| match old.get(what) {
        None => Some(Change::Added { what: what.clone(), version: version.clone() }),
        Some((_, before)) if before == sha256 => None,
        Some((before, _)) => {
            Some(Change::Changed { what: what.clone(), from: before.clone(), to: version.clone() })
        }
    });
    let mut changes: Vec<_> = removed.chain(others).collect();
    changes.sort();
    changes
}

/// Every input: what it is → its version and digest.
fn entries(lock: &Lock) -> BTreeMap<String, (String, Sha256)> {
    let of_package = |p: &Package| {
        let what = format!("package {} ({}, {})", p.name, p.source, p.target);
        (what, (p.version.clone(), p.sha256))
    };
    let packages = lock.packages.iter().map(of_package);
    let files = lock.files.iter().map(|file| {
        let version = file.version.clone().unwrap_or_else(|| file.sha256.to_string());
        (format!("file {} ({})", file.name, file.source), (version, file.sha256))
    });
    let commits = lock.commits.iter().map(|commit| {
        (format!("commit ({})", commit.source), (commit.commit.clone(), commit.sha256))
    });
    packages.chain(files).chain(commits).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { what, version } => write!(f, "+ {what} {version}"),
            Self::Removed { what, version } => write!(f, "- {what} {version}"),
            Self::Changed { what, from, to } if from == to => {
                write!(f, "~ {what} {to}: other contents under the same version")
            }
            Self::Changed { what, from, to } => write!(f, "~ {what} {from} → {to}"),
        }
    }
}
