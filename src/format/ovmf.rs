//! The table that OVMF keeps at its end, and the SEV metadata that it points to.
//!
//! Layout: edk2 `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm` (the table, read backwards from its
//! footer) and `OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm` (the sections).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::guid::Guid;
use super::{Error, Reader, Result};

/// Footer of the table: the last entry, whose length is that of the whole.
pub const FOOTER: Guid = Guid::of("96b582de-1fb2-45f7-baea-a366c55a082d");
/// Address at which application processors start under SEV-ES.
pub const RESET_BLOCK: Guid = Guid::of("00f771de-1a7e-4fcb-890e-68c77e2fb44e");
/// Area into which the VMM puts the launch secret.
pub const SECRET: Guid = Guid::of("4c2eb361-7d9b-4cc3-8081-127c90d3d294");
/// Area into which the VMM puts the hashes of kernel, initrd and command line.
pub const HASH_TABLE: Guid = Guid::of("7255371f-3a3b-4b04-927b-1da6efa8d454");
/// Offset of the SEV metadata from the end of the file.
pub const SEV_METADATA: Guid = Guid::of("dc886566-984a-4798-a75e-5585a7bf67cc");
/// Offset of the TDX metadata from the end of the file.
pub const TDX_METADATA: Guid = Guid::of("e47a6535-984a-4798-865e-4685a7bf8ec2");
/// Area of the kernel hashes; none where the entry is empty, which says «unsupported».
///
/// # Errors
/// The entry is not as its format says.
pub fn hash_table(image: &[u8], entries: &[Entry<'_>]) -> Result<Option<Area>> {
    let entry = find(entries, HASH_TABLE);
    let found = entry.map(|e| area(image, &e, "the SEV hash table's area")).transpose()?;
    Ok(found.filter(|area| area.base != 0 && area.size != 0))
}

/// Entry point of an SVSM, relative to its start.
pub const SVSM_INFO: Guid = Guid::of("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd");

/// What follows the table up to the end of the file: the reset vector's code.
const AFTER_TABLE: usize = 32;

/// An entry's length and GUID, which follow its data.
const TAIL: usize = 18;

/// Sections that metadata may list: OVMF has fewer than ten.
const MAX_SECTIONS: u32 = 256;

/// Bytes that sections may have together: they lie below 4 GiB, and no page can be launched twice.
pub const MAX_BYTES: u64 = 1 << 32;

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub guid: Guid,
    /// Byte offset of its data in the file.
    pub offset: usize,
    /// Its data.
    pub data: &'a [u8],
}

/// An area of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Guest-physical address.
    pub base: u32,
    /// Size in bytes.
    pub size: u32,
}

/// A section of the SEV metadata: memory that the VMM prepares before the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Guest-physical address.
    pub gpa: u32,
    /// Size in bytes.
    pub size: u32,
    /// What becomes of it.
    pub kind: Kind,
}

/// What becomes of a section (`OVMF_SECTION_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: memory that firmware uses before it can validate pages itself.
    Memory,
    /// 2: the secrets page.
    Secrets,
    /// 3: the CPUID page.
    Cpuid,
    /// 4: the calling area of an SVSM.
    SvsmCallingArea,
    /// 0x10: the page with the hashes of kernel, initrd and command line.
    KernelHashes,
}

impl Kind {
    /// Every kind with its number and name, in order.
    pub const ALL: &[(u32, &str, Self)] = &[
        (1, "memory", Self::Memory),
        (2, "secrets", Self::Secrets),
        (3, "cpuid", Self::Cpuid),
        (4, "svsm-calling-area", Self::SvsmCallingArea),
        (0x10, "kernel-hashes", Self::KernelHashes),
    ];

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, _, kind)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

/// All that a launch under SEV takes from the image beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SevMetadata {
    /// Where application processors start: IP in the low half, CS base in the high half.
    pub reset: Option<u32>,
    /// Area of the kernel hashes; none where the entry is empty, which says «unsupported».
    pub hash_table: Option<Area>,
    /// Sections in the order of the image; empty if it has no SEV metadata.
    pub sections: Vec<Section>,
}

/// Byte offset in `image` at which a table ends.
pub fn table_end(image: &[u8]) -> usize {
    image.len().saturating_sub(AFTER_TABLE)
}

/// True if a table stands where one must: the footer's GUID does.
pub fn has_table(image: &[u8]) -> bool {
    image.get(..table_end(image)).is_some_and(|before| before.ends_with(&FOOTER.0))
}

