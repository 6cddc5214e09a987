//! `cpio` archives as the kernel unpacks them: newc (070701) and crc (070702), both ways
//! (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! What the writer writes for a [`WRITER`] version never changes: archives are measured.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Version of the writer, for the lock: as long as it stays, the same entries give the same bytes.
pub const WRITER: u32 = 1;
/// An archive is filled with zeros up to a multiple of this, as cpio tools do, so that what
/// follows it starts at an offset that the kernel accepts.
pub const BLOCK: usize = 512;
/// Size of a header: magic and 13 numbers of 8 hexadecimal digits.
const HEADER: usize = 6 + 13 * 8;
const TRAILER: &str = "TRAILER!!!";
/// The kernel's `PATH_MAX`, with the NUL: longer names are skipped there, so they are refused here.
const PATH_MAX: usize = 4096;

/// Which of the two formats: they differ in magic and in one field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Variant {
    /// 070701: no checksums.
    #[default]
    Newc,
    /// 070702: the sum of each file's bytes, which the kernel checks.
    Crc,
}

/// File type bits of a mode (POSIX `sys/stat.h`).
pub mod kind {
    /// The bits that tell the type.
    pub const MASK: u32 = 0o170_000;
    /// Named pipe.
    pub const FIFO: u32 = 0o010_000;
    /// Character device.
    pub const CHAR: u32 = 0o020_000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// Block device.
    pub const BLOCK: u32 = 0o060_000;
    /// Regular file.
    pub const FILE: u32 = 0o100_000;
    /// Symbolic link; its contents are the target.
    pub const SYMLINK: u32 = 0o120_000;
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path without a leading slash.
    pub path: Cow<'a, str>,
    /// Number that hard links share.
    pub inode: u32,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names; of several, the last in the archive carries the contents.
    pub links: u32,
    /// Seconds since 1970.
    pub time: u32,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
    /// Contents of a file, target of a symbolic link.
    pub data: &'a [u8],
}

/// Length of the archive that [`write()`] makes of `entries`.
pub fn length<'a>(entries: impl Iterator<Item = Entry<'a>>) -> u64 {
    let member = |name: usize, data: usize| {
        let head = (HEADER + name + 1).next_multiple_of(4);
        head as u64 + (data as u64).next_multiple_of(4)
    };
    let members: u64 = entries.map(|entry| member(entry.path.len(), entry.data.len())).sum();
    (members + member(TRAILER.len(), 0)).next_multiple_of(BLOCK as u64)
}

/// Writes `entries` in their order, piece by piece, to `sink`.
///
/// # Errors
/// A name is too long for the kernel or not a plain relative path, a file has 4 GiB or more; or
/// what `sink` says.
pub fn write<'a, E: From<Error>>(
    entries: impl Iterator<Item = Entry<'a>>,
    variant: Variant,
    mut sink: impl FnMut(&[u8]) -> core::result::Result<(), E>,
) -> core::result::Result<(), E> {
    let mut written = 0;
    let mut put = |bytes: &[u8], align: usize| {
        written += bytes.len();
        let fill = written.next_multiple_of(align) - written;
        written += fill;
        sink(bytes)?;
        sink(&[0; BLOCK][..fill])
    };
    for entry in entries {
        check_name(&entry.path)?;
        put(&header(&entry, variant)?, 4)?;
        put(entry.data, 4)?;
    }
    put(&header(&trailer(), variant)?, 4)?;
    put(&[], BLOCK)
}

fn trailer() -> Entry<'static> {
    let (path, device) = (Cow::Borrowed(TRAILER), (0, 0));
    Entry { path, inode: 0, mode: 0, uid: 0, gid: 0, links: 1, time: 0, device, data: &[] }
}

