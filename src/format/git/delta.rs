//! Deltas of packs: an object as copies from another one and bytes of its own
//! (gitformat-pack, «Deltified representation»).

use alloc::format;
use alloc::vec::Vec;

use crate::format::{Error, Reader, Result};

/// The object that `delta` makes of `base`.
///
/// # Errors
/// The delta is cut off, copies from outside of its base, or does not give what it states.
pub fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader::new(delta);
    stated(&mut reader, base.len(), "size of the base of a delta")?;
    let size = size(&mut reader)?;
    let mut made = Vec::new();
    while reader.remaining() > 0 {
        let offset = reader.offset();
        let command = reader.u8("command of delta")?;
        let part = match command {
            0 => return Err(wrong("command of delta", offset, "0", "a copy or an insertion")),
            1..=0x7f => reader.take(usize::from(command), "insertion of delta")?,
            _ => {
                let (start, length) = copy(&mut reader, command)?;
                let part = start.checked_add(length).and_then(|end| base.get(start..end));
                let found = format!("{length} bytes at {start}");
                part.ok_or_else(|| wrong("copy of delta", offset, &found, "bytes of the base"))?
            }
        };
        made.extend_from_slice(part);
        if made.len() > size {
            break;
        }
    }
    match made.len() == size {
        true => Ok(made),
        false => Err(wrong("delta", 0, &format!("{} bytes", made.len()), &format!("{size}"))),
    }
}

/// Offset and length of a copy: the command says which of their bytes follow; a length of 0 stands
/// for 64 KiB.
fn copy(reader: &mut Reader<'_>, command: u8) -> Result<(usize, usize)> {
    let mut number = |bits: core::ops::Range<u8>| {
        let mut value = 0;
        for (place, bit) in bits.enumerate() {
            if command & (1 << bit) != 0 {
                value |= usize::from(reader.u8("copy of delta")?) << (8 * place);
            }
        }
        Ok(value)
    };
    let (start, length) = (number(0..4)?, number(4..7)?);
    Ok((start, if length == 0 { 0x1_0000 } else { length }))
}

fn stated(reader: &mut Reader<'_>, expected: usize, what: &'static str) -> Result<()> {
    let offset = reader.offset();
    let found = size(reader)?;
    match found == expected {
        true => Ok(()),
        false => Err(wrong(what, offset, &format!("{found}"), &format!("{expected}"))),
    }
}

/// Seven bits a byte, the lowest first.
fn size(reader: &mut Reader<'_>) -> Result<usize> {
    let offset = reader.offset();
    let mut value = 0_usize;
    for shift in (0..usize::BITS - 7).step_by(7) {
        let byte = reader.u8("size in delta")?;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(wrong("size in delta", offset, "a longer number", "a size that fits in memory"))
}

fn wrong(what: &'static str, offset: usize, found: &str, expected: &str) -> Error {
    Error::Value { what, offset, found: found.into(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_insertions() {
        let base = b"0123456789";
        // 10 to 7 bytes: 4 from offset 3, «xy», 1 from 0.
        let delta = [&[10, 7, 0x91, 3, 4, 2][..], b"xy", &[0x90, 1]].concat();
        assert_eq!(apply(base, &delta).expect("applies"), b"3456xy0");
        for cut in 0..delta.len() {
            assert!(apply(base, &delta[..cut]).is_err(), "{cut}");
        }
        for broken in [&[9, 7][..], &[10, 1, 0], &[10, 1, 0x91, 10, 1], &[10, 0, 1, 7]] {
            assert!(apply(base, broken).is_err(), "{broken:?}");
        }
        assert!(apply(base, &[0xff; 32]).is_err());
    }

    #[test]
    fn a_length_of_zero_is_64_kib() {
        let base = alloc::vec![7; 0x1_0000];
        let delta = [0x80, 0x80, 4, 0x80, 0x80, 4, 0x80];
        assert_eq!(apply(&base, &delta).expect("applies"), base);
    }
}
