//! `tar` archives: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU long names, read; ustar, written.
//!
//! What a package may hold is read; what it has no reason to hold (sparse files, several volumes,
//! times of change as part of a name) is refused rather than guessed at.

mod header;
mod pax;
mod write;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use super::{Error, Reader, Result};
use header::Header;
pub use write::{Archive, Content, Member, write};

/// Archives are sequences of blocks of this size.
pub const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, contents as a range of the archive.
    File(Range<usize>),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
    /// Another name of the entry of that path.
    Hardlink(String),
    /// A character device of this major and minor number.
    Char(u32, u32),
    /// A block device of this major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry of an archive. Its time is not kept: a build sets its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path as stored: not normalised, not confined.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky bit.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Extended attributes (`SCHILY.xattr.*`).
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Byte offset of its header, for messages.
    pub offset: usize,
}

/// Entries of the archive in `bytes`, in order.
///
/// # Errors
/// A header is broken, the archive is cut off, or it holds what is not supported.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    let mut pending = Pending::default();
    while let Some(header) = Header::read(&mut reader)? {
        let size = pending.size(&header)?;
        let start = reader.offset();
        let data = reader.take(size, "contents of tar entry")?;
        reader.take(size.next_multiple_of(BLOCK) - size, "padding of tar entry")?;
        match header.flag {
            b'L' => pending.path = Some(long_name(data, header.offset)?),
            b'K' => pending.link = Some(long_name(data, header.offset)?),
            b'x' => pax::read(data, start, &mut pending)?,
            b'g' => pax::check_global(data, start)?,
            _ => entries.push(entry(header, start..start + size, core::mem::take(&mut pending))?),
        }
    }
    Ok(entries)
}

/// What extended headers say of the entry that follows them.
#[derive(Debug, Default)]
struct Pending {
    path: Option<String>,
    link: Option<String>,
    size: Option<usize>,
    uid: Option<u32>,
    gid: Option<u32>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Pending {
    /// Bytes that follow `header`; links, directories and devices have none, whatever they say.
    fn size(&self, header: &Header) -> Result<usize> {
        match header.flag {
            b'1'..=b'6' => Ok(0),
            b'L' | b'K' | b'x' | b'g' => header.size(),
            _ => self.size.map_or_else(|| header.size(), Ok),
        }
    }
}

fn entry(header: Header, data: Range<usize>, pending: Pending) -> Result<Entry> {
    let offset = header.offset;
    let link = pending.link.map_or_else(|| header.link(), Ok)?;
    let path = pending.path.map_or_else(|| header.path(), Ok)?;
    let kind = match header.flag {
        b'0' | b'7' => Kind::File(data),
        // Before POSIX a directory was a file whose name ends in a slash.
        0 if path.ends_with('/') => Kind::Directory,
        0 => Kind::File(data),
        b'1' => Kind::Hardlink(link),
        b'2' => Kind::Symlink(link),
        b'3' => Kind::Char(header.major()?, header.minor()?),
        b'4' => Kind::Block(header.major()?, header.minor()?),
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(unsupported(other, offset)),
    };
    let uid = pending.uid.map_or_else(|| header.uid(), Ok)?;
    let gid = pending.gid.map_or_else(|| header.gid(), Ok)?;
    let mode = header.mode()? & 0o7777;
    Ok(Entry { path, kind, mode, uid, gid, xattrs: pending.xattrs, offset })
}

fn unsupported(flag: u8, offset: usize) -> Error {
    let found = match flag {
        b'S' => "a sparse file (S)".to_string(),
        b'M' => "a file continued from another volume (M)".to_string(),
        other => format!("`{}`", other.escape_ascii()),
    };
    let expected = "a file, directory, link, device or pipe".to_string();
    Error::Value { what: "type of tar entry", offset, found, expected }
}

/// Contents of a GNU `L` or `K` entry: a name that ends with a NUL.
fn long_name(data: &[u8], offset: usize) -> Result<String> {
    let name = data.strip_suffix(b"\0").unwrap_or(data);
    name_text(name, offset)
}

/// A name as text. Debian policy 10.10 asks for UTF-8; a NUL cannot be part of a name.
fn name_text(name: &[u8], offset: usize) -> Result<String> {
    match core::str::from_utf8(name) {
        Ok(text) if !text.contains('\0') => Ok(text.to_string()),
        _ => Err(Error::Value {
            what: "name of tar entry",
            offset,
            found: name.escape_ascii().to_string(),
            expected: "UTF-8 without NUL".into(),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