/// Header and name. The device that holds the file is always 0:0: only inode numbers tell links.
fn header(entry: &Entry<'_>, variant: Variant) -> Result<Vec<u8>> {
    let Ok(size) = u32::try_from(entry.data.len()) else {
        return Err(refused(entry, format!("{} bytes", entry.data.len()), "less than 4 GiB"));
    };
    let (magic, sum) = match variant {
        Variant::Newc => ("070701", 0),
        Variant::Crc => ("070702", sum(entry)),
    };
    let name_size = u32::try_from(entry.path.len() + 1).unwrap_or(u32::MAX);
    let Entry { inode, mode, uid, gid, links, time, device: (major, minor), .. } = *entry;
    let numbers = [inode, mode, uid, gid, links, time, size, 0, 0, major, minor, name_size, sum];
    let numbers: String = numbers.iter().map(|number| format!("{number:08X}")).collect();
    Ok(format!("{magic}{numbers}{}\0", entry.path).into_bytes())
}

/// The kernel sums what it writes to regular files, and nothing else.
fn sum(entry: &Entry<'_>) -> u32 {
    let add = |sum: u32, byte: &u8| sum.wrapping_add(u32::from(*byte));
    if entry.mode & kind::MASK == kind::FILE { entry.data.iter().fold(0, add) } else { 0 }
}

fn check_name(path: &str) -> Result<()> {
    let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let expected = match () {
        () if path.len() >= PATH_MAX => "less than 4096 bytes",
        () if path == TRAILER => "a name that does not end the archive",
        () if !plain || path.contains('\0') => "a plain relative path",
        () => return Ok(()),
    };
    Err(Error::Value {
        what: "name in cpio archive",
        offset: 0,
        found: path.into(),
        expected: expected.into(),
    })
}

fn refused(entry: &Entry<'_>, found: String, expected: &str) -> Error {
    let found = format!("{}: {found}", entry.path);
    Error::Value { what: "member of cpio archive", offset: 0, found, expected: expected.into() }
}

/// Members of the archive at the start of `bytes`, and the length up to its end.
///
/// # Errors
/// The bytes are no archive, are cut off, or a checksum does not hold.
pub fn parse(bytes: &[u8]) -> Result<(Vec<Entry<'_>>, usize)> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    loop {
        let entry = member(&mut reader)?;
        if entry.path == TRAILER {
            return Ok((entries, reader.offset()));
        }
        entries.push(entry);
    }
}

fn member<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>> {
    let offset = reader.offset();
    let variant = match &reader.array::<6>("cpio magic")? {
        b"070701" => Variant::Newc,
        b"070702" => Variant::Crc,
        other => {
            let found = other.escape_ascii().to_string();
            let expected = "070701 or 070702".into();
            return Err(Error::Value { what: "cpio magic", offset, found, expected });
        }
    };
    let mut numbers = [0; 13];
    for number in &mut numbers {
        *number = hex(reader)?;
    }
    let [inode, mode, uid, gid, links, time, size, _, _, major, minor, name_size, stated] = numbers;
    let path = name(reader, name_size)?;
    align(reader)?;
    let data = reader.take(size as usize, "contents of cpio member")?;
    align(reader)?;
    let entry = Entry { path, inode, mode, uid, gid, links, time, device: (major, minor), data };
    match variant {
        Variant::Crc if sum(&entry) != stated => {
            Err(refused(&entry, format!("sum {:#x}", sum(&entry)), &format!("{stated:#x}")))
        }
        _ => Ok(entry),
    }
}

fn hex(reader: &mut Reader<'_>) -> Result<u32> {
    let offset = reader.offset();
    let digits: [u8; 8] = reader.array("number in cpio header")?;
    let text = core::str::from_utf8(&digits).ok().filter(|text| !text.starts_with('+'));
    text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or_else(|| Error::Value {
        what: "number in cpio header",
        offset,
        found: digits.escape_ascii().to_string(),
        expected: "8 hexadecimal digits".into(),
    })
}

fn name<'a>(reader: &mut Reader<'a>, size: u32) -> Result<Cow<'a, str>> {
    let offset = reader.offset();
    let bytes = reader.take(size as usize, "name of cpio member")?;
    let text = bytes.strip_suffix(b"\0").and_then(|name| core::str::from_utf8(name).ok());
    text.map(Cow::Borrowed).ok_or_else(|| Error::Value {
        what: "name of cpio member",
        offset,
        found: bytes.escape_ascii().to_string(),
        expected: "UTF-8 that ends with NUL".into(),
    })
}

