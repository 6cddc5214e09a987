//! UEFI firmware volumes with the files in them (Platform Initialization 1.8, volume III).
//!
//! [`unpack`] finds the volumes of a flash image, opens LZMA-compressed sections and the volumes
//! inside them, and gives all of them in a flat list. Nothing is executed or trusted: sizes are
//! bounded, nesting is bounded, and so is what a compressed section may grow to.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::guid::Guid;
use super::{Error, Reader, Result};

/// A section compressed by LZMA (edk2 `gLzmaCustomDecompressGuid`).
const LZMA: Guid = Guid::of("ee4e5898-3914-4259-9d6e-dc7bd79403cf");

/// Volumes inside volumes: a flash image needs 1.
const MAX_DEPTH: usize = 4;

/// What one compressed section may unpack to; OVMF's needs 16 MiB.
const MAX_UNPACKED: u64 = 64 << 20;

/// Memory of the LZMA decoder, in KiB; its dictionary is as large as the data at most.
const MAX_DECODER_KIB: u32 = 128 << 10;

/// `EFI_FVH_SIGNATURE`, and where it stands in the header (section 3.2.1).
const SIGNATURE: (&[u8], usize) = (b"_FVH", 0x28);

/// `EFI_FV_FILETYPE_FIRMWARE_VOLUME_IMAGE` (section 3.2.3.1).
const FILE_VOLUME_IMAGE: u8 = 0x0b;

/// `FFS_ATTRIB_LARGE_FILE` (section 3.2.3).
const LARGE_FILE: u8 = 0x01;

/// `EFI_SECTION_USER_INTERFACE`, `EFI_SECTION_GUID_DEFINED` and `EFI_SECTION_FIRMWARE_VOLUME_IMAGE`
/// (section 3.2.4).
const SECTION_USER_INTERFACE: u8 = 0x15;
const SECTION_GUID_DEFINED: u8 = 0x02;
const SECTION_VOLUME_IMAGE: u8 = 0x17;

/// One firmware volume, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume<'a> {
    /// Byte offset in the image; none for a volume that came out of a compressed section.
    pub offset: Option<usize>,
    /// Name, where the volume has an extended header.
    pub name: Option<Guid>,
    /// All bytes from the header on.
    pub bytes: Cow<'a, [u8]>,
    /// Files, in order.
    pub files: Vec<File>,
}

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Name.
    pub name: Guid,
    /// Type (section 3.2.3.1).
    pub kind: u8,
    /// Where its contents stand in the volume, without the file header.
    pub contents: Range<usize>,
}

impl Volume<'_> {
    /// Contents of the file called `name`.
    pub fn file(&self, name: Guid) -> Option<&[u8]> {
        let file = self.files.iter().find(|file| file.name == name)?;
        self.bytes.get(file.contents.clone())
    }

    /// What `file` calls itself, in a user interface section (section 3.2.5.16), if it has one.
    pub fn label(&self, file: &File) -> Option<String> {
        let mut rest = self.bytes.get(file.contents.clone())?;
        while let [s0, s1, s2, kind, behind @ ..] = rest {
            let size = usize::try_from(u32::from_le_bytes([*s0, *s1, *s2, 0])).ok()?;
            if *kind == SECTION_USER_INTERFACE {
                let text = behind.get(..size.checked_sub(4)?)?;
                let units = text.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
                let units = units.take_while(|unit| *unit != 0);
                return Some(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect());
            }
            // Sections are aligned to 4 bytes; large ones have no names behind them that matter.
            rest = rest.get(size.checked_next_multiple_of(4).filter(|size| *size >= 4)?..)?;
        }
        None
    }
}

/// Every volume of a flash image: those that follow one another in it, each before those inside it.
///
/// # Errors
/// No volume is in it, or one is broken.
pub fn unpack(image: &[u8]) -> Result<Vec<Volume<'_>>> {
    let mut found = Vec::new();
    let mut offset = 0;
    while let Some(start) = next_volume(image, offset) {
        let (volume, end) = volume_at(image, start)?;
        let inner = inner_volumes(&volume, MAX_DEPTH)?;
        found.push(Volume { offset: Some(start), ..volume });
        found.extend(inner);
        offset = end;
    }
    match found.is_empty() {
        true => Err(Error::Missing {
            what: "firmware volume",
            why: "no `_FVH` header stands at a 4 KiB boundary of the image".to_string(),
        }),
        false => Ok(found),
    }
}

/// Start of the first volume at or behind `from`; volumes of a flash image begin on a page.
fn next_volume(image: &[u8], from: usize) -> Option<usize> {
    let (signature, at) = SIGNATURE;
    let pages = (from.next_multiple_of(0x1000)..image.len()).step_by(0x1000);
    pages.into_iter().find(|start| image.get(start + at..start + at + 4) == Some(signature))
}

