//! TDX metadata of a firmware image (Intel TDX Virtual Firmware Design Guide, revision 1.2,
//! section 11): which parts are loaded where, and which are measured.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Error, Reader, Result, ovmf};

/// Where an image without the table of GUIDed entries tells the place of the descriptor: from its
/// start (td-shim specification, «Metadata Location») or, in older builds, from its end.
const TD_SHIM_OFFSET: usize = 0x20;

/// What the only version of the descriptor begins with, and how many sections are sensible.
const SIGNATURE: &[u8; 4] = b"TDVF";
const VERSION: u32 = 1;
const MAX_SECTIONS: u32 = 64;

/// Section attributes (table 11-3): contents are measured; the page is added when first used.
const MR_EXTEND: u32 = 1 << 0;
const PAGE_AUG: u32 = 1 << 1;

/// Every address and memory size is a multiple of it.
const PAGE: u64 = 4096;

/// What a section is for (table 11-2, and td-shim specification, table 1.1-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boot firmware volume: code.
    Bfv,
    /// Configuration firmware volume: variables.
    Cfv,
    /// The hand-off block list, which the VMM writes.
    TdHob,
    /// Memory that firmware uses before it accepts more.
    TempMem,
    /// Memory that stays (td-shim).
    PermMem,
    /// A payload: kernel or firmware (td-shim).
    Payload,
    /// Parameters of the payload (td-shim).
    PayloadParam,
    /// What the image says of itself (td-shim); the VMM loads nothing of it.
    TdInfo,
    /// How the TD is to be launched (td-shim); likewise.
    TdParams,
    /// Another type.
    Other(u32),
}

/// One section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Contents in the image; shorter than in memory where the rest is zeros.
    pub data: &'a [u8],
    /// Guest-physical address.
    pub address: u64,
    /// Size in memory.
    pub size: u64,
    /// True when its contents are measured into MRTD.
    pub measured: bool,
    /// True when its pages are added only when the guest first uses them.
    pub on_demand: bool,
}

/// Sections of a firmware image, in the order of the descriptor.
///
/// # Errors
/// The image has no TDX metadata, or a section does not fit the image.
pub fn sections(image: &[u8]) -> Result<Vec<Section<'_>>> {
    let descriptor = descriptor(image)?;
    let mut reader = Reader::at(image, descriptor + 4);
    reader.u32("TDVF descriptor")?; // length, which the number of sections says again
    let offset = reader.offset();
    let (version, count) = (reader.u32("TDVF descriptor")?, reader.u32("TDVF descriptor")?);
    if version != VERSION || !(1..=MAX_SECTIONS).contains(&count) {
        let found = format!("version {version} with {count} sections");
        let expected = format!("version {VERSION} with 1 to {MAX_SECTIONS} sections");
        return Err(Error::Value { what: "TDVF descriptor", offset, found, expected });
    }
    (0..count).map(|_| section(image, &mut reader)).collect()
}

/// Offset of the descriptor: by the table of GUIDed entries, or in td-shim's first form.
fn descriptor(image: &[u8]) -> Result<usize> {
    let stands = |at: &usize| image.get(*at..).is_some_and(|rest| rest.starts_with(SIGNATURE));
    let by_table = match ovmf::has_table(image) {
        true => match ovmf::find(&ovmf::table(image)?, ovmf::TDX_METADATA) {
            Some(entry) => Some(ovmf::pointed_to(image, &entry, "offset of the TDX metadata")?),
            None => None,
        },
        false => None,
    };
    let by_offset = || {
        let place = image.len().checked_sub(TD_SHIM_OFFSET)?;
        let told = Reader::at(image, place).u32("offset of the TDX metadata").ok()?;
        let told = usize::try_from(told).ok()?;
        Some(told).filter(stands).or_else(|| image.len().checked_sub(told))
    };
    by_table.filter(stands).or_else(|| by_offset().filter(stands)).ok_or_else(|| Error::Missing {
        what: "TDX metadata",
        why: "no `TDVF` descriptor stands where the image's end points to; this firmware cannot \
              start a TD, or the file was cut"
            .to_string(),
    })
}

