//! GUID partition tables (UEFI 2.10 section 5.3) and `UEFI_GPT_DATA`, as firmware measures one
//! (TCG PC Client Platform Firmware Profile 1.06, section 10.2.7).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::guid::Guid;
use super::{Error, Reader, Result};

/// Size of a logical block; images for virtual machines have no other.
pub const BLOCK: usize = 512;

/// Type of an EFI system partition (section 5.3.3, table 5.7).
pub const EFI_SYSTEM: Guid = Guid::of("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

/// Size of the header, and of a partition entry in every known table.
const HEADER: usize = 92;
const ENTRY: usize = 128;

/// More entries than this are a broken header; tables have 128.
const MAX_ENTRIES: u32 = 1024;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt<'a> {
    header: &'a [u8],
    /// Used entries, in order.
    pub partitions: Vec<Partition<'a>>,
}

/// A used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition<'a> {
    entry: &'a [u8],
    /// Number, from 1.
    pub number: u32,
    /// Type.
    pub kind: Guid,
    /// First and last block.
    pub blocks: (u64, u64),
}

impl<'a> Gpt<'a> {
    /// The primary table of a whole disk image.
    ///
    /// # Errors
    /// There is none, its checksums are wrong, or it lies about its sizes.
    pub fn parse(disk: &'a [u8]) -> Result<Self> {
        let what = "GPT header";
        let header = Reader::at(disk, BLOCK).take(HEADER, what)?;
        if !header.starts_with(b"EFI PART") {
            let found = format!("{:?}", String::from_utf8_lossy(&header[..8]));
            let expected = "`EFI PART`: a GUID partition table".to_string();
            return Err(Error::Value { what: "GPT signature", offset: BLOCK, found, expected });
        }
        let stated = Reader::at(header, 16).u32(what)?;
        let own = [&header[..16], &[0; 4], &header[20..]].concat();
        checksum("checksum of the GPT header", BLOCK + 16, stated, &own)?;
        let mut reader = Reader::at(header, 72);
        let first = usize::try_from(reader.u64(what)?).unwrap_or(usize::MAX);
        let (count, size, stated) = (reader.u32(what)?, reader.u32(what)?, reader.u32(what)?);
        let table = table(disk, first, count, size)?;
        checksum("checksum of the GPT entries", BLOCK + 88, stated, table)?;
        let partitions = (1..).zip(table.chunks_exact(ENTRY)).filter_map(|(number, entry)| {
            let mut reader = Reader::new(entry);
            let kind = Guid(reader.array("GPT entry").ok()?);
            let mut reader = Reader::at(entry, 32);
            let blocks = (reader.u64("GPT entry").ok()?, reader.u64("GPT entry").ok()?);
            (kind != Guid([0; 16])).then_some(Partition { entry, number, kind, blocks })
        });
        Ok(Self { header, partitions: partitions.collect() })
    }

    /// `UEFI_GPT_DATA`: header, number of used entries, and those.
    pub fn measured(&self) -> Vec<u8> {
        let count = (self.partitions.len() as u64).to_le_bytes();
        let entries = self.partitions.iter().flat_map(|partition| partition.entry);
        self.header.iter().chain(&count).chain(entries).copied().collect()
    }

    /// The partition of type `kind`, the first of several.
    pub fn find(&self, kind: Guid) -> Option<&Partition<'a>> {
        self.partitions.iter().find(|partition| partition.kind == kind)
    }
}

/// The entries: `count` of `size` bytes from block `first` on.
fn table(disk: &[u8], first: usize, count: u32, size: u32) -> Result<&[u8]> {
    let known = usize::try_from(size) == Ok(ENTRY) && count <= MAX_ENTRIES;
    let bytes = ENTRY * usize::try_from(count).unwrap_or(0);
    match known {
        true => Reader::at(disk, first.saturating_mul(BLOCK)).take(bytes, "GPT entries"),
        false => Err(Error::Value {
            what: "GPT entries",
            offset: BLOCK + 80,
            found: format!("{count} of {size} bytes"),
            expected: format!("at most {MAX_ENTRIES} of {ENTRY} bytes"),
        }),
    }
}

fn checksum(what: &'static str, offset: usize, stated: u32, bytes: &[u8]) -> Result<()> {
    let computed = crc32fast::hash(bytes);
    match computed == stated {
        true => Ok(()),
        false => Err(Error::Value {
            what,
            offset,
            found: format!("{stated:#010x}"),
            expected: format!("{computed:#010x}"),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;

    /// A disk of `blocks` blocks with one system partition from block 34 on.
    pub(crate) fn disk(blocks: usize) -> Vec<u8> {
        let mut entry = EFI_SYSTEM.0.to_vec();
        entry.extend([1; 16]);
        entry.extend(34u64.to_le_bytes());
        entry.extend((blocks as u64 - 34).to_le_bytes());
        entry.resize(ENTRY, 0);
        let mut table = entry;
        table.resize(128 * ENTRY, 0);
        let mut header = b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0".to_vec();
        header.resize(72, 0);
        header.extend(2u64.to_le_bytes());
        header.extend([128, 0, 0, 0, 128, 0, 0, 0]);
        header.extend(crc32fast::hash(&table).to_le_bytes());
        let sum = crc32fast::hash(&header).to_le_bytes();
        header[16..20].copy_from_slice(&sum);
        let mut disk = vec![0; blocks * BLOCK];
        disk[BLOCK..BLOCK + HEADER].copy_from_slice(&header);
        disk[2 * BLOCK..2 * BLOCK + table.len()].copy_from_slice(&table);
        disk
    }

    #[test]
    fn what_is_measured_is_header_count_and_used_entries() {
        let disk = disk(64);
        let table = Gpt::parse(&disk).expect("a table");
        assert_eq!(table.partitions.len(), 1);
        let expected =
            [&disk[512..604], &1u64.to_le_bytes()[..], &disk[1024..1024 + ENTRY]].concat();
        assert_eq!(table.measured(), expected);
        assert_eq!(table.find(EFI_SYSTEM).map(|p| (p.number, p.blocks)), Some((1, (34, 30))));
    }

    #[test]
    fn a_changed_byte_of_the_table_is_noticed() {
        let whole = disk(64);
        for at in [512, 520, 590, 1024, 1100, 3000] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(Gpt::parse(&changed).is_err(), "byte {at}");
        }
        assert!(Gpt::parse(&whole[..1000]).is_err());
    }
}