/// The volume at `start` of `image`, and where it ends.
fn volume_at(image: &[u8], start: usize) -> Result<(Volume<'_>, usize)> {
    let header = "firmware volume header";
    let mut reader = Reader::at(image, start);
    reader.take(0x20, header)?; // zero vector, file system
    let length = reader.u64(header)?;
    reader.take(8, header)?; // signature, attributes
    let header_length = usize::from(reader.u16(header)?);
    reader.u16(header)?; // checksum
    let extended = usize::from(reader.u16(header)?);
    let end = end_of(image, start, reader.offset(), length, header)?;
    let bytes = image.get(start..end).unwrap_or_default();
    let (name, first) = match extended {
        0 => (None, header_length),
        at => extended_header(bytes, at)?,
    };
    let files = files(bytes, first)?;
    Ok((Volume { offset: None, name, bytes: Cow::Borrowed(bytes), files }, end))
}

/// Name in the extended header at `at`, and the offset of the first file (section 3.2.2).
fn extended_header(volume: &[u8], at: usize) -> Result<(Option<Guid>, usize)> {
    let mut reader = Reader::at(volume, at);
    let name = Guid(reader.array("extended volume header")?);
    let size = reader.u32("extended volume header")?;
    let end = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
    Ok((Some(name), end.checked_next_multiple_of(8).unwrap_or(usize::MAX)))
}

/// Files from `first` on, up to the free space (all bits set).
fn files(volume: &[u8], first: usize) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut offset = first;
    while volume.len().saturating_sub(offset) >= 24 {
        let mut reader = Reader::at(volume, offset);
        let name = Guid(reader.array("file header")?);
        let rest: [u8; 8] = reader.array("file header")?;
        if name.0 == [0xff; 16] && rest == [0xff; 8] {
            break;
        }
        let [_, _, kind, attributes, s0, s1, s2, _] = rest;
        let size = match attributes & LARGE_FILE {
            0 => u64::from(u32::from_le_bytes([s0, s1, s2, 0])),
            _ => reader.u64("large file header")?,
        };
        let end = end_of(volume, offset, reader.offset(), size, "firmware file")?;
        files.push(File { name, kind, contents: reader.offset()..end });
        offset = end.next_multiple_of(8);
    }
    Ok(files)
}

/// End of a thing of `size` bytes at `start` whose contents begin at `contents`.
fn end_of(
    bytes: &[u8],
    start: usize,
    contents: usize,
    size: u64,
    what: &'static str,
) -> Result<usize> {
    let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
    let end = end.filter(|end| (contents..=bytes.len()).contains(end));
    end.ok_or_else(|| Error::Value {
        what,
        offset: start,
        found: format!("a size of {size:#x}"),
        expected: format!("{:#x} to {:#x}", contents - start, bytes.len() - start),
    })
}

