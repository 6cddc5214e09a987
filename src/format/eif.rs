//! Enclave image files of AWS Nitro Enclaves (EIF).
//!
//! No specification is published; the format is defined by the library that AWS maintains,
//! `aws-nitro-enclaves-image-format`, file `src/defs/mod.rs`. All numbers are big-endian.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Result};

/// First bytes of every enclave image.
pub const MAGIC: [u8; 4] = *b".eif";
/// Version that [`Image::write`] writes; 2 brought the CRC, 3 signatures, 4 metadata.
pub const VERSION: u16 = 4;
/// Sections that the header's tables have room for.
pub const MAX_SECTIONS: usize = 32;
/// Header flag of an arm64 image.
const ARM64: u16 = 1;

/// `EifHeader`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    version: U16,
    flags: U16,
    default_mem: U64,
    default_cpus: U64,
    reserved: U16,
    num_sections: U16,
    section_offsets: [U64; MAX_SECTIONS],
    section_sizes: [U64; MAX_SECTIONS],
    unused: U32,
    eif_crc32: U32,
}
const _: () = assert!(size_of::<Header>() == 548);
/// The CRC covers the file without its own four bytes, which end the header.
const CRC_OFFSET: usize = size_of::<Header>() - size_of::<U32>();

/// `EifSectionHeader`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SectionHeader {
    section_type: U16,
    flags: U16,
    section_size: U64,
}
const _: () = assert!(size_of::<SectionHeader>() == 12);

/// What a section holds (`EifSectionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Kernel image.
    Kernel = 1,
    /// Kernel command line, without terminator.
    Cmdline = 2,
    /// A RAM disk; the first is the bootstrap, the others are the application.
    Ramdisk = 3,
    /// Signatures of PCRs with their certificates, CBOR.
    Signature = 4,
    /// What the image was built by and from, JSON.
    Metadata = 5,
}

impl Kind {
    fn of(section_type: u16, offset: usize) -> Result<Self> {
        Ok(match section_type {
            1 => Self::Kernel,
            2 => Self::Cmdline,
            3 => Self::Ramdisk,
            4 => Self::Signature,
            5 => Self::Metadata,
            other => return Err(value("EIF section type", offset, other, "1 to 5")),
        })
    }
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Its contents.
    pub data: Cow<'a, [u8]>,
}

/// An enclave image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// Version of the format.
    pub version: u16,
    /// True for arm64, false for x86_64.
    pub arm64: bool,
    /// Memory in bytes that the enclave gets when nothing else is asked for.
    pub default_memory: u64,
    /// vCPUs that the enclave gets when nothing else is asked for.
    pub default_cpus: u64,
    /// The sections, in file order.
    pub sections: Vec<Section<'a>>,
}

impl<'a> Image<'a> {
    /// Contents of the sections of `kind`, in file order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.sections.iter().filter(move |s| s.kind == kind).map(|s| s.data.as_ref())
    }

    /// Reads an image and checks its CRC.
    ///
    /// # Errors
    /// Not an enclave image, a version from before the CRC or after 4, tables that disagree with
    /// the sections, or a CRC that the bytes do not have.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let header: &Header = reader.view("EIF header")?;
        check(header)?;
        let mut sections = Vec::new();
        for table in header.section_offsets.iter().zip(&header.section_sizes).take(count(header)?) {
            sections.push(section(&mut reader, (table.0.get(), table.1.get()))?);
        }
        if reader.remaining() > 0 {
            let found = format!("{} more bytes", reader.remaining());
            return Err(value("end of the EIF", reader.offset(), found, "end of the file"));
        }
        let (found, expected) = (header.eif_crc32.get(), crc(bytes));
        if found != expected {
            let (found, expected) = (format!("{found:#010x}"), format!("{expected:#010x}"));
            return Err(value("CRC-32 of the EIF", CRC_OFFSET, found, &expected));
        }
        Ok(Self {
            version: header.version.get(),
            arm64: header.flags.get() & ARM64 != 0,
            default_memory: header.default_mem.get(),
            default_cpus: header.default_cpus.get(),
            sections,
        })
    }

    /// The image as a file. Nothing but the image's own fields enters: no time, no name.
    ///
    /// # Errors
    /// More sections than the header's tables hold.
    pub fn write(&self) -> Result<Vec<u8>> {
        let mut header = Header {
            magic: MAGIC,
            version: self.version.into(),
            flags: if self.arm64 { ARM64 } else { 0 }.into(),
            default_mem: self.default_memory.into(),
            default_cpus: self.default_cpus.into(),
            reserved: 0.into(),
            num_sections: U16::ZERO,
            section_offsets: [U64::ZERO; MAX_SECTIONS],
            section_sizes: [U64::ZERO; MAX_SECTIONS],
            unused: 0.into(),
            eif_crc32: 0.into(),
        };
        header.num_sections = (u16::try_from(self.sections.len()).unwrap_or(u16::MAX)).into();
        count(&header)?;
        let mut body = Vec::new();
        let tables = header.section_offsets.iter_mut().zip(&mut header.section_sizes);
        for (section, (offset, size)) in self.sections.iter().zip(tables) {
            *offset = wide(size_of::<Header>() + body.len());
            *size = wide(section.data.len());
            let head = SectionHeader {
                section_type: (section.kind as u16).into(),
                flags: 0.into(),
                section_size: *size,
            };
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(&section.data);
        }
        let mut file = [header.as_bytes(), &body].concat();
        header.eif_crc32 = crc(&file).into();
        file.splice(CRC_OFFSET..size_of::<Header>(), header.eif_crc32.to_bytes());
        Ok(file)
    }
}