/// The section that `reader` stands at.
fn section<'a>(image: &'a [u8], reader: &mut Reader<'_>) -> Result<Section<'a>> {
    let what = "TDVF section";
    let offset = reader.offset();
    let start = usize::try_from(reader.u32(what)?).unwrap_or(usize::MAX);
    let length = usize::try_from(reader.u32(what)?).unwrap_or(usize::MAX);
    let (address, size) = (reader.u64(what)?, reader.u64(what)?);
    let (kind, attributes) = (reader.u32(what)?, reader.u32(what)?);
    let wrong = |found: alloc::string::String, expected: &str| {
        Err(Error::Value { what, offset, found, expected: expected.to_string() })
    };
    if !address.is_multiple_of(PAGE) || !size.is_multiple_of(PAGE) {
        return wrong(format!("{size:#x} bytes at {address:#x}"), "whole pages");
    }
    let kind = Kind::of(kind);
    let loaded = !matches!(kind, Kind::TdInfo | Kind::TdParams);
    let longer = loaded && u64::try_from(length).is_ok_and(|raw| raw > size);
    if address.checked_add(size).is_none() || longer {
        return wrong(
            format!("{length:#x} bytes for {size:#x} of memory at {address:#x}"),
            "contents that fit the memory",
        );
    }
    let data = Reader::at(image, start).take(length, "contents of a TDVF section")?;
    let (measured, on_demand) = (attributes & MR_EXTEND != 0, attributes & PAGE_AUG != 0);
    Ok(Section { kind, data, address, size, measured, on_demand })
}

impl Kind {
    fn of(number: u32) -> Self {
        match number {
            0 => Self::Bfv,
            1 => Self::Cfv,
            2 => Self::TdHob,
            3 => Self::TempMem,
            4 => Self::PermMem,
            5 => Self::Payload,
            6 => Self::PayloadParam,
            7 => Self::TdInfo,
            8 => Self::TdParams,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec;

    /// An image of `size` bytes with a descriptor of the given sections: offset, length, address,
    /// size in memory, type, attributes.
    pub(crate) fn image(size: usize, sections: &[(u32, u32, u64, u64, u32, u32)]) -> Vec<u8> {
        let mut descriptor = SIGNATURE.to_vec();
        let count = u32::try_from(sections.len()).expect("few");
        for number in [16 + 32 * count, VERSION, count] {
            descriptor.extend(number.to_le_bytes());
        }
        for (start, length, address, size, kind, attributes) in sections {
            descriptor.extend([start.to_le_bytes(), length.to_le_bytes()].concat());
            descriptor.extend([address.to_le_bytes(), size.to_le_bytes()].concat());
            descriptor.extend([kind.to_le_bytes(), attributes.to_le_bytes()].concat());
        }
        const ENTRY_END: usize = 18;
        const RESET_VECTOR: usize = 32;
        let table = ENTRY_END + 4 + ENTRY_END;
        let distance = descriptor.len() + table + RESET_VECTOR;
        let mut image: Vec<u8> =
            (0..size - distance).map(|i| u8::try_from(i / 256 % 256).expect("a byte")).collect();
        image.extend(descriptor);
        image.extend(u32::try_from(distance).expect("small").to_le_bytes());
        image.extend(u16::try_from(ENTRY_END + 4).expect("small").to_le_bytes());
        image.extend(ovmf::TDX_METADATA.0);
        image.extend(u16::try_from(table).expect("small").to_le_bytes());
        image.extend(ovmf::FOOTER.0);
        image.extend([0; RESET_VECTOR]);
        image
    }

    #[test]
    fn sections_are_found_by_the_table_and_by_the_old_offset() {
        let mut image = image(0x4000, &[(0x1000, 0x1000, 0xffff_f000, 0x1000, 0, 1)]);
        let found = sections(&image).expect("metadata");
        let [section] = found[..] else { panic!("one section") };
        assert_eq!((section.kind, section.address), (Kind::Bfv, 0xffff_f000));
        assert!(section.measured && !section.on_demand);
        let distance = u32::try_from(16 + 32 + 40 + 32).expect("small");
        let end = image.len();
        image[end - 48..end - 32].fill(0);
        assert!(sections(&image).is_err());
        image[end - 32..end - 28].copy_from_slice(&distance.to_le_bytes());
        assert_eq!(sections(&image).expect("td-shim's form").len(), 1);
    }

    #[test]
    fn firmware_without_metadata_and_cut_firmware_say_so() {
        let error = sections(&vec![0; 0x1000]).expect_err("none").to_string();
        assert!(error.starts_with("no TDX metadata found"), "{error}");
        let image = image(0x4000, &[(0x1000, 0x1000, 0xffff_f000, 0x1000, 0, 1)]);
        assert!(sections(&image[..image.len() - 0x800]).is_err());
        for end in 0x3f00..image.len() {
            let _ = sections(&image[..end]);
        }
    }

    #[test]
    fn sections_that_lie_are_refused() {
        let error = |section| sections(&image(0x4000, &[section])).expect_err("a lie").to_string();
        assert!(error((0x3000, 0x2000, 0, 0x2000, 0, 1)).contains("needs 8192 bytes"));
        assert!(error((0, 0x2000, 0, 0x1000, 0, 1)).contains("fit the memory"));
        assert!(error((0, 0x1000, 0x10, 0x1000, 0, 1)).contains("whole pages"));
        assert!(error((0, 0, u64::MAX - 0xfff, 0x1000, 0, 1)).contains("fit the memory"));
    }
}
