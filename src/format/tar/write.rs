//! Writing ustar archives (POSIX.1-1988), every field that could tell one machine from another fixed:
//! owner and group 0 without names, one time everywhere. Names that do not fit a header get an entry
//! of their own before it, as GNU tar has them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::BLOCK;
use crate::format::{Error, Result};

/// A regular file of an archive that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Permission bits.
    pub mode: u32,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// The archive of `members` by path, with the directories above them, sorted.
///
/// # Errors
/// A path does not fit into a header: not every reader knows GNU's way.
pub fn write(members: &BTreeMap<String, Member>, time: u32) -> Result<Vec<u8>> {
    let mut archive = Archive::new(time);
    let mut above = BTreeSet::new();
    for (path, member) in members {
        split(path).ok_or_else(|| Error::Value {
            what: "path of tar entry",
            offset: 0,
            found: path.to_string(),
            expected: "155 bytes, a slash and 100 bytes at most".to_string(),
        })?;
        for (end, _) in path.match_indices('/') {
            if above.insert(&path[..end]) {
                archive.add(&path[..end], Content::Directory);
            }
        }
        archive.entry(b'0', member.mode, (path, ""), &member.bytes);
    }
    Ok(archive.finish())
}

/// What an entry is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A directory.
    Directory,
    /// A file, and whether it may be executed.
    File(&'a [u8], bool),
    /// A symbolic link and its target.
    Symlink(&'a str),
}

/// An archive that is being written.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    time: u32,
}

impl Archive {
    /// An empty archive, all of whose entries have `time`, in seconds since 1970.
    pub fn new(time: u32) -> Self {
        Self { bytes: Vec::new(), time }
    }

    /// Adds an entry; `path` has no slash at its ends.
    pub fn add(&mut self, path: &str, content: Content<'_>) {
        match content {
            Content::Directory => self.entry(b'5', 0o755, (&format!("{path}/"), ""), &[]),
            Content::File(data, false) => self.entry(b'0', 0o644, (path, ""), data),
            Content::File(data, true) => self.entry(b'0', 0o755, (path, ""), data),
            Content::Symlink(target) => self.entry(b'2', 0o777, (path, target), &[]),
        }
    }

    /// The whole archive: two blocks of zeros end it, and GNU tar fills a record of twenty.
    pub fn finish(mut self) -> Vec<u8> {
        let whole = (self.bytes.len() + 2 * BLOCK).next_multiple_of(20 * BLOCK);
        self.bytes.resize(whole, 0);
        self.bytes
    }

    fn entry(&mut self, flag: u8, mode: u32, (path, link): (&str, &str), data: &[u8]) {
        let names = split(path).unwrap_or_else(|| ("", self.long(b'L', path)));
        let link = if link.len() <= 100 { link } else { self.long(b'K', link) };
        let header = Header { flag, mode, size: data.len(), time: self.time };
        self.bytes.extend(header.bytes(names, link.as_bytes()));
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// An entry with all of `name`, of which as much as fits is left for the next header.
    fn long<'a>(&mut self, flag: u8, name: &'a str) -> &'a str {
        let whole = [name.as_bytes(), &[0]].concat();
        let header = Header { flag, mode: 0o644, size: whole.len(), time: self.time };
        self.bytes.extend(header.bytes(("", "././@LongLink"), b""));
        self.bytes.extend(whole);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        let end = (0..=100).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        &name[..end]
    }
}

struct Header {
    flag: u8,
    mode: u32,
    size: usize,
    time: u32,
}

impl Header {
    /// POSIX.1-1988, 10.1.1.
    fn bytes(&self, (prefix, name): (&str, &str), link: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, b"0000000"); // owner
        put(116, b"0000000"); // group
        put(124, &number(self.size as u64));
        put(136, &number(u64::from(self.time)));
        put(148, b"        "); // the checksum counts as spaces
        put(156, &[self.flag]);
        put(157, link);
        put(257, b"ustar\x0000");
        put(345, prefix.as_bytes());
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// Eleven octal digits; from 8 GiB on a marked big-endian number, as GNU has it.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    match value >> 33 {
        0 => field[..11].copy_from_slice(format!("{value:011o}").as_bytes()),
        _ => {
            field[0] = 0x80;
            field[4..].copy_from_slice(&value.to_be_bytes());
        }
    }
    field
}

