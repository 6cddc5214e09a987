//! Writing ustar archives (POSIX.1-1988): regular files under plain directories, every field that
//! could tell one machine from another fixed.

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

/// The archive of `members` by path, with the directories above them: sorted, owner and group 0
/// without names, `time` everywhere.
///
/// # Errors
/// A path does not fit into a header, or a file is longer than its size field can say.
pub fn write(members: &BTreeMap<String, Member>, time: u32) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut above = BTreeSet::new();
    for (path, member) in members {
        for (end, _) in path.match_indices('/') {
            if above.insert(&path[..end]) {
                archive.extend(header(&format!("{}/", &path[..end]), b'5', 0o755, 0, time)?);
            }
        }
        archive.extend(header(path, b'0', member.mode, member.bytes.len(), time)?);
        archive.extend(&member.bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    // Two blocks of zeros end an archive; GNU tar fills a record of twenty.
    archive.resize((archive.len() + 2 * BLOCK).next_multiple_of(20 * BLOCK), 0);
    Ok(archive)
}

/// A ustar header (POSIX.1-1988, 10.1.1).
fn header(path: &str, flag: u8, mode: u32, size: usize, time: u32) -> Result<Vec<u8>> {
    let (prefix, name) = split(path)?;
    let size_text = format!("{size:011o}");
    if size_text.len() > 11 {
        return Err(refused("size of tar entry", &size_text, "at most 8 GiB"));
    }
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000"); // owner
    put(116, b"0000000"); // group
    put(124, size_text.as_bytes());
    put(136, format!("{time:011o}").as_bytes());
    put(148, b"        "); // the checksum counts as spaces
    put(156, &[flag]);
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// A path as prefix (up to 155 bytes) and name (up to 100), divided at a slash.
fn split(path: &str) -> Result<(&str, &str)> {
    if path.len() <= 100 {
        return Ok(("", path));
    }
    let halves = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    let mut fitting =
        halves.filter(|(prefix, name)| prefix.len() <= 155 && (1..=100).contains(&name.len()));
    fitting.next().ok_or_else(|| {
        refused("path of tar entry", path, "155 bytes, a slash and 100 bytes at most")
    })
}

fn refused(what: &'static str, found: &str, expected: &str) -> Error {
    Error::Value { what, offset: 0, found: found.to_string(), expected: expected.to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, parse};
    use super::*;

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
}
