//! The only reader of directories: it sorts, because a directory's own order is the file system's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Paths of the entries of `dir`, sorted by the bytes of their names.
///
/// # Errors
/// The directory cannot be read.
pub fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read the directory {}", dir.display());
    #[expect(clippy::disallowed_methods, reason = "this module owns reading directories; it sorts")]
    let entries = fs::read_dir(dir).with_context(context)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = paths.with_context(context)?;
    paths.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_by_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        ["b", "a-", "a", "Z"].iter().for_each(|name| {
            fs::write(dir.path().join(name), name).expect("a file");
        });
        let names: Vec<_> = sorted(dir.path()).expect("readable");
        assert_eq!(names, ["Z", "a", "a-", "b"].map(|name| dir.path().join(name)));
        let error = sorted(&dir.path().join("none")).expect_err("missing");
        assert!(error.to_string().starts_with("cannot read the directory /"), "{error}");
    }
}