/// Names and contents end at a multiple of 4 from the start of the archive.
fn align(reader: &mut Reader<'_>) -> Result<()> {
    let offset = reader.offset();
    reader.take(offset.next_multiple_of(4) - offset, "padding in cpio archive").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use proptest::prelude::*;

    fn entry<'a>(path: &'a str, mode: u32, data: &'a [u8]) -> Entry<'a> {
        Entry { path: path.into(), mode, time: 7, data, ..trailer() }
    }

    fn sample() -> Vec<Entry<'static>> {
        let link = |path, data| Entry { inode: 3, links: 2, ..entry(path, 0o100_755, data) };
        vec![
            Entry { inode: 1, links: 2, ..entry("d", 0o040_755, b"") },
            Entry { inode: 2, device: (5, 1), ..entry("d/console", 0o020_600, b"") },
            link("d/one", b""),
            link("d/two", b"contents"),
            Entry { inode: 4, uid: 1000, gid: 100, ..entry("s", 0o120_777, b"d/one") },
        ]
    }

    fn archive(entries: &[Entry<'_>], variant: Variant) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let sink = |piece: &[u8]| {
            bytes.extend(piece);
            Ok::<_, Error>(())
        };
        write(entries.iter().cloned(), variant, sink)?;
        assert_eq!(length(entries.iter().cloned()), bytes.len() as u64);
        Ok(bytes)
    }

    /// A change here changes every measured initrd: raise [`WRITER`] and keep the old form.
    #[test]
    fn writer_1_writes_these_bytes() {
        assert_eq!(WRITER, 1);
        let of = |variant| Sha256::of(&archive(&sample(), variant).unwrap()).to_string();
        assert_eq!(
            of(Variant::Newc),
            "625bd0e060e433ab8c6cc5394f9c95d46cebd87cd5a209f54fd30ac44700a188"
        );
        assert_eq!(
            of(Variant::Crc),
            "cc88de0d44652a9b5a054d460d140453c5fe7b45f9f8a5669144cd98ef04f3a8"
        );
        let bytes = archive(&sample()[..1], Variant::Newc).unwrap();
        let head = "07070100000001000041ED000000000000000000000002000000070000000000000000\
                    0000000000000000000000000000000200000000d\0";
        assert_eq!(&bytes[..head.len()], head.as_bytes());
    }

    #[test]
    fn long_and_ambiguous_names_are_refused() {
        let long = "x".repeat(PATH_MAX);
        for path in ["", "/a", "a//b", "a/../b", "./a", "a\0b", TRAILER, &long] {
            assert!(archive(&[entry(path, 0o100_644, b"")], Variant::Newc).is_err(), "{path:?}");
        }
        assert!(archive(&[entry(&long[1..], 0o100_644, b"")], Variant::Newc).is_ok());
    }

    #[test]
    fn a_wrong_sum_is_found() {
        let mut bytes = archive(&[entry("f", 0o100_644, b"abcd")], Variant::Crc).unwrap();
        bytes[112] ^= 1;
        let error = parse(&bytes).unwrap_err().to_string();
        assert!(error.contains("expected 0x18a, found f: sum 0x189"), "{error}");
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = archive(&sample(), Variant::Newc).unwrap();
        let (_, end) = parse(&bytes).unwrap();
        assert!((0..end).all(|cut| parse(&bytes[..cut]).is_err()));
    }

    proptest! {
        #[test]
        fn parse_after_write_gives_the_entries(
            names in prop::collection::vec("[a-z]{1,9}(/[a-zé]{1,5}){0,3}", 0..8),
            data in prop::collection::vec(any::<u8>(), 0..70),
            crc in any::<bool>(),
        ) {
            let variant = if crc { Variant::Crc } else { Variant::Newc };
            let entries: Vec<_> = names.iter().map(|n| entry(n, 0o100_644, &data)).collect();
            let bytes = archive(&entries, variant).unwrap();
            let (read, end) = parse(&bytes).unwrap();
            prop_assert_eq!(read, entries);
            prop_assert!(bytes[end..].iter().all(|b| *b == 0) && bytes.len().is_multiple_of(BLOCK));
        }

        #[test]
        fn hostile_bytes_never_panic(at in 0usize..300, byte in any::<u8>()) {
            let mut bytes = archive(&sample(), Variant::Crc).unwrap();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
