//! Bytes by digest: every input and every artifact, under one directory, shared by all builds.
//!
//! ```text
//! DIR/blobs/ab/abcdef…     contents, named by their SHA-256; read-only, never changed in place
//! DIR/partial/abcdef…      a download under way, locked by who writes it, resumed by the next
//! DIR/temporary/…          contents whose digest is not known yet
//! DIR/results/ab/abcdef…   results of build steps, by the digest of the step
//! DIR/bad/abcdef…          entries that were found corrupted, for whoever wants to know why
//! ```
//!
//! An entry comes into being by one rename of a complete, verified and synced file, so a killed
//! process leaves none half-written. Readers get bytes only after their digest was checked.
//!
//! The exception is [`Store::holds`], which a build with nothing to do asks for each input: it looks
//! at size and modification time. Every entry gets the time [`VERIFIED`] before it appears, so
//! whatever writes to an entry afterwards shows; a medium that decays silently, or somebody who puts
//! the time back, does not. Such an entry is found as soon as its bytes are used.

pub mod api;
pub mod ask;
pub mod entries;
pub mod http;
pub mod location;
mod results;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use sha2::Digest as _;

use crate::digest::Sha256;
pub use writer::Writer;

/// Modification time of an entry that was verified when it was written, in seconds since 1970.
pub const VERIFIED: Duration = Duration::from_secs(1);

const BLOBS: &str = "blobs";
const PARTIAL: &str = "partial";
const TEMPORARY: &str = "temporary";
const RESULTS: &str = "results";
const BAD: &str = "bad";

/// What contents must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// SHA-256 of the contents.
    pub sha256: Sha256,
    /// Number of bytes.
    pub size: u64,
}

impl Expected {
    /// What `bytes` are.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::of(bytes), size: to_u64(bytes.len()) }
    }
}

/// A store under a directory.
pub struct Store {
    root: PathBuf,
    writable: bool,
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl Store {
    /// The store under `root`, which is made where it is missing. One that may only be read can
    /// still be opened; what would write to it then fails.
    ///
    /// # Errors
    /// The directory is neither there nor can be made.
    pub fn open(root: &Path) -> Result<Self> {
        let made = [BLOBS, PARTIAL, TEMPORARY, RESULTS, BAD].map(|part| {
            let dir = root.join(part);
            fs::create_dir_all(&dir).and_then(|()| writable(&dir))
        });
        let problem = made.into_iter().find_map(Result::err);
        if let Some(error) = problem.as_ref().filter(|_| !root.join(BLOBS).is_dir()) {
            bail!("cannot make the store {}: {error}; name another with --store", root.display());
        }
        Ok(Self { root: root.into(), writable: problem.is_none(), warn: Box::new(|_| {}) })
    }

    /// The same store, which tells `warn` about corrupted entries.
    #[must_use]
    pub fn warning(mut self, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.warn = Box::new(warn);
        self
    }

    /// Every entry of the store under `root`, unverified, sorted.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn entries(root: &Path) -> Result<Vec<PathBuf>> {
        let parts = entries::sorted(&root.join(BLOBS))?;
        let inside: Result<Vec<_>> = parts.iter().map(|part| entries::sorted(part)).collect();
        Ok(inside?.concat())
    }

    /// Directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if the entry is there and untouched since it was verified; does not read it.
    pub fn holds(&self, expected: &Expected) -> bool {
        let metadata = fs::metadata(self.blob(&expected.sha256));
        metadata.is_ok_and(|found| found.len() == expected.size && is_stamped(&found))
    }

    /// True if an entry of that digest is there and untouched since it was verified; does not read
    /// it.
    pub fn contains(&self, sha256: &Sha256) -> bool {
        fs::metadata(self.blob(sha256)).is_ok_and(|found| is_stamped(&found))
    }

    /// The contents with that digest, or none. A corrupted entry is reported, moved aside and
    /// counts as none.
    ///
    /// # Errors
    /// The entry cannot be read, or is corrupted in a store that may only be read.
    pub fn get(&self, sha256: &Sha256) -> Result<Option<Vec<u8>>> {
        let path = self.blob(sha256);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        match Sha256::of(&bytes) == *sha256 {
            true => Ok(Some(bytes)),
            false => self.set_aside(sha256).map(|()| None),
        }
    }

    /// The contents with that digest.
    ///
    /// # Errors
    /// As [`Store::get`], or there is no such entry.
    pub fn need(&self, sha256: &Sha256) -> Result<Vec<u8>> {
        self.get(sha256)?.with_context(|| self.lacks(sha256))
    }