/// A path as prefix (up to 155 bytes) and name (up to 100), divided at a slash; none if it does not
/// fit.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let halves = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    let mut fitting =
        halves.filter(|(prefix, name)| prefix.len() <= 155 && (1..=100).contains(&name.len()));
    fitting.next()
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, parse};
    use super::*;
    use crate::digest::Sha256;

    fn members(paths: &[&str]) -> BTreeMap<String, Member> {
        let member = |path: &&str| {
            (path.to_string(), Member { mode: 0o644, bytes: path.as_bytes().to_vec() })
        };
        paths.iter().map(member).collect()
    }

    #[test]
    fn what_is_written_reads_back_with_its_directories() {
        let (above, deep) = ("d".repeat(60), format!("{0}/{0}", "d".repeat(60)));
        let long = format!("{deep}/{}", "f".repeat(90));
        let archive = write(&members(&["a/b/c", "a/d", &long]), 1_793_491_200).expect("an archive");
        let entries = parse(&archive).expect("an archive");
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.trim_end_matches('/')).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/d", &above, &deep, &long]);
        assert_eq!(entries[0].kind, Kind::Directory);
        let Kind::File(range) = &entries[2].kind else { panic!("{:?}", entries[2]) };
        assert_eq!(&archive[range.clone()], b"a/b/c");
        assert_eq!(archive.len() % 10240, 0);
    }

    #[test]
    fn the_bytes_are_those_of_gnu_tar() {
        // tar --format=ustar --owner=0 --group=0 --mtime=@1 -cf - of `f`, mode 644, with "x\n" in
        // it (GNU tar 1.34; it writes the names root and root, which are left out here).
        let members = [("f".to_string(), Member { mode: 0o644, bytes: b"x\n".to_vec() })].into();
        let archive = write(&members, 1).expect("an archive");
        assert_eq!(&archive[100..124], b"0000644\x000000000\x000000000\0");
        assert_eq!(&archive[124..148], b"00000000002\x0000000000001\0");
        let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
        let written: u32 = archive[148..154].iter().fold(0, |n, d| n * 8 + u32::from(d - b'0'));
        assert_eq!(
            sum - archive[148..156].iter().map(|b| u32::from(*b)).sum::<u32>() + 256,
            written
        );
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        assert!(write(&members(&[&"x".repeat(101)]), 0).is_err());
    }

    fn example() -> Vec<u8> {
        let long = format!("{}/{}", "d".repeat(70), "f".repeat(170));
        let mut archive = Archive::new(1_234_567_890);
        archive.add("d", Content::Directory);
        archive.add("d/a", Content::File(b"hello\n", false));
        archive.add("d/b", Content::File(&[7; 512], true));
        archive.add("l", Content::Symlink("d/a"));
        archive.add(&long, Content::Symlink(&long));
        archive.finish()
    }

    #[test]
    fn links_and_long_names_read_back() {
        let bytes = example();
        let entries = parse(&bytes).expect("an archive");
        let seen: Vec<_> = entries.iter().map(|e| (e.path.as_str(), e.mode)).collect();
        let long = format!("{}/{}", "d".repeat(70), "f".repeat(170));
        let expected =
            [("d/", 0o755), ("d/a", 0o644), ("d/b", 0o755), ("l", 0o777), (&long, 0o777)];
        assert_eq!(seen, expected);
        assert_eq!(entries[4].kind, Kind::Symlink(long));
    }

    /// Locks hold the hash of such archives: they never change.
    #[test]
    fn the_bytes_never_change() {
        assert_eq!(
            Sha256::of(&example()).to_string(),
            "fdc7d6744faaf3d5b8dceba752467625e55100b30fb2ec40b33b80beca1ff587"
        );
    }
}
