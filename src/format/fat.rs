//! FAT file systems, reading only: the system partition that firmware boots from (Microsoft FAT
//! Specification 1.0, 2005; UEFI 2.10 section 13.3). FAT12, FAT16 and FAT32 with long names.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Size of a directory entry, and the attributes that matter (section 6).
const ENTRY: usize = 32;
const ATTR_LONG_NAME: u8 = 0x0f;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_VOLUME: u8 = 0x08;

/// An opened file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fat<'a> {
    bytes: &'a [u8],
    cluster_size: usize,
    table: usize,
    root: Root,
    data: usize,
    clusters: u32,
}

/// Where the root directory stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    /// FAT12 and FAT16: so many bytes at an offset.
    Fixed(usize, usize),
    /// FAT32: a chain of clusters.
    Chain(u32),
}

/// An entry of a directory.
struct Entry {
    name: String,
    attributes: u8,
    cluster: u32,
    size: usize,
}

impl<'a> Fat<'a> {
    /// Opens the file system in `bytes`, a partition.
    ///
    /// # Errors
    /// The boot sector is not that of a FAT file system.
    pub fn open(bytes: &'a [u8]) -> Result<Self> {
        let what = "FAT boot sector";
        let mut reader = Reader::at(bytes, 11);
        let sector = usize::from(reader.u16(what)?);
        let per_cluster = usize::from(reader.u8(what)?);
        let reserved = usize::from(reader.u16(what)?);
        let tables = usize::from(reader.u8(what)?);
        let root_entries = usize::from(reader.u16(what)?);
        let sectors = u32::from(reader.u16(what)?);
        reader.u8(what)?;
        let table_sectors = u32::from(reader.u16(what)?);
        let sectors = if sectors == 0 { Reader::at(bytes, 32).u32(what)? } else { sectors };
        let long_table = Reader::at(bytes, 36).u32(what)?;
        let table_sectors = if table_sectors == 0 { long_table } else { table_sectors };
        let table_size = usize::try_from(table_sectors).unwrap_or(usize::MAX);
        let sizes = [512, 1024, 2048, 4096].contains(&sector) && per_cluster.is_power_of_two();
        if !sizes || tables == 0 || reserved == 0 {
            let found = format!("{sector}-byte sectors, {per_cluster} a cluster, {tables} tables");
            let expected = "512 to 4096, a power of two, at least one".to_string();
            return Err(Error::Value { what, offset: 11, found, expected });
        }
        let table = reserved * sector;
        let root = table.saturating_add(table_size.saturating_mul(tables * sector));
        let root_size = (root_entries * ENTRY).next_multiple_of(sector);
        let data = root.saturating_add(root_size);
        let cluster_size = sector * per_cluster;
        let end = usize::try_from(sectors).unwrap_or(usize::MAX).saturating_mul(sector);
        let clusters = end.saturating_sub(data) / cluster_size;
        let clusters = u32::try_from(clusters).unwrap_or(u32::MAX);
        let root = match root_entries {
            0 => Root::Chain(Reader::at(bytes, 44).u32(what)?),
            _ => Root::Fixed(root, root_size),
        };
        Ok(Self { bytes, cluster_size, table, root, data, clusters })
    }