    /// Path of a verified entry, for contents that are better streamed; none as in [`Store::get`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn path(&self, sha256: &Sha256) -> Result<Option<PathBuf>> {
        let path = self.blob(sha256);
        let found = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.and_then(digest_of),
        };
        match found.with_context(|| format!("cannot read {}", path.display()))?.sha256 == *sha256 {
            true => Ok(Some(path)),
            false => self.set_aside(sha256).map(|()| None),
        }
    }

    /// Stores `bytes` and gives their digest.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Sha256> {
        let expected = Expected { sha256: Sha256::of(bytes), size: to_u64(bytes.len()) };
        if let Some(mut writer) = self.writer(expected)? {
            writer.restart()?;
            writer.write(bytes)?;
            writer.finish()?;
        }
        Ok(expected.sha256)
    }

    /// Stores all that `contents` gives, whose digest nobody knows yet.
    ///
    /// # Errors
    /// The contents cannot be read, or the store cannot be written.
    pub fn put_stream(&self, contents: &mut dyn io::Read) -> Result<Expected> {
        self.must_be_writable()?;
        let dir = self.root.join(TEMPORARY);
        let in_dir = || format!("cannot write to {}", dir.display());
        let mut file = tempfile::NamedTempFile::new_in(&dir).with_context(in_dir)?;
        io::copy(contents, &mut file).with_context(in_dir)?;
        let expected = digest_of(file.reopen().with_context(in_dir)?).with_context(in_dir)?;
        let path = file.into_temp_path();
        self.admit(&path, &expected.sha256)?;
        let _ = path.keep(); // it stands under its digest now
        Ok(expected)
    }

    /// Stores the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or the store cannot be written.
    pub fn put_file(&self, path: &Path) -> Result<Expected> {
        let mut file =
            File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.put_stream(&mut file).with_context(|| format!("cannot store {}", path.display()))
    }

    /// True if the entry is there and sound, though its time says that it was touched: a copy of the
    /// store, say. It gets its stamp again, where that may be written.
    fn restamp(&self, expected: &Expected) -> Result<bool> {
        let Some(path) = self.path(&expected.sha256)? else { return Ok(false) };
        // Where that fails, the next look costs another reading and nothing else.
        let _ = File::open(path).and_then(|file| file.set_modified(stamp()));
        Ok(true)
    }

    /// Moves an entry that is not what its name says out of the way.
    fn set_aside(&self, sha256: &Sha256) -> Result<()> {
        let (path, aside) = (self.blob(sha256), self.root.join(BAD).join(sha256.to_string()));
        let what = format!("{} is corrupted: its SHA-256 is not its name", path.display());
        self.must_be_writable().with_context(|| what.clone())?;
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(what),
            _ => {
                (self.warn)(&format!("{what}; it was moved to {}", aside.display()));
                Ok(())
            }
        }
    }

    /// Makes the complete and verified file at `from` the entry of that digest.
    fn admit(&self, from: &Path, sha256: &Sha256) -> Result<()> {
        let to = self.blob(sha256);
        let admitted = || -> io::Result<()> {
            let file = File::options().append(true).open(from)?;
            file.set_modified(stamp())?;
            file.sync_all()?;
            fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
            fs::rename(from, &to)?;
            // Last: killed before the rename, the file must still be one that can be resumed.
            file.set_permissions(read_only())
        };
        admitted().with_context(|| format!("cannot write {}", to.display()))
    }

    fn must_be_writable(&self) -> Result<()> {
        if self.writable {
            return Ok(());
        }
        bail!("the store {} may only be read; name another with --store", self.root.display())
    }

    fn lacks(&self, sha256: &Sha256) -> String {
        format!("the store {} has no entry {sha256}", self.root.display())
    }

    fn blob(&self, sha256: &Sha256) -> PathBuf {
        self.place(BLOBS, sha256)
    }

    /// `PART/ab/abcdef…`: no directory grows too long.
    fn place(&self, part: &str, sha256: &Sha256) -> PathBuf {
        let name = sha256.to_string();
        self.root.join(part).join(&name[..2]).join(name)
    }
}

fn writable(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK)?)
}

fn is_stamped(metadata: &fs::Metadata) -> bool {
    let modified = metadata.modified().ok();
    metadata.is_file() && modified == Some(stamp())
}

fn stamp() -> SystemTime {
    SystemTime::UNIX_EPOCH + VERIFIED
}

fn read_only() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o444)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Digest and size of what `contents` gives.
fn digest_of(contents: impl io::Read) -> io::Result<Expected> {
    let mut hasher = sha2::Sha256::new();
    let size = hash(contents, &mut hasher)?;
    Ok(Expected { sha256: Sha256(hasher.finalize().into()), size })
}

/// Hashes all that `contents` gives, and says how much it was.
fn hash(mut contents: impl io::Read, hasher: &mut sha2::Sha256) -> io::Result<u64> {
    let (mut buffer, mut size) = (vec![0; 1 << 16], 0);
    loop {
        match contents.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += to_u64(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