/// The block with the reset address in a firmware from before the table, where the footer stands
/// today (QEMU `sev_es_find_reset_vector`, «the original implementation»).
///
/// # Errors
/// Its length does not fit into the image.
pub fn lone_reset_block(image: &[u8]) -> Result<Option<Entry<'_>>> {
    let end = table_end(image);
    match image.get(..end).is_some_and(|before| before.ends_with(&RESET_BLOCK.0)) {
        true => entry_before(image, 0, end).map(Some),
        false => Ok(None),
    }
}

/// Entries of the table, the last of the file first.
///
/// # Errors
/// No table, or one whose lengths do not fit into the image or one another.
pub fn table(image: &[u8]) -> Result<Vec<Entry<'_>>> {
    let Some(footer) = image.len().checked_sub(AFTER_TABLE + TAIL) else {
        let (what, needed) = ("the table's footer", AFTER_TABLE + TAIL);
        return Err(Error::Truncated { what, offset: 0, needed, available: image.len() });
    };
    let mut reader = Reader::at(image, footer);
    let length = usize::from(reader.u16("length of the table")?);
    let guid = Guid(reader.array("GUID of the table's footer")?);
    if guid != FOOTER {
        let (what, expected) = ("GUID of the table's footer", format!("{FOOTER} (OVMF)"));
        return Err(Error::Value { what, offset: footer + 2, found: guid.to_string(), expected });
    }
    let start = (footer + TAIL).checked_sub(length).filter(|_| length >= TAIL);
    let start = start.ok_or_else(|| {
        let expected = format!("{TAIL} to {}", footer + TAIL);
        value("length of the table", footer, length, expected)
    })?;
    let mut entries = Vec::new();
    let mut end = footer;
    while end > start {
        let entry = entry_before(image, start, end)?;
        end = entry.offset;
        entries.push(entry);
    }
    Ok(entries)
}

/// The entry that ends at `end`; it may not begin before `start`.
fn entry_before(image: &[u8], start: usize, end: usize) -> Result<Entry<'_>> {
    let available = end - start;
    let tail = end.checked_sub(TAIL).filter(|tail| *tail >= start).ok_or(Error::Truncated {
        what: "an entry of the table",
        offset: start,
        needed: TAIL,
        available,
    })?;
    let mut reader = Reader::at(image, tail);
    let length = usize::from(reader.u16("length of an entry")?);
    let guid = Guid(reader.array("GUID of an entry")?);
    if !(TAIL..=available).contains(&length) {
        let what = "length of an entry of the table";
        return Err(value(what, tail, length, format!("{TAIL} to {available}")));
    }
    let offset = end - length;
    let data = Reader::at(image, offset).take(length - TAIL, "data of an entry")?;
    Ok(Entry { guid, offset, data })
}

/// The entry called `guid`. The first one found counts, as it does for QEMU.
pub fn find<'a>(entries: &[Entry<'a>], guid: Guid) -> Option<Entry<'a>> {
    entries.iter().find(|entry| entry.guid == guid).copied()
}

/// Where in `image` an entry points that holds an offset from the end of the file.
///
/// # Errors
/// The entry has no four bytes, or points in front of the file.
pub fn pointed_to(image: &[u8], entry: &Entry<'_>, what: &'static str) -> Result<usize> {
    let distance = number(image, entry, what)?;
    let offset = usize::try_from(distance).ok().and_then(|back| image.len().checked_sub(back));
    let expected = format!("an offset from the end of at most {}", image.len());
    offset.ok_or_else(|| value(what, entry.offset, distance, expected))
}

/// The number that an entry of four bytes holds.
fn number(image: &[u8], entry: &Entry<'_>, what: &'static str) -> Result<u32> {
    exactly(entry, 4, what)?;
    Reader::at(image, entry.offset).u32(what)
}

/// Entry point of an SVSM, relative to the start of `image`.
///
/// # Errors
/// The image has no valid table, or one that does not say.
pub fn svsm_entry(image: &[u8]) -> Result<u32> {
    let entry = find(&table(image)?, SVSM_INFO).ok_or_else(|| {
        let why = format!("the table at the end of the image has no {SVSM_INFO} (svsm.bin has)");
        Error::Missing { what: "entry point of an SVSM", why }
    })?;
    number(image, &entry, "the SVSM's entry point")
}

fn area(image: &[u8], entry: &Entry<'_>, what: &'static str) -> Result<Area> {
    exactly(entry, 8, what)?;
    let mut reader = Reader::at(image, entry.offset);
    Ok(Area { base: reader.u32(what)?, size: reader.u32(what)? })
}

fn exactly(entry: &Entry<'_>, size: usize, what: &'static str) -> Result<()> {
    match entry.data.len() == size {
        true => Ok(()),
        false => Err(value(what, entry.offset, entry.data.len(), format!("{size} bytes of data"))),
    }
}

fn value(what: &'static str, offset: usize, found: impl ToString, expected: String) -> Error {
    Error::Value { what, offset, found: found.to_string(), expected }
}

