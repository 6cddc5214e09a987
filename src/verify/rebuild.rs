//! Two builds held against each other: the first difference, where it is, and what it looks like.

mod cause;
pub mod owner;

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::build::packed::Packed;
use crate::digest::Sha256;
use crate::format::cpio;

/// Most bytes that an initrd may unpack to.
const LIMIT: u64 = 8 << 30;

/// Bytes of each side that a difference shows.
const SHOWN: usize = 32;

/// The first difference of two builds of one artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The artifact: `kernel`, `firmware.amdsev`, `initrd`.
    pub artifact: String,
    /// The file in it, where it is an archive.
    pub member: Option<String>,
    /// Offset of the first byte that differs, in the member or in the artifact.
    pub offset: usize,
    /// Bytes from there on that differ before both agree again.
    pub length: usize,
    /// Sizes of both.
    pub sizes: [usize; 2],
    /// SHA-256 of both artifacts.
    pub sha256: [String; 2],
    /// What stands there, as text.
    pub shown: [String; 2],
    /// The known cause that it looks like.
    pub cause: &'static str,
    /// Line of the recipe by which it is made, where that is known.
    pub line: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member.as_ref().map(|name| format!(", in /{name}")).unwrap_or_default();
        let end = self.offset + self.length;
        writeln!(f, "{}{member}: bytes {:#x} to {end:#x} differ", self.artifact, self.offset)?;
        writeln!(f, "  first:  {}", self.shown[0])?;
        writeln!(f, "  second: {}", self.shown[1])?;
        write!(f, "  it looks like {}", self.cause)?;
        match &self.line {
            Some(line) => write!(f, "\n  it is made by {line}"),
            None => Ok(()),
        }
    }
}

/// The first difference of the artifact `name` in two builds; none if they are equal.
pub fn compare(name: &str, first: &[u8], second: &[u8]) -> Option<Difference> {
    if first == second {
        return None;
    }
    let sha256 = [first, second].map(|bytes| Sha256::of(bytes).to_string());
    let inside = in_archive(first, second);
    let (member, parts) = match &inside {
        Some((member, first, second)) => (Some(member.clone()), [&first[..], &second[..]]),
        None => (None, [first, second]),
    };
    let range = differing(parts[0], parts[1]);
    Some(Difference {
        artifact: name.into(),
        member,
        offset: range.start,
        length: range.len(),
        sizes: parts.map(<[u8]>::len),
        sha256,
        shown: parts.map(|bytes| show(bytes, &range)),
        cause: cause::of(parts, &range),
        line: None,
    })
}

/// The first file of two archives that differs, with its contents in both. A file that only one of
/// them has differs in its name.
fn in_archive(first: &[u8], second: &[u8]) -> Option<(String, Vec<u8>, Vec<u8>)> {
    let (first, second) = (unpacked(first)?, unpacked(second)?);
    let (first, second) = (cpio::parse(&first).ok()?.0, cpio::parse(&second).ok()?.0);
    let entries = first.iter().zip(&second).find(|(a, b)| a != b);
    let (a, b) = entries?;
    if a.path != b.path {
        return Some((a.path.to_string(), a.path.as_bytes().into(), b.path.as_bytes().into()));
    }
    if a.data == b.data {
        let header = |e: &cpio::Entry<'_>| {
            format!("mode {:o} owner {}:{} time {} inode {}", e.mode, e.uid, e.gid, e.time, e.inode)
        };
        return Some((a.path.to_string(), header(a).into_bytes(), header(b).into_bytes()));
    }
    Some((a.path.to_string(), a.data.into(), b.data.into()))
}

/// The archive in its plain form, whatever it is packed with.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    match Packed::of(bytes) {
        Some(form) => form.unpack(bytes, LIMIT).ok(),
        None => bytes.starts_with(b"070701").then(|| bytes.to_vec()),
    }
}

/// From the first byte that differs to where both agree again, or to the end of the shorter one.
fn differing(first: &[u8], second: &[u8]) -> Range<usize> {
    let pairs = || first.iter().zip(second).map(|(a, b)| a != b);
    let shorter = first.len().min(second.len());
    let start = pairs().position(|differs| differs).unwrap_or(shorter);
    let length = pairs().skip(start).position(|differs| !differs).unwrap_or(shorter - start);
    start..start + length
}

/// What stands around `range`: text as it is, other bytes escaped.
fn show(bytes: &[u8], range: &Range<usize>) -> String {
    let start = range.start.saturating_sub(SHOWN / 4);
    let end = bytes.len().min(start + SHOWN + SHOWN / 4);
    bytes.get(start..end).unwrap_or_default().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_builds_have_no_difference() {
        assert_eq!(compare("kernel", b"abc", b"abc"), None);
    }

    #[test]
    fn the_first_range_is_told_from_later_ones() {
        let found = compare("kernel", b"0123456789", b"01xx45x789").expect("a difference");
        assert_eq!((found.offset, found.length, found.sizes), (2, 2, [10, 10]));
        let longer = compare("kernel", b"0123", b"012345").expect("a difference");
        assert_eq!((longer.offset, longer.length, longer.sizes), (4, 0, [4, 6]));
    }
}
