//! IGVM files: a guest's whole launch as a list of directives (Independent Guest Virtual Machine
//! format, versions 1 and 2; its structures are those of the crate `igvm_defs`, which specifies it).

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem::offset_of;

use igvm_defs::{
    IGVM_FIXED_HEADER, IGVM_FORMAT_VERSION_1, IGVM_MAGIC_VALUE, IGVM_VHS_GUEST_POLICY,
    IGVM_VHS_PAGE_DATA, IGVM_VHS_PARAMETER_AREA, IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SNP_ID_BLOCK,
    IGVM_VHS_SUPPORTED_PLATFORM, IGVM_VHS_VARIABLE_HEADER, IGVM_VHS_VP_CONTEXT,
    IGVM_VHT_OPTIONAL_BIT, IgvmVariableHeaderType as Type, PAGE_SIZE_4K,
};
pub use igvm_defs::{IgvmPageDataType as PageType, IgvmPlatformType as PlatformType};
use zerocopy::FromBytes;

use super::{Error, Reader, Result};

/// Size of a page of data.
const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE_4K);

/// What a large page covers, of which the file holds the first 4 KiB at most.
pub const LARGE_PAGE: u64 = 2 << 20;

/// Version 2 of the format, whose fixed header has architecture and page size behind the fields of
/// version 1 (`IGVM_FIXED_HEADER_V2`, a work in progress of the crate).
const VERSION_2: u32 = 2;

/// What a parameter area may measure, so that a file cannot ask for endless pages.
const MAX_AREA: u64 = 16 << 20;

/// A mask that holds on every platform.
const ANY: u32 = u32::MAX;

/// A file, as far as a launch needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File<'a> {
    /// Platforms that it supports.
    pub platforms: Vec<Platform>,
    /// Directives in order.
    pub directives: Vec<Directive<'a>>,
}

/// A supported platform (`IGVM_VHS_SUPPORTED_PLATFORM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// The bit that directives for it carry.
    pub mask: u32,
    /// Which platform.
    pub kind: PlatformType,
}

/// One header of the file that a launch follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive<'a> {
    /// Byte offset in the file.
    pub offset: usize,
    /// Platforms that it is for.
    pub mask: u32,
    /// What to do.
    pub action: Action<'a>,
}

/// What a directive asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Policy of the guest (`IGVM_VHS_GUEST_POLICY`).
    Policy(u64),
    /// The launch digest that the file's ID block binds the guest to (`IGVM_VHS_SNP_ID_BLOCK`).
    IdBlock([u8; 48]),
    /// An area that the loader fills (`IGVM_VHS_PARAMETER_AREA`).
    Area {
        /// Its number.
        index: u32,
        /// Its size in bytes.
        size: u64,
    },
    /// A page (`IGVM_VHS_PAGE_DATA`).
    Page(Page<'a>),
    /// An area is put into memory (`IGVM_VHS_PARAMETER_INSERT`).
    Insert {
        /// Its number.
        index: u32,
        /// Where.
        gpa: u64,
    },
    /// The registers of a vCPU (`IGVM_VHS_VP_CONTEXT`).
    Vp {
        /// Which vCPU.
        index: u16,
        /// Where its state lies.
        gpa: u64,
        /// The state, a page.
        state: &'a [u8],
    },
    /// Any other, by its type.
    Other(Type),
}

/// A page of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a> {
    /// Where.
    pub gpa: u64,
    /// It covers 2 MiB instead of 4 KiB.
    pub large: bool,
    /// Its contents; none for a page of zeros that the file does not hold.
    pub data: Option<&'a [u8]>,
    /// Not part of the measurement.
    pub unmeasured: bool,
    /// Shared with the host.
    pub shared: bool,
    /// Normal, secrets, CPUID, CPUID with extended features.
    pub kind: PageType,
}

impl<'a> File<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no IGVM file for x86-64, its checksum differs, or a header is broken.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let (start, end) = fixed_header(bytes)?;
        let headers = bytes.get(..end).unwrap_or_default();
        let mut reader = Reader::at(headers, start);
        let mut file = Self::default();
        while reader.remaining() > 0 {
            file.header(bytes, &mut reader)?;
        }
        Ok(file)
    }

    fn header(&mut self, bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<()> {
        let offset = reader.offset();
        let header: IGVM_VHS_VARIABLE_HEADER = read(reader, "a variable header")?;
        let kind = Type(u32::from_le(header.typ.0) & !IGVM_VHT_OPTIONAL_BIT);
        let length = u32::from_le(header.length) as usize;
        let body = Body { bytes, offset: reader.offset(), length };
        // Each header starts at a multiple of 8 bytes.
        reader.take(length.next_multiple_of(8).min(reader.remaining().max(length)), "a header")?;
        if kind == Type::IGVM_VHT_SUPPORTED_PLATFORM {
            let platform: IGVM_VHS_SUPPORTED_PLATFORM = body.read("a supported platform")?;
            let mask = u32::from_le(platform.compatibility_mask);
            self.platforms.push(Platform { mask, kind: platform.platform_type });
            return Ok(());
        }
        let (mask, action) = directive(kind, &body)?;
        self.directives.push(Directive { offset, mask, action });
        Ok(())
    }

    /// The mask of the first platform of a kind.
    pub fn mask(&self, kind: PlatformType) -> Option<u32> {
        self.platforms.iter().find(|platform| platform.kind == kind).map(|platform| platform.mask)
    }
}