    /// Contents of the file at `path`, its parts separated by `/`; letters of either case match.
    ///
    /// # Errors
    /// No such file, or the file system is broken on the way to it.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let missing = |part: &str| Error::Missing {
            what: "file in the FAT file system",
            why: format!("`{part}` of `{path}` is not in its directory"),
        };
        let mut directory = self.root_directory()?;
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let entries = entries(&directory)?;
            let found = entries.into_iter().find(|entry| entry.name.eq_ignore_ascii_case(part));
            let entry = found.ok_or_else(|| missing(part))?;
            let contents = self.chain(entry.cluster)?;
            if parts.peek().is_none() && entry.attributes & ATTR_DIRECTORY == 0 {
                let left = contents.len();
                return contents.get(..entry.size).map(<[u8]>::to_vec).ok_or(Error::Truncated {
                    what: "file in the FAT file system",
                    offset: self.data,
                    needed: entry.size,
                    available: left,
                });
            }
            directory = contents;
        }
        Err(missing(path))
    }

    /// Names of the files in the directory at `path`; none where there is no such directory.
    ///
    /// # Errors
    /// The file system is broken on the way to it.
    pub fn names(&self, path: &str) -> Result<Vec<String>> {
        let mut directory = self.root_directory()?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let mut entries = entries(&directory)?.into_iter();
            let found = entries.find(|entry| entry.name.eq_ignore_ascii_case(part));
            let Some(entry) = found.filter(|entry| entry.attributes & ATTR_DIRECTORY != 0) else {
                return Ok(Vec::new());
            };
            directory = self.chain(entry.cluster)?;
        }
        let files = entries(&directory)?.into_iter();
        let files = files.filter(|entry| entry.attributes & ATTR_DIRECTORY == 0);
        Ok(files.map(|entry| entry.name).collect())
    }

    fn root_directory(&self) -> Result<Vec<u8>> {
        match self.root {
            Root::Fixed(at, size) => {
                Ok(Reader::at(self.bytes, at).take(size, "root directory")?.to_vec())
            }
            Root::Chain(cluster) => self.chain(cluster),
        }
    }

    /// Bytes of the chain of clusters that begins with `first`.
    fn chain(&self, first: u32) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        let mut steps = 0;
        while (2..self.end_mark()).contains(&cluster) {
            let index = usize::try_from(cluster - 2).unwrap_or(usize::MAX);
            let at = self.data.saturating_add(index.saturating_mul(self.cluster_size));
            bytes.extend_from_slice(Reader::at(self.bytes, at).take(self.cluster_size, "cluster")?);
            cluster = self.next(cluster)?;
            steps += 1;
            if steps > self.clusters {
                return Err(Error::Value {
                    what: "chain of clusters",
                    offset: self.table,
                    found: format!("a loop from cluster {first}"),
                    expected: format!("an end within {} clusters", self.clusters),
                });
            }
        }
        Ok(bytes)
    }

    /// The entry of `cluster` in the file allocation table (section 4).
    fn next(&self, cluster: u32) -> Result<u32> {
        let index = usize::try_from(cluster).unwrap_or(usize::MAX);
        let entry = |offset: usize| Reader::at(self.bytes, self.table.saturating_add(offset));
        match self.clusters {
            0..4085 => {
                let pair = entry(index + index / 2).u16("file allocation table")?;
                Ok(u32::from(if index % 2 == 0 { pair & 0xfff } else { pair >> 4 }))
            }
            4085..65525 => entry(index * 2).u16("file allocation table").map(u32::from),
            _ => Ok(entry(index.saturating_mul(4)).u32("file allocation table")? & 0x0fff_ffff),
        }
    }

    /// The first value that ends a chain or marks a bad cluster.
    fn end_mark(&self) -> u32 {
        match self.clusters {
            0..4085 => 0xff7,
            4085..65525 => 0xfff7,
            _ => 0x0fff_fff7,
        }
    }
}

/// Entries of a directory, their long names put together.
fn entries(directory: &[u8]) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut long: Vec<u16> = Vec::new();
    for entry in directory.chunks_exact(ENTRY) {
        let attributes = entry[11];
        match entry[0] {
            0 => break,
            0xe5 => long.clear(),
            _ if attributes & ATTR_LONG_NAME == ATTR_LONG_NAME => {
                let units = [&entry[1..11], &entry[14..26], &entry[28..32]].concat();
                let units = units.chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]]));
                // The parts of a long name stand before its entry, the last part first.
                long = units.take_while(|unit| *unit != 0).chain(long).collect();
            }
            _ if attributes & ATTR_VOLUME != 0 => long.clear(),
            _ => {
                let mut reader = Reader::at(entry, 20);
                let high = u32::from(reader.u16("directory entry")?);
                let mut reader = Reader::at(entry, 26);
                let low = u32::from(reader.u16("directory entry")?);
                let size = usize::try_from(reader.u32("directory entry")?).unwrap_or(usize::MAX);
                let name = match long.is_empty() {
                    true => short_name(entry),
                    false => String::from_utf16_lossy(&long),
                };
                long.clear();
                found.push(Entry { name, attributes, cluster: high << 16 | low, size });
            }
        }
    }
    Ok(found)
}

