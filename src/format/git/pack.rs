//! Packs: where each object begins, and what stands there (gitformat-pack, «pack-*.pack files» and
//! «Version 2 pack-*.idx files»). Contents are deflated; inflating them is the caller's.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};

use super::Kind;
use crate::digest::Sha1;
use crate::format::{Error, Reader, Result};

/// Bytes before the first entry.
pub const HEADER: usize = 12;

/// What an entry of a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object, whole.
    Whole(Kind),
    /// A delta to the entry that begins at this offset.
    DeltaAt(usize),
    /// A delta to the object of this name.
    DeltaOf(Sha1),
}

/// Head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub form: Form,
    /// Bytes of its contents, inflated.
    pub size: usize,
    /// Where the deflated contents begin.
    pub data: usize,
}

/// Number of objects in the pack.
///
/// # Errors
/// The bytes are no pack of version 2 or 3, or its checksum is another.
pub fn count(pack: &[u8]) -> Result<u32> {
    let mut reader = Reader::new(pack);
    let magic: [u8; 4] = reader.array("git pack")?;
    let version = reader.array("version of git pack").map(u32::from_be_bytes)?;
    if &magic != b"PACK" || !(2..=3).contains(&version) {
        let found = format!("{} {version}", magic.escape_ascii());
        return Err(wrong("git pack", 0, found, "PACK, version 2"));
    }
    let count = reader.array("count of git pack").map(u32::from_be_bytes)?;
    let end = pack.len().saturating_sub(Sha1::WIDTH);
    let sum: [u8; 20] = Reader::at(pack, end.max(HEADER)).array("checksum of git pack")?;
    match Sha1::of(&pack[..end]) == Sha1(sum) {
        true => Ok(count),
        false => {
            Err(wrong("checksum of git pack", end, Sha1(sum).to_string(), "that of its bytes"))
        }
    }
}

/// Head of the entry at `offset`.
///
/// # Errors
/// There is none.
pub fn head(pack: &[u8], offset: usize) -> Result<Head> {
    let mut reader = Reader::at(pack, offset);
    let first = reader.u8("head of git pack entry")?;
    let (mut byte, mut size, mut shift) = (first, usize::from(first & 15), 4);
    while byte & 0x80 != 0 {
        byte = reader.u8("size of git pack entry")?;
        if shift > usize::BITS - 8 {
            return Err(wrong("size of git pack entry", offset, "more bits".into(), "fewer"));
        }
        size |= usize::from(byte & 0x7f) << shift;
        shift += 7;
    }
    let form = match first >> 4 & 7 {
        1 => Form::Whole(Kind::Commit),
        2 => Form::Whole(Kind::Tree),
        3 => Form::Whole(Kind::Blob),
        4 => Form::Whole(Kind::Tag),
        6 => Form::DeltaAt(base(&mut reader, offset)?),
        7 => Form::DeltaOf(Sha1(reader.array("base of delta")?)),
        other => return Err(wrong("kind of git pack entry", offset, other.to_string(), "1 to 7")),
    };
    Ok(Head { form, size, data: reader.offset() })
}

/// The base of a delta, as a distance back: seven bits a byte, the highest first, and one more for
/// each byte that follows.
fn base(reader: &mut Reader<'_>, offset: usize) -> Result<usize> {
    let mut byte = reader.u8("base of delta")?;
    let mut back = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = reader.u8("base of delta")?;
        let more = back.checked_add(1).and_then(|back| back.checked_mul(128));
        back = more.unwrap_or(usize::MAX).saturating_add(usize::from(byte & 0x7f));
    }
    let base = offset.checked_sub(back).filter(|base| *base >= HEADER && back > 0);
    base.ok_or_else(|| wrong("base of delta", offset, format!("{back} back"), "an earlier entry"))
}

