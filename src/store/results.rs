//! Results of build steps: a small document for each, by the digest of the step.

use std::fs;
use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::{RESULTS, Store, TEMPORARY};
use crate::digest::Sha256;

impl Store {
    /// What was kept for the step `key`, or none. The first line of the file is the SHA-256 of the
    /// rest: a damaged result counts as none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn result(&self, key: &Sha256) -> Result<Option<Vec<u8>>> {
        let path = self.place(RESULTS, key);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let intact = intact(&bytes);
        if intact.is_none() {
            (self.warn)(&format!("{} is damaged; its step will run again", path.display()));
        }
        Ok(intact)
    }

    /// Keeps `result` for the step `key`, in place of an earlier one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_result(&self, key: &Sha256, result: &[u8]) -> Result<()> {
        self.must_be_writable()?;
        let path = self.place(RESULTS, key);
        let written = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.root.join(TEMPORARY))?;
            writeln!(file, "{}", Sha256::of(result))?;
            file.write_all(result)?;
            file.as_file().sync_all()?;
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            file.persist(&path)?;
            Ok(())
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

fn intact(bytes: &[u8]) -> Option<Vec<u8>> {
    let (digest, rest) = bytes.split_at_checked(2 * Sha256::WIDTH + 1)?;
    let rest = rest.to_vec();
    (digest == format!("{}\n", Sha256::of(&rest)).as_bytes()).then_some(rest)
}