impl SevMetadata {
    /// The metadata of `image`; empty if the image has none, of a firmware from before the table the
    /// reset address alone.
    ///
    /// # Errors
    /// A table or metadata that is not as its format says, with the byte offset.
    pub fn parse(image: &[u8]) -> Result<Self> {
        let entries = match lone_reset_block(image)? {
            Some(block) => Vec::from([block]),
            None => table(image)?,
        };
        let reset = find(&entries, RESET_BLOCK);
        let reset = reset.map(|e| number(image, &e, "the SEV-ES reset block")).transpose()?;
        let hash_table = hash_table(image, &entries)?;
        let sections = find(&entries, SEV_METADATA);
        let sections = sections.map(|e| sections_of(image, &e)).transpose()?.unwrap_or_default();
        Ok(Self { reset, hash_table, sections })
    }

    /// The one section of a kind.
    pub fn section(&self, kind: Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// Pairs of sections that share memory.
    pub fn overlaps(&self) -> Vec<(Section, Section)> {
        let end = |s: &Section| u64::from(s.gpa) + u64::from(s.size);
        let overlap =
            |a: &Section, b: &Section| u64::from(a.gpa) < end(b) && u64::from(b.gpa) < end(a);
        let pairs = self.sections.iter().enumerate().flat_map(|(place, first)| {
            let later = self.sections.iter().skip(place + 1);
            later.filter(|second| overlap(first, second)).map(|second| (*first, *second))
        });
        pairs.collect()
    }
}

/// The sections of the metadata that `entry` points to.
fn sections_of(image: &[u8], entry: &Entry<'_>) -> Result<Vec<Section>> {
    let start = pointed_to(image, entry, "the SEV metadata's offset")?;
    let mut reader = Reader::at(image, start);
    let signature: [u8; 4] = reader.array("signature of the SEV metadata")?;
    if &signature != b"ASEV" {
        let found = format!("{:?}", String::from_utf8_lossy(&signature));
        let (what, expected) = ("signature of the SEV metadata", "\"ASEV\"".to_string());
        return Err(Error::Value { what, offset: start, found, expected });
    }
    let at = reader.offset();
    let length = reader.u32("length of the SEV metadata")?;
    let version = reader.u32("version of the SEV metadata")?;
    if version != 1 {
        return Err(value("version of the SEV metadata", at + 4, version, "1".into()));
    }
    let count = reader.u32("number of sections")?;
    if count > MAX_SECTIONS {
        let expected = format!("at most {MAX_SECTIONS}");
        return Err(value("number of sections", at + 8, count, expected));
    }
    // The length counts the header: signature, length, version, number (16), then 12 a section.
    if length != 16 + 12 * count {
        let expected = format!("{} for {count} sections", 16 + 12 * count);
        return Err(value("length of the SEV metadata", at, length, expected));
    }
    let sections: Vec<_> = (0..count).map(|_| section(&mut reader)).collect::<Result<_>>()?;
    let total = size_of_all(&sections);
    if total > MAX_BYTES {
        let what = "size of all sections together";
        return Err(value(what, at + 8, format!("{total:#x}"), format!("at most {MAX_BYTES:#x}")));
    }
    Ok(sections)
}

/// Bytes of `sections` together.
pub fn size_of_all(sections: &[Section]) -> u64 {
    sections.iter().map(|section| u64::from(section.size)).sum()
}

fn section(reader: &mut Reader<'_>) -> Result<Section> {
    const PAGE: u32 = 0xfff;
    let offset = reader.offset();
    let gpa = reader.u32("address of a section")?;
    let size = reader.u32("size of a section")?;
    let number = reader.u32("type of a section")?;
    if gpa & PAGE != 0 {
        let found = format!("{gpa:#x}");
        let (what, expected) = ("address of a section", "a multiple of 0x1000".to_string());
        return Err(Error::Value { what, offset, found, expected });
    }
    if size & PAGE != 0 || size == 0 || gpa.checked_add(size - 1).is_none() {
        let found = format!("{size:#x}");
        let expected = "a multiple of 0x1000 that ends below 4 GiB, not 0".to_string();
        return Err(Error::Value {
            what: "size of a section",
            offset: offset + 4,
            found,
            expected,
        });
    }
    let kind = Kind::ALL.iter().find(|(known, _, _)| *known == number).map(|(_, _, kind)| *kind);
    let kind = kind.ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|(n, name, _)| format!("{n:#x} {name}")).collect();
        let (what, found) = ("type of a section", format!("{number:#x}"));
        Error::Value { what, offset: offset + 8, found, expected: known.join(", ") }
    })?;
    Ok(Section { gpa, size, kind })
}
