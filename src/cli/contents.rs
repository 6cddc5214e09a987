//! Files that are measured, in memory. The kernel hands out memory by pages of 4 KiB, and being given
//! those of a firmware one by one takes longer than reading it: a large file gets large pages.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::{Advice, MmapMut};

/// Size of a large page in bytes (x86-64, and arm64 with pages of 4 KiB), and of the smallest file
/// that gets one.
const LARGE: usize = 2 << 20;

/// What a file holds.
#[derive(Debug)]
pub(super) enum Contents {
    /// In memory as usual.
    Small(Vec<u8>),
    /// In a part of memory of its own, which starts at a large page.
    Large(MmapMut, Range<usize>),
}

impl Contents {
    /// The contents of the file at `path`, of whatever kind it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let known = file.metadata()?;
        let size = usize::try_from(known.len()).unwrap_or(usize::MAX);
        let large =
            if known.is_file() && size >= LARGE { Self::large(file, size).ok() } else { None };
        // Also a file that grows or shrinks meanwhile is read in the usual way.
        large.flatten().map_or_else(|| fs::read(path).map(Self::Small), Ok)
    }

    /// The `size` bytes of `file`; nothing if it has more.
    fn large(mut file: File, size: usize) -> io::Result<Option<Self>> {
        let length = size.checked_add(LARGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut memory = MmapMut::map_anon(length)?;
        memory.advise(Advice::HugePage).ok(); // a kernel without them gives the usual ones
        let start = memory.as_ptr().align_offset(LARGE);
        let range = start..start.saturating_add(size);
        file.read_exact(memory.get_mut(range.clone()).ok_or(io::ErrorKind::OutOfMemory)?)?;
        let ended = file.read(&mut [0])? == 0;
        Ok(ended.then_some(Self::Large(memory, range)))
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(memory, range) => memory.get(range.clone()).unwrap_or_default(),
        }
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Small(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_reads_as_the_file_has_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        for size in [0, 1, LARGE - 1, LARGE, LARGE + 1, 2 * LARGE + 4097] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251).to_le_bytes()[0]).collect();
            fs::write(&path, &bytes).expect("written");
            let contents = Contents::read(&path).expect("read");
            assert_eq!(matches!(contents, Contents::Large(..)), size >= LARGE, "{size}");
            assert!(contents[..] == bytes, "{size}");
        }
        let larger = Contents::large(File::open(&path).expect("there"), LARGE);
        assert!(larger.expect("read").is_none(), "the file has grown");
        assert!(Contents::large(File::open(&path).expect("there"), 3 * LARGE).is_err());
    }

    #[test]
    fn what_has_no_size_is_read_to_its_end() {
        let contents = Contents::read("/proc/self/status".as_ref()).expect("read");
        assert!(contents.starts_with(b"Name:"));
        let error = Contents::read("/nowhere".as_ref()).expect_err("nothing is there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(Contents::read("/".as_ref()).is_err(), "a directory");
    }
}