/// Volumes in the volume images of `volume`, each before those inside it.
fn inner_volumes(volume: &Volume<'_>, depth: usize) -> Result<Vec<Volume<'static>>> {
    let mut found = Vec::new();
    for file in volume.files.iter().filter(|file| file.kind == FILE_VOLUME_IMAGE) {
        let contents = volume.bytes.get(file.contents.clone()).unwrap_or_default();
        sections(contents, depth, &mut found)?;
    }
    Ok(found)
}

/// Adds the volumes in a list of sections to `found`.
fn sections(bytes: &[u8], depth: usize, found: &mut Vec<Volume<'static>>) -> Result<()> {
    let mut offset = 0;
    while bytes.len().saturating_sub(offset) >= 4 {
        let mut reader = Reader::at(bytes, offset);
        let [s0, s1, s2, kind] = reader.array("section header")?;
        let size = match [s0, s1, s2] {
            [0xff, 0xff, 0xff] => reader.u32("large section header")?,
            _ => u32::from_le_bytes([s0, s1, s2, 0]),
        };
        let end = end_of(bytes, offset, reader.offset(), size.into(), "section")?;
        let contents = bytes.get(reader.offset()..end).unwrap_or_default();
        let depth = depth.checked_sub(1).ok_or_else(|| too_deep(offset))?;
        match kind {
            SECTION_GUID_DEFINED => {
                let section = bytes.get(offset..end).unwrap_or_default();
                if let Some(unpacked) = guided(section, reader.offset() - offset)? {
                    sections(&unpacked, depth, found)?;
                }
            }
            SECTION_VOLUME_IMAGE => {
                let (volume, _) = volume_at(contents, 0)?;
                let inner = inner_volumes(&volume, depth)?;
                found.push(Volume { bytes: volume.bytes.into_owned().into(), ..volume });
                found.extend(inner);
            }
            _ => {}
        }
        offset = end.next_multiple_of(4);
    }
    Ok(())
}

fn too_deep(offset: usize) -> Error {
    let expected = format!("at most {MAX_DEPTH} levels");
    Error::Value { what: "nesting of sections", offset, found: "more".to_string(), expected }
}

/// Contents of a GUID-defined section whose own header begins at `header`; none for an encoding
/// other than LZMA.
fn guided(section: &[u8], header: usize) -> Result<Option<Vec<u8>>> {
    let mut reader = Reader::at(section, header);
    let encoding = Guid(reader.array("GUID-defined section")?);
    let data = usize::from(reader.u16("GUID-defined section")?);
    if encoding != LZMA {
        return Ok(None);
    }
    let mut reader = Reader::at(section, data);
    let compressed = reader.take(reader.remaining(), "LZMA section")?;
    unlzma(compressed).map(Some)
}

/// Unpacks an LZMA stream with its 13-byte header (properties, dictionary, size).
///
/// # Errors
/// The stream is broken, or would grow beyond 64 MiB.
pub fn unlzma(stream: &[u8]) -> Result<Vec<u8>> {
    use lzma_rust2::Read as _;
    let size = Reader::at(stream, 5).u64("LZMA header")?;
    let broken = |found: &str| Error::Value {
        what: "LZMA stream",
        offset: 0,
        found: found.to_string(),
        expected: "a valid stream of the size in its header".to_string(),
    };
    if size > MAX_UNPACKED {
        let (found, expected) = (format!("{size:#x}"), format!("at most {MAX_UNPACKED:#x}"));
        return Err(Error::Value { what: "unpacked size of LZMA", offset: 5, found, expected });
    }
    let reader = lzma_rust2::LzmaReader::new_mem_limit(stream, MAX_DECODER_KIB, None);
    let mut reader = reader.map_err(|_| broken("a header that no decoder takes"))?;
    let mut unpacked = vec![0; usize::try_from(size).map_err(|_| broken("a size too large"))?];
    reader.read_exact(&mut unpacked).map_err(|_| broken("damaged data"))?;
    Ok(unpacked)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A volume with one file of type `kind`.
    pub(crate) fn volume(kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut files = vec![0x48; 0];
        files.extend([0xab; 16]);
        let size = u32::try_from(24 + contents.len()).expect("small");
        files.extend([0, 0, kind, 0]);
        files.extend(&size.to_le_bytes()[..3]);
        files.push(0xf8);
        files.extend(contents);
        let length = (0x48 + files.len() + 32).next_multiple_of(8);
        let mut bytes = vec![0; 0x20];
        bytes.extend(u64::try_from(length).expect("small").to_le_bytes());
        bytes.extend(b"_FVH\0\0\0\0");
        bytes.extend([0x48, 0, 0, 0, 0, 0, 0, 2]);
        bytes.resize(0x48, 0);
        bytes.extend(files);
        bytes.resize(length, 0xff);
        bytes
    }

    /// A section of type `kind`.
    fn section(kind: u8, contents: &[u8]) -> Vec<u8> {
        let size = u32::try_from(4 + contents.len()).expect("small").to_le_bytes();
        [&size[..3], &[kind], contents].concat()
    }

    #[test]
    fn a_volume_inside_a_volume_is_found() {
        let inner = volume(0x07, b"a driver");
        let outer = volume(FILE_VOLUME_IMAGE, &section(SECTION_VOLUME_IMAGE, &inner));
        let found = unpack(&outer).expect("volumes");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].offset, found[1].offset), (Some(0), None));
        assert_eq!(found[1].bytes[..], inner[..]);
        assert_eq!(found[1].file(Guid([0xab; 16])), Some(&b"a driver"[..]));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_survived() {
        let inner = volume(0x07, b"a driver");
        let whole = volume(FILE_VOLUME_IMAGE, &section(SECTION_VOLUME_IMAGE, &inner));
        for end in 0..whole.len() {
            let _ = unpack(&whole[..end]);
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[end] = value;
                let _ = unpack(&changed);
            }
        }
        let cut = unpack(&whole[..whole.len() - 1]).expect_err("cut").to_string();
        assert!(cut.starts_with("firmware volume header at byte offset 0x0: expected"), "{cut}");
        let mut empty = whole;
        empty[0x20..0x28].fill(0);
        assert!(unpack(&empty).is_err());
    }

    #[test]
    fn a_lying_file_size_and_a_bomb_are_refused() {
        let mut lying = volume(0x07, b"a driver");
        lying[0x48 + 22] = 0x7f;
        let error = unpack(&lying).expect_err("lies").to_string();
        assert!(error.contains("a size of 0x7f0020"), "{error}");
        let bomb = [&[0x5d, 0, 0, 0x80, 0][..], &u64::MAX.to_le_bytes(), &[0; 32]].concat();
        let error = unlzma(&bomb).expect_err("too large").to_string();
        assert!(error.contains("expected at most 0x4000000"), "{error}");
        assert!(unlzma(&[0x5d; 20]).is_err());
    }
}