/// Offsets of a pack's objects by their names, out of the index in `bytes`.
///
/// # Errors
/// It is no index of version 2, or is cut off.
pub fn index(bytes: &[u8]) -> Result<BTreeMap<Sha1, u64>> {
    let mut reader = Reader::new(bytes);
    let magic: [u8; 8] = reader.array("index of git pack")?;
    if magic != *b"\xfftOc\0\0\0\x02" {
        let found = magic.escape_ascii().to_string();
        return Err(wrong("index of git pack", 0, found, "\\xfftOc, version 2"));
    }
    let fanout = reader.take(256 * 4, "fan-out of git pack index")?;
    let last = Reader::at(fanout, 255 * 4).array("fan-out").map(u32::from_be_bytes)?;
    let count = usize::try_from(last).unwrap_or(usize::MAX);
    let table = |reader: &mut Reader<'_>, width: usize| {
        let start = reader.offset();
        reader.take(count.saturating_mul(width), "table of git pack index").map(|_| start)
    };
    let (names, _sums) = (table(&mut reader, 20)?, table(&mut reader, 4)?);
    let (offsets, far) = (table(&mut reader, 4)?, reader.offset());
    let mut found = BTreeMap::new();
    for entry in 0..count {
        let name = Reader::at(bytes, names + 20 * entry).array("name in git pack index")?;
        let offset = Reader::at(bytes, offsets + 4 * entry).array("offset in git pack index");
        let offset = match u32::from_be_bytes(offset?) {
            near if near >> 31 == 0 => u64::from(near),
            other => {
                let place = usize::try_from(other & 0x7fff_ffff).unwrap_or(usize::MAX);
                let place = place.saturating_mul(8).saturating_add(far);
                Reader::at(bytes, place).array("far offset").map(u64::from_be_bytes)?
            }
        };
        found.insert(Sha1(name), offset);
    }
    Ok(found)
}

fn wrong(what: &'static str, offset: usize, found: String, expected: &str) -> Error {
    Error::Value { what, offset, found, expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn heads() {
        let mut pack = alloc::vec![0; HEADER];
        pack.extend([0x95, 0x0a]); // a commit of 5 + 16 × 10 bytes
        pack.extend([0x63, 0x02]); // a delta of 3 bytes to the entry 2 bytes before
        pack.extend([0x60, 0x80, 0x01]); // 129 before
        assert_eq!(
            head(&pack, 12),
            Ok(Head { form: Form::Whole(Kind::Commit), size: 165, data: 14 })
        );
        assert_eq!(head(&pack, 14), Ok(Head { form: Form::DeltaAt(12), size: 3, data: 16 }));
        assert!(head(&pack, 16).is_err(), "before the first entry");
        assert!(head(&[0; 13], 12).is_err(), "kind 0");
        assert!(head(&[0xff; 40], 12).is_err());
        assert!(head(&pack, 99).is_err());
    }

    #[test]
    fn an_index_is_read_and_a_cut_one_refused() {
        let mut bytes: Vec<u8> = b"\xfftOc\0\0\0\x02".to_vec();
        for byte in 0..256_u32 {
            bytes.extend(u32::from(byte >= 7).to_be_bytes());
        }
        bytes.extend([7; 20]);
        bytes.extend([0; 4]);
        bytes.extend(0x8000_0000_u32.to_be_bytes());
        bytes.extend((1_u64 << 33).to_be_bytes());
        assert_eq!(index(&bytes).expect("an index"), [(Sha1([7; 20]), 1 << 33)].into());
        for cut in [0, 8, 1000, bytes.len() - 9, bytes.len() - 1] {
            assert!(index(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_pack_is_known_by_its_head_and_its_checksum() {
        let mut pack = b"PACK\0\0\0\x02\0\0\0\x03".to_vec();
        let sum = Sha1::of(&pack);
        pack.extend(sum.0);
        assert_eq!(count(&pack), Ok(3));
        pack[11] = 4;
        assert!(count(&pack).is_err());
        assert!(count(b"PACK\0\0\0\x02\0\0\0\x03").is_err());
    }
}