/// `NAME.EXT` of an 8.3 entry.
fn short_name(entry: &[u8]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
    let (name, extension) = (part(&entry[..8]), part(&entry[8..11]));
    match extension.is_empty() {
        true => name,
        false => format!("{name}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A FAT12 file system with `EFI/BOOT/BOOTX64.EFI` (in three clusters) and a long name.
    fn sample() -> (Vec<u8>, Vec<u8>) {
        let mut bytes = vec![0; 40 * 512];
        bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
        bytes[13..17].copy_from_slice(&[1, 1, 0, 1]);
        bytes[17..19].copy_from_slice(&16u16.to_le_bytes());
        bytes[19..21].copy_from_slice(&40u16.to_le_bytes());
        bytes[22..24].copy_from_slice(&1u16.to_le_bytes());
        // Chains: 2 and 3 are directories; 4 → 6 → 5 is the file.
        let table = [0xff8, 0xfff, 0xfff, 0xfff, 6, 0xfff, 5];
        for (index, value) in table.into_iter().enumerate() {
            let at = 512 + index + index / 2;
            let pair = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            let pair = if index % 2 == 0 { pair & 0xf000 | value } else { pair & 0xf | value << 4 };
            bytes[at..at + 2].copy_from_slice(&pair.to_le_bytes());
        }
        let entry = |name: &[u8; 11], attributes, cluster: u16, size: u32| {
            let mut entry = [&name[..], &[attributes], &[0; 14], &cluster.to_le_bytes()].concat();
            entry.extend(size.to_le_bytes());
            entry
        };
        let file: Vec<u8> = (0..1100u32).map(|i| u8::try_from(i % 251).expect("small")).collect();
        let root = [entry(b"LABEL      ", 8, 0, 0), entry(b"EFI        ", 0x10, 2, 0)].concat();
        let mut long = vec![0x41];
        long.extend(crate::format::efi::wide("Boot\0"));
        long.extend([0x0f, 0, 0]);
        long.extend([0xff; 12]);
        long.extend([0, 0, 0xff, 0xff, 0xff, 0xff]);
        let efi = [&long[..], &entry(b"BOOT~1     ", 0x10, 3, 0)].concat();
        let boot = entry(b"BOOTX64 EFI", 0x20, 4, 1100);
        let cluster = |number: usize| 512 * (3 + number - 2);
        bytes[1024..1024 + root.len()].copy_from_slice(&root);
        bytes[cluster(2)..cluster(2) + efi.len()].copy_from_slice(&efi);
        bytes[cluster(3)..cluster(3) + boot.len()].copy_from_slice(&boot);
        for (number, part) in [4, 6, 5].into_iter().zip(file.chunks(512)) {
            bytes[cluster(number)..cluster(number) + part.len()].copy_from_slice(part);
        }
        (bytes, file)
    }

    #[test]
    fn a_file_is_found_by_long_and_short_names() {
        let (bytes, file) = sample();
        let fat = Fat::open(&bytes).expect("a file system");
        assert_eq!(fat.read("/EFI/BOOT/BOOTX64.EFI"), Ok(file));
        let missing = fat.read("/EFI/systemd/x.efi").expect_err("missing").to_string();
        assert!(missing.contains("`systemd` of"), "{missing}");
        assert!(fat.read("/EFI").is_err());
        assert_eq!(fat.names("/efi/boot"), Ok(vec!["BOOTX64.EFI".to_string()]));
        assert_eq!((fat.names("/loader/x"), fat.names("/EFI")), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn loops_cuts_and_other_boot_sectors_are_survived() {
        let (mut bytes, _) = sample();
        for end in (0..bytes.len()).step_by(97) {
            let _ = Fat::open(&bytes[..end]).and_then(|fat| fat.read("/EFI/BOOT/BOOTX64.EFI"));
        }
        assert!(Fat::open(&[0; 512]).is_err());
        bytes[512 + 6] = 4; // cluster 4 follows itself
        bytes[512 + 7] &= 0xf0;
        let looped = Fat::open(&bytes).and_then(|fat| fat.read("/EFI/BOOT/BOOTX64.EFI"));
        let looped = looped.expect_err("a loop").to_string();
        assert!(looped.contains("a loop from cluster 4"), "{looped}");
    }
}
