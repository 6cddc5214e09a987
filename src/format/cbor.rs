//! CBOR (RFC 8949), as much as reading signatures needs: definite lengths, no floating point.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Containers within containers that [`Decoder::skip`] follows.
const MAX_DEPTH: usize = 16;

/// Major types (RFC 8949 section 3.1).
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Reads items one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a> {
    reader: Reader<'a>,
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes) }
    }

    /// The head of the next item: its major type and its argument.
    fn head(&mut self) -> Result<(u8, u64)> {
        let offset = self.reader.offset();
        let initial = self.reader.u8("CBOR item")?;
        let argument = match initial & 0x1f {
            small @ 0..=23 => u64::from(small),
            24 => self.reader.u8("CBOR argument")?.into(),
            25 => u16::from_be_bytes(self.reader.array("CBOR argument")?).into(),
            26 => u32::from_be_bytes(self.reader.array("CBOR argument")?).into(),
            27 => u64::from_be_bytes(self.reader.array("CBOR argument")?),
            _ => return Err(unexpected(offset, initial, "an item of definite length")),
        };
        Ok((initial >> 5, argument))
    }

    fn expect(&mut self, major: u8, expected: &str) -> Result<u64> {
        let offset = self.reader.offset();
        match self.head()? {
            (found, argument) if found == major => Ok(argument),
            (found, _) => Err(unexpected(offset, found << 5, expected)),
        }
    }

    fn counted(&mut self, length: u64) -> Result<&'a [u8]> {
        self.reader.take(usize::try_from(length).unwrap_or(usize::MAX), "CBOR string")
    }

    /// Number of items of the array that comes next.
    ///
    /// # Errors
    /// Something else comes next.
    pub fn array(&mut self) -> Result<u64> {
        self.expect(ARRAY, "an array")
    }

    /// Number of pairs of the map that comes next.
    ///
    /// # Errors
    /// Something else comes next.
    pub fn map(&mut self) -> Result<u64> {
        self.expect(MAP, "a map")
    }

    /// The text that comes next.
    ///
    /// # Errors
    /// Something else comes next, or it is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str> {
        let offset = self.reader.offset();
        let length = self.expect(TEXT, "a text")?;
        core::str::from_utf8(self.counted(length)?)
            .map_err(|_| unexpected(offset, TEXT << 5, "a text in UTF-8"))
    }

    /// The number that comes next.
    ///
    /// # Errors
    /// Something else comes next, or it is beyond 63 bits.
    pub fn integer(&mut self) -> Result<i64> {
        let offset = self.reader.offset();
        let (major, argument) = self.head()?;
        let number = i64::try_from(argument).ok().and_then(|number| match major {
            UNSIGNED => Some(number),
            NEGATIVE => Some(-1 - number),
            _ => None,
        });
        number.ok_or_else(|| unexpected(offset, major << 5, "a number of 63 bits"))
    }

    /// The bytes that come next: as a byte string, or as an array of numbers below 256.
    ///
    /// # Errors
    /// Something else comes next.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let offset = self.reader.offset();
        match self.head()? {
            (BYTES, length) => Ok(self.counted(length)?.to_vec()),
            (ARRAY, count) => (0..count).map(|_| self.byte()).collect(),
            (major, _) => Err(unexpected(offset, major << 5, "bytes")),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        let offset = self.reader.offset();
        let number = self.expect(UNSIGNED, "a number")?;
        u8::try_from(number).map_err(|_| Error::Value {
            what: "CBOR number",
            offset,
            found: number.to_string(),
            expected: "a number below 256".to_string(),
        })
    }

    /// Passes over the next item, whatever it is.
    ///
    /// # Errors
    /// The item is cut off, of indefinite length or nested too deeply.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_below(MAX_DEPTH)
    }

    fn skip_below(&mut self, depth: usize) -> Result<()> {
        let offset = self.reader.offset();
        let deeper = depth.checked_sub(1);
        let deeper = deeper.ok_or_else(|| unexpected(offset, ARRAY << 5, "fewer levels"))?;
        let (major, argument) = self.head()?;
        let inside = match major {
            BYTES | TEXT => return self.counted(argument).map(|_| ()),
            ARRAY => argument,
            MAP => argument.saturating_mul(2),
            TAG => 1,
            _ => 0,
        };
        (0..inside).try_for_each(|_| self.skip_below(deeper))
    }
}

fn unexpected(offset: usize, initial: u8, expected: &str) -> Error {
    let names = ["a number", "a negative number", "bytes", "a text", "an array", "a map", "a tag"];
    let name = names.get(usize::from(initial >> 5)).copied().unwrap_or("a simple value");
    let found = format!("{name} ({initial:#04x})");
    Error::Value { what: "CBOR item", offset, found, expected: expected.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_every_kind_are_read_or_passed_over() {
        // {"a": [1, -2, h'03', tag 1(4)], "b": h'0506', "c": [7, 8]}: RFC 8949 appendix A shapes.
        let bytes = b"\xa3\x61a\x84\x01\x21\x41\x03\xc1\x04\x61b\x42\x05\x06\x61c\x82\x07\x18\x08";
        let mut decoder = Decoder::new(bytes);
        assert_eq!(decoder.map(), Ok(3));
        assert_eq!(decoder.text(), Ok("a"));
        assert_eq!(decoder.skip(), Ok(()));
        assert_eq!((decoder.text(), decoder.bytes()), (Ok("b"), Ok(alloc::vec![5, 6])));
        assert_eq!((decoder.text(), decoder.bytes()), (Ok("c"), Ok(alloc::vec![7, 8])));
        assert_eq!(Decoder::new(b"\x38\x22").integer(), Ok(-35));
        assert!(Decoder::new(b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff").integer().is_err());
    }

    #[test]
    fn hostile_items_are_errors() {
        let long = Decoder::new(b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff").bytes().unwrap_err();
        assert!(long.to_string().starts_with("CBOR string at byte offset 0x9 needs"), "{long}");
        assert!(Decoder::new(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff").bytes().is_err());
        assert!(Decoder::new(&[0x81; 64]).skip().unwrap_err().to_string().contains("fewer levels"));
        let wide = Decoder::new(b"\x81\x19\x01\x00").bytes().unwrap_err();
        assert_eq!(
            wide.to_string(),
            "CBOR number at byte offset 0x1: expected a number below 256, found 256"
        );
        assert!(Decoder::new(b"\x9f").array().is_err(), "indefinite length");
    }
}
