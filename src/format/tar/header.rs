//! One header block of a tar archive (POSIX.1-1988 ustar, with GNU's binary numbers).

use alloc::format;
use alloc::string::{String, ToString as _};

use super::super::{Error, Reader, Result};
use super::{BLOCK, name_text};

/// A header whose checksum holds.
pub(super) struct Header {
    block: [u8; BLOCK],
    /// Byte offset in the archive.
    pub(super) offset: usize,
    /// Type of the entry.
    pub(super) flag: u8,
}

impl Header {
    /// The next header; none at the end of the archive, which a block of zeros marks.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>> {
        let offset = reader.offset();
        let block: [u8; BLOCK] = reader.array("tar header")?;
        if block.iter().all(|byte| *byte == 0) {
            return only_zeros(reader).map(|()| None);
        }
        let header = Self { block, offset, flag: block[156] };
        header.check()?;
        Ok(Some(header))
    }

    /// The checksum counts its own field as blanks. Historic archives add signed bytes; packages
    /// have no reason to.
    fn check(&self) -> Result<()> {
        let sum: u64 = self.block.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = self.block[148..156].iter().map(|byte| u64::from(*byte)).sum();
        let (expected, found) = (sum - own + 8 * u64::from(b' '), self.number(148, 8)?);
        match expected == found {
            true => Ok(()),
            false => Err(self.error(
                "checksum of tar header",
                format!("{found:o}"),
                &format!("{expected:o}"),
            )),
        }
    }

    /// The name, behind its prefix in POSIX archives.
    pub(super) fn path(&self) -> Result<String> {
        let name = self.text(0, 100)?;
        // GNU's magic is `ustar  ` and has no prefix field there.
        let prefix = match &self.block[257..263] {
            b"ustar\0" => self.text(345, 155)?,
            _ => String::new(),
        };
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }

    /// Target of a link.
    pub(super) fn link(&self) -> Result<String> {
        self.text(157, 100)
    }

    pub(super) fn mode(&self) -> Result<u32> {
        self.narrow(100, 8, "mode of tar entry")
    }

    pub(super) fn uid(&self) -> Result<u32> {
        self.narrow(108, 8, "owner of tar entry")
    }

    pub(super) fn gid(&self) -> Result<u32> {
        self.narrow(116, 8, "group of tar entry")
    }

    pub(super) fn major(&self) -> Result<u32> {
        self.narrow(329, 8, "device number of tar entry")
    }

    pub(super) fn minor(&self) -> Result<u32> {
        self.narrow(337, 8, "device number of tar entry")
    }

    /// Bytes that follow the header.
    pub(super) fn size(&self) -> Result<usize> {
        let size = self.number(124, 12)?;
        usize::try_from(size).ok().filter(|size| *size <= usize::MAX - BLOCK).ok_or_else(|| {
            self.error("size of tar entry", size.to_string(), "a size that fits in memory")
        })
    }

    fn narrow(&self, at: usize, width: usize, what: &'static str) -> Result<u32> {
        let number = self.number(at, width)?;
        u32::try_from(number).map_err(|_| self.error(what, number.to_string(), "a 32-bit number"))
    }

    /// Octal digits between blanks and NULs, or, with the top bit set, a big-endian number.
    fn number(&self, at: usize, width: usize) -> Result<u64> {
        let field = &self.block[at..at + width];
        let error = || {
            let found = field.escape_ascii().to_string();
            self.error("number in tar header", found, "an octal number")
        };
        if field[0] & 0x80 != 0 {
            let (high, low) = field.split_at(width - width.min(8));
            let fits = high.iter().enumerate().all(|(i, b)| *b == if i == 0 { 0x80 } else { 0 });
            let value = low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            // In a field of 8 bytes the marker is the top bit of the number itself.
            let value = if high.is_empty() { value & !(1 << 63) } else { value };
            return if fits { Ok(value) } else { Err(error()) };
        }
        let text = core::str::from_utf8(field).map_err(|_| error())?;
        let digits = text.trim_matches([' ', '\0']);
        match digits {
            "" => Ok(0),
            _ if digits.starts_with('+') => Err(error()),
            _ => u64::from_str_radix(digits, 8).map_err(|_| error()),
        }
    }

    fn text(&self, at: usize, width: usize) -> Result<String> {
        let field = &self.block[at..at + width];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(width);
        name_text(&field[..end], self.offset)
    }

    fn error(&self, what: &'static str, found: String, expected: &str) -> Error {
        Error::Value { what, offset: self.offset, found, expected: expected.to_string() }
    }
}

/// Nothing may hide behind the end of an archive.
fn only_zeros(reader: &mut Reader<'_>) -> Result<()> {
    let offset = reader.offset();
    let rest = reader.take(reader.remaining(), "end of tar archive")?;
    match rest.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => Err(Error::Value {
            what: "end of tar archive",
            offset: offset + at,
            found: "more bytes".into(),
            expected: "only zeros".into(),
        }),
    }
}