/// The next structure of the format. Its numbers are little-endian in the file and must be taken
/// by `from_le`: the crate defines them for little-endian machines.
fn read<T: FromBytes>(reader: &mut Reader<'_>, what: &'static str) -> Result<T> {
    let offset = reader.offset();
    let needed = size_of::<T>();
    let taken = reader.take(needed, what)?;
    let short = |_| Error::Truncated { what, offset, needed, available: taken.len() };
    T::read_from_bytes(taken).map_err(short)
}

/// Start and end of the variable headers (`IGVM_FIXED_HEADER`).
fn fixed_header(bytes: &[u8]) -> Result<(usize, usize)> {
    let mut reader = Reader::new(bytes);
    let header: IGVM_FIXED_HEADER = read(&mut reader, "the fixed header")?;
    if u32::from_le(header.magic) != IGVM_MAGIC_VALUE {
        let found = format!("{:#010x}", u32::from_le(header.magic));
        return Err(value("magic of the file", 0, found, "0x4d564749 (IGVM)"));
    }
    version(&mut reader, u32::from_le(header.format_version))?;
    let total = u32::from_le(header.total_file_size) as usize;
    if total != bytes.len() {
        return Err(value("size of the file", 16, total, &bytes.len().to_string()));
    }
    let (fixed, start) = (reader.offset(), u32::from_le(header.variable_header_offset) as usize);
    if start < fixed || start % 8 != 0 {
        let expected = format!("a multiple of 8, at least {fixed}");
        return Err(value("offset of the variable headers", 8, start, &expected));
    }
    let size = u32::from_le(header.variable_header_size) as usize;
    let headers = Reader::at(bytes, start).take(size, "the variable headers")?;
    let checksum = u32::from_le(header.checksum);
    let computed = checksum_of(bytes.get(..fixed).unwrap_or_default(), headers);
    match computed == checksum {
        true => Ok((start, start + size)),
        false => {
            Err(value("checksum", 20, format!("{checksum:#010x}"), &format!("{computed:#010x}")))
        }
    }
}

/// The rest of a fixed header of this version.
fn version(reader: &mut Reader<'_>, version: u32) -> Result<()> {
    if version != IGVM_FORMAT_VERSION_1 && version != VERSION_2 {
        return Err(value("format version", 4, version, "1 or 2"));
    }
    if version == VERSION_2 {
        for (what, expected) in [("architecture", 0), ("size of a page", PAGE_SIZE_4K)] {
            let (offset, found) = (reader.offset(), reader.u32(what)?);
            if u64::from(found) != expected {
                let expected = format!("{expected}, as on x86-64");
                return Err(value(what, offset, found, &expected));
            }
        }
    }
    Ok(())
}

/// The checksum over fixed and variable headers, with the checksum itself as zero.
pub fn checksum_of(fixed: &[u8], variable: &[u8]) -> u32 {
    const AT: usize = offset_of!(IGVM_FIXED_HEADER, checksum);
    let mut headers = [fixed, variable].concat();
    headers.iter_mut().skip(AT).take(4).for_each(|byte| *byte = 0);
    crc32fast::hash(&headers)
}

/// What follows a variable header's type and length.
struct Body<'a> {
    bytes: &'a [u8],
    offset: usize,
    length: usize,
}

impl<'a> Body<'a> {
    /// The structure that the body is.
    fn read<T: FromBytes>(&self, what: &'static str) -> Result<T> {
        if self.length != size_of::<T>() {
            let expected = format!("a length of {} bytes", size_of::<T>());
            return Err(value(what, self.offset - 4, self.length, &expected));
        }
        read(&mut Reader::at(self.bytes, self.offset), what)
    }

