//! Writing an entry whose digest is known: one writer at a time, resumed where the last one ended.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use sha2::Digest as _;

use super::{Expected, PARTIAL, Store, to_u64};
use crate::digest::Sha256;

/// An entry under way. The file is locked as long as this lives; dropped unfinished, it stays for
/// the next writer to go on from [`Writer::offset`].
pub struct Writer<'a> {
    store: &'a Store,
    expected: Expected,
    path: PathBuf,
    file: File,
    hasher: sha2::Sha256,
    offset: u64,
}

impl Store {
    /// A writer for `expected`, or none if the entry is there. Waits for another process or thread
    /// that is writing the same.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn writer(&self, expected: Expected) -> Result<Option<Writer<'_>>> {
        if self.holds(&expected) || self.restamp(&expected)? {
            return Ok(None);
        }
        self.must_be_writable()?;
        let path = self.root.join(PARTIAL).join(expected.sha256.to_string());
        let context = || format!("cannot write {}", path.display());
        loop {
            let file = open(&path).with_context(context)?;
            file.lock().with_context(context)?;
            // While we waited, the last writer may have made an entry of it, or thrown it away.
            if self.holds(&expected) {
                return Ok(None);
            }
            if is_still(&file, &path).with_context(context)? {
                let (hasher, offset) = (sha2::Sha256::new(), 0);
                let mut writer = Writer { store: self, expected, path, file, hasher, offset };
                writer.resume()?;
                return Ok(Some(writer));
            }
        }
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn is_still(file: &File, path: &std::path::Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Writer<'_> {
    /// Number of bytes that are there already.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Hashes what an earlier writer left. What is longer than expected is of no use.
    fn resume(&mut self) -> Result<()> {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        if length > self.expected.size {
            return self.restart();
        }
        let hashed = super::hash(&self.file, &mut self.hasher);
        self.offset = hashed.with_context(|| self.cannot_write())?;
        Ok(())
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.with_context(|| self.cannot_write())?;
        self.hasher = sha2::Sha256::new();
        self.offset = 0;
        Ok(())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// They are more than expected, or the store cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.offset + to_u64(bytes.len());
        if end > self.expected.size {
            self.restart()?;
            bail!("it is longer than the {} bytes expected", self.expected.size);
        }
        self.file.write_all(bytes).with_context(|| self.cannot_write())?;
        self.hasher.update(bytes);
        self.offset = end;
        Ok(())
    }

    /// Checks what was written. What is complete and wrong is thrown away.
    ///
    /// # Errors
    /// Size or digest are not as expected.
    pub fn verify(&mut self) -> Result<()> {
        let Expected { sha256, size } = self.expected;
        if self.offset < size {
            bail!("it ends after {} of {size} bytes", self.offset);
        }
        let found = Sha256(self.hasher.clone().finalize().into());
        if found != sha256 {
            self.restart()?;
            bail!("its SHA-256 is {found}, expected {sha256}");
        }
        Ok(())
    }

    /// Makes what was written an entry, if it verifies.
    ///
    /// # Errors
    /// As [`Writer::verify`], or the store cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.verify()?;
        self.store.admit(&self.path, &self.expected.sha256)
    }

    fn cannot_write(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}
