//! IGVM files: a guest's whole launch as a list of directives (Independent Guest Virtual Machine
//! format, version 1; crate `igvm_defs` 0.5 documents it).

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Size of a page of data.
const PAGE: usize = 4096;

/// What a parameter area may measure, so that a file cannot ask for endless pages.
const MAX_AREA: u64 = 16 << 20;

/// `IGVM_VHT_OPTIONAL_BIT`: a loader that does not know the header may skip it.
const OPTIONAL: u32 = 1 << 31;

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
    /// Which: 0 native, 1 VSM, 2 SEV-SNP, 3 TDX, 4 SEV, 5 SEV-ES, 6 CCA.
    pub kind: u8,
}

/// [`Platform::kind`] of SEV-SNP.
pub const SEV_SNP: u8 = 2;

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
    Other(u32),
}

/// A page of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a> {
    /// Where.
    pub gpa: u64,
    /// Its contents; none for a page of zeros that the file does not hold.
    pub data: Option<&'a [u8]>,
    /// Not part of the measurement.
    pub unmeasured: bool,
    /// Shared with the host.
    pub shared: bool,
    /// 0 normal, 1 secrets, 2 CPUID, 3 CPUID with extended features.
    pub kind: u16,
}

impl<'a> File<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no IGVM file of version 1, its checksum differs, or a header is broken.
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
        let kind = reader.u32("type of a header")?;
        let length = reader.u32("length of a header")? as usize;
        let body = reader.offset();
        // Each header starts at a multiple of 8 bytes.
        reader.take(length.next_multiple_of(8).min(reader.remaining().max(length)), "a header")?;
        let mut fields = Reader::at(bytes.get(..body + length).unwrap_or_default(), body);
        if kind & !OPTIONAL == 1 {
            let mask = fields.u32("mask of a platform")?;
            fields.u8("highest VTL of a platform")?;
            let kind = fields.u8("type of a platform")?;
            self.platforms.push(Platform { mask, kind });
            return Ok(());
        }
        let (mask, action) = directive(bytes, kind & !OPTIONAL, &mut fields)?;
        self.directives.push(Directive { offset, mask, action });
        Ok(())
    }

    /// The mask of the first platform of a kind.
    pub fn mask(&self, kind: u8) -> Option<u32> {
        self.platforms.iter().find(|platform| platform.kind == kind).map(|platform| platform.mask)
    }
}

/// Start and end of the variable headers (`IGVM_FIXED_HEADER`).
fn fixed_header(bytes: &[u8]) -> Result<(usize, usize)> {
    let mut reader = Reader::new(bytes);
    let magic: [u8; 4] = reader.array("magic of the file")?;
    if &magic != b"IGVM" {
        let (found, expected) = (format!("{magic:02x?}"), "\"IGVM\"".to_string());
        return Err(Error::Value { what: "magic of the file", offset: 0, found, expected });
    }
    let version = reader.u32("format version")?;
    if version != 1 {
        return Err(value("format version", 4, version, "1"));
    }
    let start = reader.u32("offset of the variable headers")? as usize;
    let size = reader.u32("size of the variable headers")? as usize;
    let total = reader.u32("size of the file")? as usize;
    let checksum = reader.u32("checksum")?;
    if total != bytes.len() {
        return Err(value("size of the file", 16, total, &bytes.len().to_string()));
    }
    if start != reader.offset() {
        return Err(value("offset of the variable headers", 8, start, "24"));
    }
    Reader::at(bytes, start).take(size, "the variable headers")?;
    let mut header = bytes.get(..start + size).unwrap_or_default().to_vec();
    header.iter_mut().skip(20).take(4).for_each(|byte| *byte = 0);
    let computed = crc32fast::hash(&header);
    match computed == checksum {
        true => Ok((start, start + size)),
        false => {
            Err(value("checksum", 20, format!("{checksum:#010x}"), &format!("{computed:#010x}")))
        }
    }
}

fn directive<'a>(bytes: &'a [u8], kind: u32, fields: &mut Reader<'_>) -> Result<(u32, Action<'a>)> {
    Ok(match kind {
        0x101 => {
            let policy = fields.u64("a guest policy")?;
            (fields.u32("mask of a guest policy")?, Action::Policy(policy))
        }
        0x301 => {
            let at = fields.offset();
            let size = fields.u64("size of a parameter area")?;
            let index = fields.u32("number of a parameter area")?;
            if size > MAX_AREA {
                return Err(value("size of a parameter area", at, size, "at most 16 MiB"));
            }
            (ANY, Action::Area { index, size })
        }
        0x302 => page(bytes, fields)?,
        0x303 => {
            let gpa = address(fields)?;
            let mask = fields.u32("mask of a parameter insert")?;
            let index = fields.u32("number of a parameter area")?;
            (mask, Action::Insert { index, gpa })
        }
        0x304 => vp(bytes, fields)?,
        other => (ANY, Action::Other(other)),
    })
}

fn page<'a>(bytes: &'a [u8], fields: &mut Reader<'_>) -> Result<(u32, Action<'a>)> {
    let gpa = address(fields)?;
    let mask = fields.u32("mask of a page")?;
    let at = fields.u32("file offset of a page")? as usize;
    let flags_at = fields.offset();
    let flags = fields.u32("flags of a page")?;
    let kind = fields.u16("type of a page")?;
    if flags & 1 != 0 || flags > 7 {
        return Err(value(
            "flags of a page",
            flags_at,
            format!("{flags:#x}"),
            "4 KiB: 0, 2, 4 or 6",
        ));
    }
    if kind > 3 {
        return Err(value("type of a page", flags_at + 4, kind, "0 to 3"));
    }
    let data = (at != 0).then(|| Reader::at(bytes, at).take(PAGE, "data of a page")).transpose()?;
    let (unmeasured, shared) = (flags & 2 != 0, flags & 4 != 0);
    Ok((mask, Action::Page(Page { gpa, data, unmeasured, shared, kind })))
}

fn vp<'a>(bytes: &'a [u8], fields: &mut Reader<'_>) -> Result<(u32, Action<'a>)> {
    let gpa = fields.u64("address of a vCPU's state")?;
    let mask = fields.u32("mask of a vCPU's state")?;
    let at = fields.u32("file offset of a vCPU's state")? as usize;
    let index = fields.u16("number of a vCPU")?;
    let state = Reader::at(bytes, at).take(PAGE, "a vCPU's state")?;
    Ok((mask, Action::Vp { index, gpa, state }))
}

/// A guest-physical address of a page.
fn address(fields: &mut Reader<'_>) -> Result<u64> {
    let at = fields.offset();
    let gpa = fields.u64("address of a page")?;
    match gpa % PAGE as u64 {
        0 => Ok(gpa),
        _ => Err(value("address of a page", at, format!("{gpa:#x}"), "a multiple of 0x1000")),
    }
}

fn value(what: &'static str, offset: usize, found: impl ToString, expected: &str) -> Error {
    Error::Value { what, offset, found: found.to_string(), expected: expected.to_string() }
}