fn value(what: &'static str, offset: usize, found: impl ToString, expected: &str) -> Error {
    Error::Value { what, offset, found: found.to_string(), expected: expected.to_string() }
}

fn wide(length: usize) -> U64 {
    u64::try_from(length).unwrap_or(u64::MAX).into() // usize has at most 64 bits
}

fn check(header: &Header) -> Result<()> {
    if header.magic != MAGIC {
        let found = format!("{:02x?}", header.magic);
        return Err(value("EIF magic", 0, found, "[2e, 65, 69, 66]"));
    }
    match header.version.get() {
        2..=VERSION => Ok(()),
        other => Err(value("EIF version", 4, other, "2 to 4")),
    }
}

fn count(header: &Header) -> Result<usize> {
    match usize::from(header.num_sections.get()) {
        count @ 1..=MAX_SECTIONS => Ok(count),
        other => Err(value("number of EIF sections", 26, other, "1 to 32")),
    }
}

/// The next section, which the header's tables place at `offset` with `size` bytes.
fn section<'a>(reader: &mut Reader<'a>, (offset, size): (u64, u64)) -> Result<Section<'a>> {
    let at = reader.offset();
    if wide(at).get() != offset {
        return Err(value(
            "EIF section, by the header's table,",
            at,
            format!("{offset:#x}"),
            "here",
        ));
    }
    let head: &SectionHeader = reader.view("EIF section header")?;
    let kind = Kind::of(head.section_type.get(), at)?;
    if head.section_size.get() != size {
        let expected = format!("{size}, as in the header's table");
        return Err(value("EIF section size", at + 4, head.section_size.get(), &expected));
    }
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Section { kind, data: Cow::Borrowed(reader.take(length, "EIF section")?) })
}

/// CRC-32 (ISO-HDLC) of the file without its CRC field.
fn crc(file: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(file.get(..CRC_OFFSET).unwrap_or_default());
    hasher.update(file.get(CRC_OFFSET + size_of::<U32>()..).unwrap_or_default());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(data: &'static [u8]) -> Image<'static> {
        let section = |kind| Section { kind, data: data.into() };
        let sections = [Kind::Kernel, Kind::Cmdline, Kind::Ramdisk].map(section).to_vec();
        Image { version: VERSION, arm64: false, default_memory: 1, default_cpus: 1, sections }
    }

    /// The error for the written image after `bytes` are put at `offset`.
    fn broken(offset: usize, bytes: &[u8]) -> alloc::string::String {
        let mut file = image(b"0123456789").write().expect("fits");
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        Image::parse(&file).expect_err("a broken image").to_string()
    }

    #[test]
    fn every_field_that_is_wrong_is_named_with_its_place() {
        assert!(broken(0, b"x").starts_with("EIF magic at byte offset 0x0: expected"));
        assert_eq!(broken(4, &[0, 5]), "EIF version at byte offset 0x4: expected 2 to 4, found 5");
        assert!(broken(26, &[0, 33]).contains("number of EIF sections at byte offset 0x1a"));
        assert!(broken(26, &[0, 2]).contains("expected end of the file, found 22 more bytes"));
        assert!(broken(28, &[1]).starts_with("EIF section, by the header's table, at"));
        assert!(broken(548, &[0, 9]).starts_with("EIF section type at byte offset 0x224"));
        assert!(broken(552, &[1]).starts_with("EIF section size at byte offset 0x228"));
        let crc = broken(560, b"X");
        assert!(crc.starts_with("CRC-32 of the EIF at byte offset 0x220: expected 0x"), "{crc}");
    }

    #[test]
    fn an_image_of_too_many_sections_is_refused() {
        let mut image = image(b"");
        image.sections = core::iter::repeat_n(image.sections[0].clone(), 33).collect();
        assert!(image.write().unwrap_err().to_string().contains("expected 1 to 32, found 33"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(tail: Vec<u8>, at in 0_usize..600) {
            let mut file = image(b"0123456789").write().expect("fits");
            let end = file.len().min(at + tail.len());
            file[at.min(end)..end].copy_from_slice(&tail[..end - at.min(end)]);
            let _ = Image::parse(&file);
            let _ = Image::parse(&file[..at]);
        }
    }
}
