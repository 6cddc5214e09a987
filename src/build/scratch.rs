//! Where a step works: directories that go away with it, or with the next step where it was killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use super::variation::Variation;
use crate::store::{Expected, Store, entries};

/// What the names of these directories begin with.
const PREFIX: &str = "step-";

/// File in each of them that is locked as long as its step runs.
const ALIVE: &str = "alive";

/// The directories of one run, taken away with it.
pub(super) struct Scratch {
    dir: tempfile::TempDir,
    base: PathBuf,
    _alive: File,
}

impl Scratch {
    /// Below the store, so that inputs can be links to its entries, unless the variation says
    /// otherwise. What killed builds have left there is taken away.
    pub(super) fn new(store: &Path, variation: &Variation) -> Result<Self> {
        let parent = variation.place.clone().unwrap_or_else(|| store.join("scratch"));
        let context = || format!("cannot make a directory in {}", parent.display());
        fs::create_dir_all(&parent).with_context(context)?;
        let sweeping = File::create(store.join("scratch.lock")).with_context(context)?;
        // Nobody takes a directory away between its making and its locking.
        flock(&sweeping, FlockOperation::LockExclusive).with_context(context)?;
        sweep(&parent)?;
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent);
        let dir = dir.with_context(context)?;
        let alive = File::create(dir.path().join(ALIVE)).with_context(context)?;
        flock(&alive, FlockOperation::LockExclusive).with_context(context)?;
        let deeper = (0..variation.depth).map(|_| "deeper").collect::<PathBuf>();
        let scratch = Self { base: dir.path().join(deeper), dir, _alive: alive };
        fs::create_dir_all(scratch.work()).with_context(context)?;
        fs::create_dir_all(scratch.inputs()).with_context(context)?;
        Ok(scratch)
    }

    pub(super) fn work(&self) -> PathBuf {
        self.base.join("build")
    }

    pub(super) fn inputs(&self) -> PathBuf {
        self.base.join("src")
    }

    /// Puts the inputs in place, as links to the store's entries where that works.
    pub(super) fn fill(
        &self,
        store: &Store,
        inputs: &BTreeMap<String, Expected>,
        variation: &Variation,
    ) -> Result<()> {
        let mut inputs: Vec<_> = inputs.iter().collect();
        if variation.reversed {
            inputs.reverse();
        }
        for (path, input) in inputs {
            let to = self.inputs().join(path);
            let from = store.path(&input.sha256)?;
            let from = from.with_context(|| format!("the store lacks the input {path}"))?;
            place(&from, &to, variation.copied)
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }
}

fn place(from: &Path, to: &Path, copied: bool) -> std::io::Result<()> {
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    match copied || fs::hard_link(from, to).is_err() {
        true => fs::copy(from, to).map(drop),
        false => Ok(()),
    }
}

impl Drop for Scratch {
    /// A build may have left directories that their owner cannot enter.
    fn drop(&mut self) {
        let _ = make_removable(self.dir.path());
    }
}

/// Takes away the directories in `parent` whose step no longer runs: their file is locked by nobody.
/// What cannot be taken away is somebody else's.
fn sweep(parent: &Path) -> Result<()> {
    for path in entries::sorted(parent)? {
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let Some(alive) = named.then(|| File::open(path.join(ALIVE)).ok()).flatten() else {
            continue;
        };
        if flock(&alive, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = make_removable(&path).and_then(|()| Ok(fs::remove_dir_all(&path)?));
        }
    }
    Ok(())
}

fn make_removable(dir: &Path) -> Result<()> {
    for path in entries::sorted(dir)? {
        if path.symlink_metadata()?.is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            make_removable(&path)?;
        }
    }
    Ok(())
}
