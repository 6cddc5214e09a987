//! `ar` archives, the outer form of Debian packages (deb(5), ar(5) common format).

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use super::{Error, Reader, Result};

/// First bytes of every archive.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";

/// One member: its name and where its contents lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name, without the padding and the slash that System V appends.
    pub name: String,
    /// Contents, as a range of the archive.
    pub data: Range<usize>,
}

/// Members of the archive in `bytes`, in order.
///
/// # Errors
/// The bytes are not an archive, or a member does not fit in them.
pub fn parse(bytes: &[u8]) -> Result<Vec<Member>> {
    let mut reader = Reader::new(bytes);
    let magic: [u8; 8] = reader.array("ar magic")?;
    if &magic != MAGIC {
        let found = magic.escape_ascii().to_string();
        return Err(Error::Value {
            what: "ar magic",
            offset: 0,
            found,
            expected: "!<arch>\\n".into(),
        });
    }
    let mut members = Vec::new();
    while reader.remaining() > 0 {
        members.push(member(&mut reader)?);
    }
    Ok(members)
}

/// Header (ar(5): name 16, date 12, uid 6, gid 6, mode 8, size 10, end 2), contents, and the byte
/// that pads them to an even offset.
fn member(reader: &mut Reader<'_>) -> Result<Member> {
    let name = text(reader, 16, "name of ar member")?;
    reader.take(12 + 6 + 6 + 8, "header of ar member")?;
    let offset = reader.offset();
    let size = text(reader, 10, "size of ar member")?;
    let size: usize = size.parse().map_err(|_| Error::Value {
        what: "size of ar member",
        offset,
        found: size,
        expected: "a decimal number".into(),
    })?;
    end_mark(reader)?;
    let start = reader.offset();
    reader.take(size, "contents of ar member")?;
    if !size.is_multiple_of(2) && reader.remaining() > 0 {
        reader.take(1, "padding of ar member")?;
    }
    let name = name.strip_suffix('/').unwrap_or(&name).to_string();
    Ok(Member { name, data: start..start + size })
}

/// A field of `width` bytes, blanks at its end cut off.
fn text(reader: &mut Reader<'_>, width: usize, what: &'static str) -> Result<String> {
    let offset = reader.offset();
    let bytes = reader.take(width, what)?;
    match core::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Ok(text.trim_end_matches(' ').to_string()),
        _ => Err(Error::Value {
            what,
            offset,
            found: bytes.escape_ascii().to_string(),
            expected: "ASCII".into(),
        }),
    }
}

fn end_mark(reader: &mut Reader<'_>) -> Result<()> {
    let offset = reader.offset();
    match reader.array::<2>("end of ar header")? {
        [b'`', b'\n'] => Ok(()),
        other => Err(Error::Value {
            what: "end of ar header",
            offset,
            found: other.escape_ascii().to_string(),
            expected: "`\\n".into(),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::format;

    /// An archive of `members`, as binutils writes it in deterministic mode.
    pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, data) in members {
            let head =
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, data.len());
            bytes.extend(head.as_bytes());
            bytes.extend(*data);
            bytes.extend(core::iter::repeat_n(b'\n', data.len() % 2));
        }
        bytes
    }

    #[test]
    fn members_come_in_order_with_their_contents() {
        let bytes = archive(&[("one", b"abc"), ("two/", b""), ("three", b"xy")]);
        let members = parse(&bytes).unwrap();
        let read: Vec<_> =
            members.iter().map(|m| (m.name.as_str(), &bytes[m.data.clone()])).collect();
        assert_eq!(read, [("one", &b"abc"[..]), ("two", b""), ("three", b"xy")]);
    }

    #[test]
    fn every_cut_is_refused_or_ends_at_a_member() {
        let bytes = archive(&[("one", b"abcd"), ("two", b"efgh")]);
        let ends = [8, 8 + 64, 8 + 128];
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]).is_ok(), ends.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn errors_say_where() {
        let mut bytes = archive(&[("one", b"abcd")]);
        bytes[8 + 48] = b'x';
        let error = parse(&bytes).unwrap_err().to_string();
        let expected = "expected a decimal number, found x";
        assert_eq!(error, format!("size of ar member at byte offset 0x38: {expected}"));
        bytes[8 + 48] = b'9';
        assert!(matches!(parse(&bytes), Ok(_) | Err(Error::Truncated { .. })));
        assert!(parse(b"!<arch>").is_err());
        assert!(parse(b"\x7fELF\0\0\0\0").unwrap_err().to_string().contains("ar magic"));
    }
}
