//! What a build works from: a recipe, its lock, the store, and what lies beside the recipe.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::tree::Tree;
use super::unpack::{self, Package};
use crate::lock::{self, Lock};
use crate::recipe::Recipe;
use crate::store::Store;

/// Inputs of a build. All of the lock is in the store already.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The checked recipe.
    pub recipe: &'a Recipe,
    /// Its lock.
    pub lock: &'a Lock,
    /// Where locked bytes are.
    pub store: &'a Store,
    /// Directory that paths in the recipe are relative to.
    pub directory: &'a Path,
    /// Threads to use; their number changes no result.
    pub threads: u32,
}

impl Inputs<'_> {
    /// A path of the recipe on disk. It may lead to the recipe's neighbours (`../agent`).
    pub fn beside(&self, path: &str) -> PathBuf {
        let (mut joined, path) = (self.directory.to_path_buf(), Path::new(path));
        for part in path.components() {
            match part {
                Component::CurDir => {}
                other => joined.push(other),
            }
        }
        joined
    }

    /// Contents of a file beside the recipe.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.read_at(&self.beside(path))
    }

    /// Contents of a file of the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at(&self, path: &Path) -> Result<Vec<u8>> {
        fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The locked package `name` of `source` for `target`, whose bytes are then asked for by `packages`.
    ///
    /// # Errors
    /// The lock has no such package.
    pub fn package(&self, source: &str, target: &str, name: &str) -> Result<&lock::Package> {
        self.lock.package(source, target, name).with_context(|| {
            format!("the lock has no package {name} of {source}; run `guestsmith lock`")
        })
    }

    /// Unpacks locked packages, of each all files or only those that its globs match.
    ///
    /// # Errors
    /// A package is not in the store, is broken, or disagrees with another.
    pub fn unpack(&self, packages: &[(&lock::Package, &[String])]) -> Result<Tree> {
        let package = |(locked, only): &(&lock::Package, &[String])| Package {
            name: locked.name.clone(),
            only: only.to_vec(),
            place: locked.sha256,
        };
        let packages: Vec<_> = packages.iter().map(package).collect();
        for (index, package) in packages.iter().enumerate() {
            let twice = packages.iter().take(index).any(|other| other.name == package.name);
            ensure!(!twice, "the package {} is wanted from two sources", package.name);
        }
        unpack::unpack(&packages, |sha256| self.store.need(sha256))
    }
}
