//! The output directory: files that appear whole, and a manifest that appears last.
//!
//! A directory with `manifest.json` holds exactly what that file says; one without it was left in
//! the middle, and the next build completes it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::reference::Artifact;

/// File that says what else is in the directory.
pub const MANIFEST: &str = "manifest.json";

/// Version of [`Manifest`].
const VERSION: u32 = 1;

/// What a directory holds, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub version: u32,
    /// What wrote it: `guestsmith 0.1.0`.
    pub tool: String,
    /// Name of the recipe.
    pub recipe: String,
    /// SHA-256 of the parsed recipe with all it extends.
    pub recipe_sha256: String,
    /// SHA-256 of the lock file.
    pub lock_sha256: String,
    /// Every other file of the directory, sorted by name.
    pub artifacts: Vec<Artifact>,
}

impl Manifest {
    /// A manifest of `files`, for the recipe and lock of these digests.
    pub fn new(recipe: &str, digests: [Sha256; 2], files: &BTreeMap<String, &[u8]>) -> Self {
        let [recipe_sha256, lock_sha256] = digests.map(|digest| digest.to_string());
        let tool = concat!("guestsmith ", env!("CARGO_PKG_VERSION")).to_string();
        let (version, recipe) = (VERSION, recipe.to_string());
        Self { version, tool, recipe, recipe_sha256, lock_sha256, artifacts: artifacts(files) }
    }

    /// The text of `manifest.json`.
    ///
    /// # Errors
    /// Never, for plain data.
    pub fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Names, sizes and digests of `files`, sorted by name.
pub fn artifacts(files: &BTreeMap<String, &[u8]>) -> Vec<Artifact> {
    let artifact = |(name, bytes): (&String, &&[u8])| Artifact {
        name: name.clone(),
        size: bytes.len() as u64,
        sha256: Sha256::of(bytes).to_string(),
    };
    files.par_iter().map(artifact).collect()
}

/// Puts `files` and their manifest into `dir`. What an earlier manifest lists and this one does not
/// goes; files that no manifest knows stay.
///
/// # Errors
/// The directory cannot be made or written; it then has no manifest.
pub fn write(dir: &Path, files: &BTreeMap<String, &[u8]>, manifest: &Manifest) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // First everything is written beside, so that a full disk changes nothing that was there.
    let new = files.iter().map(|(name, bytes)| Ok((name, written(dir, bytes)?)));
    let new: Vec<_> = new.collect::<Result<_>>()?;
    let text = written(dir, manifest.text()?.as_bytes())?;
    let before = read(dir);
    remove(&dir.join(MANIFEST))?;
    for artifact in before.iter().flat_map(|before| &before.artifacts) {
        if is_file_name(&artifact.name) && !files.contains_key(&artifact.name) {
            remove(&dir.join(&artifact.name))?;
        }
    }
    for (name, file) in new {
        persist(file, &dir.join(name))?;
    }
    persist(text, &dir.join(MANIFEST))?;
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.with_context(|| format!("cannot write {}", dir.display()))
}

/// Puts `files` into `dir`, without a manifest: all are on disk before the first gets its name.
///
/// # Errors
/// The directory cannot be made or written.
pub fn place(dir: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let new = files.iter().map(|(name, bytes)| Ok((name, written(dir, bytes)?)));
    let new: Vec<_> = new.collect::<Result<_>>()?;
    new.into_iter().try_for_each(|(name, file)| persist(file, &dir.join(name)))
}

/// A temporary file in `dir`, complete and on disk. Its mode is the same under every umask.
fn written(dir: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
    let write = || -> io::Result<_> {
        let mut file = tempfile::Builder::new().prefix(".guestsmith-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().with_context(|| format!("cannot write into {}", dir.display()))
}

fn persist(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    file.persist(path).with_context(|| format!("cannot write {}", path.display())).map(drop)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A manifest comes from a directory that anybody may write to.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// The manifest of `dir`; none where there is none that can be read.
pub fn read(dir: &Path) -> Option<Manifest> {
    let text = fs::read(dir.join(MANIFEST)).ok()?;
    serde_json::from_slice(&text).ok().filter(|manifest: &Manifest| manifest.version == VERSION)
}

/// True if `dir` has the manifest `text` and every file is byte for byte what it says.
pub fn holds(dir: &Path, text: &[u8]) -> bool {
    let Ok(found) = fs::read(dir.join(MANIFEST)) else { return false };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(text) else { return false };
    let same = |artifact: &Artifact| {
        let path = dir.join(&artifact.name);
        let size = fs::metadata(&path).map(|found| found.len());
        size.is_ok_and(|size| size == artifact.size)
            && fs::read(&path).is_ok_and(|b| Sha256::of(&b).to_string() == artifact.sha256)
    };
    found == text && manifest.artifacts.par_iter().all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &'static [u8])]) -> BTreeMap<String, &'static [u8]> {
        files.iter().map(|(name, bytes)| (name.to_string(), *bytes)).collect()
    }

    fn put(dir: &Path, files: &[(&str, &'static [u8])]) -> Manifest {
        let files = set(files);
        let manifest = Manifest::new("guest", [Sha256::of(b"r"), Sha256::of(b"l")], &files);
        write(dir, &files, &manifest).unwrap();
        manifest
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = crate::store::entries::sorted(dir).unwrap();
        entries.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_string()).collect()
    }

    #[test]
    fn what_is_written_is_what_the_manifest_says() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("a/b");
        let manifest = put(&dir, &[("vmlinuz", b"k"), ("cmdline", b"c")]);
        assert_eq!(names(&dir), ["cmdline", MANIFEST, "vmlinuz"]);
        let text = manifest.text().unwrap();
        assert!(holds(&dir, text.as_bytes()));
        assert_eq!(manifest.artifacts[1].sha256, Sha256::of(b"k").to_string());
        fs::write(dir.join("vmlinuz"), "K").unwrap();
        assert!(!holds(&dir, text.as_bytes()));
    }

    #[test]
    fn a_second_set_replaces_the_first_and_leaves_strangers_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes"), "mine").unwrap();
        put(dir.path(), &[("firmware-a.fd", b"1"), ("vmlinuz", b"k")]);
        put(dir.path(), &[("firmware-b.fd", b"2"), ("vmlinuz", b"K")]);
        assert_eq!(names(dir.path()), ["firmware-b.fd", MANIFEST, "notes", "vmlinuz"]);
        assert_eq!(fs::read(dir.path().join("vmlinuz")).unwrap(), b"K");
    }

    #[test]
    fn a_manifest_of_a_stranger_removes_nothing_outside() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("out");
        let mut manifest = put(&dir, &[("vmlinuz", b"k")]);
        fs::write(temporary.path().join("mine"), "x").unwrap();
        manifest.artifacts[0].name = "../mine".into();
        fs::write(dir.join(MANIFEST), manifest.text().unwrap()).unwrap();
        put(&dir, &[("vmlinuz", b"k")]);
        assert!(temporary.path().join("mine").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let files = set(&[]);
        let manifest = Manifest::new("guest", [Sha256::ZERO, Sha256::ZERO], &files);
        let error = write(&file.path().join("out"), &files, &manifest).unwrap_err();
        assert!(error.to_string().starts_with("cannot make"), "{error}");
    }
}