    /// The page of the file at `offset`.
    fn page(&self, offset: u32, what: &'static str) -> Result<&'a [u8]> {
        Reader::at(self.bytes, offset as usize).take(PAGE, what)
    }

    /// A guest-physical address of a page, the field at `field`.
    fn address(&self, gpa: u64, field: usize) -> Result<u64> {
        let (at, expected) = (self.offset + field, "a multiple of 0x1000");
        match u64::from_le(gpa) {
            gpa if gpa % PAGE_SIZE_4K == 0 => Ok(gpa),
            gpa => Err(value("address of a page", at, format!("{gpa:#x}"), expected)),
        }
    }
}

fn directive<'a>(kind: Type, body: &Body<'a>) -> Result<(u32, Action<'a>)> {
    Ok(match kind {
        Type::IGVM_VHT_GUEST_POLICY => {
            let policy: IGVM_VHS_GUEST_POLICY = body.read("a guest policy")?;
            let mask = u32::from_le(policy.compatibility_mask);
            (mask, Action::Policy(u64::from_le(policy.policy)))
        }
        Type::IGVM_VHT_SNP_ID_BLOCK => {
            let block: IGVM_VHS_SNP_ID_BLOCK = body.read("an ID block")?;
            (u32::from_le(block.compatibility_mask), Action::IdBlock(block.ld))
        }
        Type::IGVM_VHT_PARAMETER_AREA => (ANY, area(body)?),
        Type::IGVM_VHT_PAGE_DATA => page(body)?,
        Type::IGVM_VHT_PARAMETER_INSERT => {
            let insert: IGVM_VHS_PARAMETER_INSERT = body.read("a parameter insert")?;
            let gpa = body.address(insert.gpa, offset_of!(IGVM_VHS_PARAMETER_INSERT, gpa))?;
            let index = u32::from_le(insert.parameter_area_index);
            (u32::from_le(insert.compatibility_mask), Action::Insert { index, gpa })
        }
        Type::IGVM_VHT_VP_CONTEXT => vp(body)?,
        other => (ANY, Action::Other(other)),
    })
}

fn area<'a>(body: &Body<'a>) -> Result<Action<'a>> {
    let area: IGVM_VHS_PARAMETER_AREA = body.read("a parameter area")?;
    let size = u64::from_le(area.number_of_bytes);
    if size > MAX_AREA {
        let at = body.offset + offset_of!(IGVM_VHS_PARAMETER_AREA, number_of_bytes);
        return Err(value("size of a parameter area", at, size, "at most 16 MiB"));
    }
    Ok(Action::Area { index: u32::from_le(area.parameter_area_index), size })
}

fn page<'a>(body: &Body<'a>) -> Result<(u32, Action<'a>)> {
    let header: IGVM_VHS_PAGE_DATA = body.read("a page's header")?;
    let flags: u32 = u32::from_le(u32::from(header.flags));
    let kind = PageType(u16::from_le(header.data_type.0));
    if flags > 7 {
        let at = body.offset + offset_of!(IGVM_VHS_PAGE_DATA, flags);
        let expected = "bits 0 (2 MiB), 1 (unmeasured) and 2 (shared)";
        return Err(value("flags of a page", at, format!("{flags:#x}"), expected));
    }
    if kind.0 > PageType::CPUID_XF.0 {
        let at = body.offset + offset_of!(IGVM_VHS_PAGE_DATA, data_type);
        return Err(value("type of a page", at, kind.0, "0 to 3"));
    }
    let large = flags & 1 != 0;
    let gpa = body.address(header.gpa, offset_of!(IGVM_VHS_PAGE_DATA, gpa))?;
    if large && gpa % LARGE_PAGE != 0 {
        let at = body.offset + offset_of!(IGVM_VHS_PAGE_DATA, gpa);
        let expected = "a multiple of 0x200000";
        return Err(value("address of a large page", at, format!("{gpa:#x}"), expected));
    }
    let at = u32::from_le(header.file_offset);
    let data = (at != 0).then(|| body.page(at, "data of a page")).transpose()?;
    let (unmeasured, shared) = (flags & 2 != 0, flags & 4 != 0);
    let page = Page { gpa, large, data, unmeasured, shared, kind };
    Ok((u32::from_le(header.compatibility_mask), Action::Page(page)))
}

fn vp<'a>(body: &Body<'a>) -> Result<(u32, Action<'a>)> {
    // The structure's own size is that of its fields, which are not padded to 8 bytes.
    let header: IGVM_VHS_VP_CONTEXT = body.read("a vCPU's state")?;
    let index = u16::from_le(header.vp_index);
    let state = body.page(u32::from_le(header.file_offset), "a vCPU's state")?;
    let gpa = header.gpa.get();
    Ok((u32::from_le(header.compatibility_mask), Action::Vp { index, gpa, state }))
}

fn value(what: &'static str, offset: usize, found: impl ToString, expected: &str) -> Error {
    Error::Value { what, offset, found: found.to_string(), expected: expected.to_string() }
}

#[cfg(test)]
pub(crate) mod tests;
