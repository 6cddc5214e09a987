//! PE images (Microsoft PE/COFF specification, revision 11.0): section table, and what an
//! Authenticode digest covers (Windows Authenticode Portable Executable Signature Format, 1.0).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use super::{Error, Reader, Result};

/// Where `e_lfanew`, the offset of the PE header, stands.
const LFANEW: usize = 0x3c;

/// Optional header: magic of PE32 and PE32+, with the offset of `NumberOfRvaAndSizes` in each.
const PE32: (u16, usize) = (0x10b, 92);
const PE32_PLUS: (u16, usize) = (0x20b, 108);

/// Optional header: offsets of `SizeOfHeaders` and `CheckSum`, the same in both forms.
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;

/// Index of the certificate table among the data directories.
const CERTIFICATES: usize = 4;

/// Size of an entry of the section table.
const SECTION_ENTRY: usize = 40;

/// A parsed image; offsets are checked against the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pe<'a> {
    bytes: &'a [u8],
    checksum: usize,
    certificate_entry: Option<usize>,
    certificate_size: usize,
    headers: usize,
    /// Machine type: 0x8664 for x86-64, 0xaa64 for AArch64.
    pub machine: u16,
    /// Sections in the order of the table.
    pub sections: Vec<Section>,
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Name without padding.
    pub name: String,
    /// Size in memory.
    pub virtual_size: u32,
    /// Address in memory, relative to the image.
    pub virtual_address: u32,
    /// Where its data stand in the file.
    pub raw: Range<usize>,
}

impl<'a> Pe<'a> {
    /// Parses `bytes`.
    ///
    /// # Errors
    /// It is no PE image, or its section table lies: data outside the file or on top of others.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let coff = signature(bytes)?;
        let mut reader = Reader::at(bytes, coff);
        let machine = reader.u16("COFF header")?;
        let count = reader.u16("COFF header")?;
        reader.take(12, "COFF header")?;
        let optional_size = usize::from(reader.u16("COFF header")?);
        let optional = coff + 20;
        let directories = directories(bytes, optional)?;
        let headers = Reader::at(bytes, optional + SIZE_OF_HEADERS).u32("SizeOfHeaders")?;
        let headers = usize::try_from(headers).unwrap_or(usize::MAX);
        let lowest = optional + CHECKSUM + 4;
        if !(lowest..=bytes.len()).contains(&headers) {
            return Err(Error::Value {
                what: "SizeOfHeaders",
                offset: optional + SIZE_OF_HEADERS,
                found: format!("{headers:#x}"),
                expected: format!("{lowest:#x} to the file's {:#x} bytes", bytes.len()),
            });
        }
        let (certificate_entry, certificate_size) = certificates(bytes, directories)?;
        let sections = sections(bytes, optional + optional_size, count)?;
        let early = |section: &&Section| !section.raw.is_empty() && section.raw.start < headers;
        if let Some(section) = sections.iter().find(early) {
            return Err(Error::Value {
                what: "section data",
                offset: section.raw.start,
                found: format!("`{}` in the headers", section.name),
                expected: format!("{headers:#x} or behind"),
            });
        }
        let checksum = optional + CHECKSUM;
        Ok(Self {
            bytes,
            checksum,
            certificate_entry,
            certificate_size,
            headers,
            machine,
            sections,
        })
    }

    /// What the Authenticode digest covers, in order: headers without checksum and certificate
    /// entry, sections by file offset, and what follows them up to the certificates. Nothing is
    /// padded: firmware hashes just these bytes.
    pub fn authenticode(&self) -> Vec<&'a [u8]> {
        let after_checksum = self.checksum + 4;
        let mut ranges = alloc::vec![0..self.checksum];
        match self.certificate_entry.filter(|entry| entry + 8 <= self.headers) {
            Some(entry) => ranges.extend([after_checksum..entry, entry + 8..self.headers]),
            None => ranges.push(after_checksum..self.headers),
        }
        let mut raw: Vec<_> = self.sections.iter().map(|section| section.raw.clone()).collect();
        raw.retain(|range| !range.is_empty());
        raw.sort_by_key(|range| range.start);
        let hashed = self.headers + raw.iter().map(ExactSizeIterator::len).sum::<usize>();
        ranges.extend(raw);
        ranges.push(hashed..self.bytes.len().saturating_sub(self.certificate_size));
        ranges.into_iter().filter_map(|range| self.bytes.get(range)).collect()
    }

    /// The certificate table: signatures over the image.
    pub fn certificates(&self) -> &'a [u8] {
        let start = self.bytes.len().saturating_sub(self.certificate_size);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// The section called `name`.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Contents of `section` as a loader lays them into memory: as long as its size in memory,
    /// zeros where the file has less.
    ///
    /// # Errors
    /// The section would be larger in memory than the whole file and a page.
    pub fn contents(&self, section: &Section) -> Result<Cow<'a, [u8]>> {
        let raw = self.bytes.get(section.raw.clone()).unwrap_or_default();
        let size = usize::try_from(section.virtual_size).unwrap_or(usize::MAX);
        if let Some(contents) = raw.get(..size) {
            return Ok(Cow::Borrowed(contents));
        }
        if size > raw.len() + 0x1000 {
            return Err(Error::Value {
                what: "VirtualSize of a section",
                offset: section.raw.start,
                found: format!("{size:#x} for `{}`", section.name),
                expected: format!("its {:#x} bytes in the file and a page at most", raw.len()),
            });
        }
        let mut contents = raw.to_vec();
        contents.resize(size, 0);
        Ok(Cow::Owned(contents))
    }
}

/// Offset of the COFF header, behind the PE signature.
fn signature(bytes: &[u8]) -> Result<usize> {
    let dos: [u8; 2] = Reader::new(bytes).array("DOS header")?;
    let wrong = |what, offset, found: &[u8], expected: &str| Error::Value {
        what,
        offset,
        found: format!("{:?}", String::from_utf8_lossy(found)),
        expected: expected.to_string(),
    };
    if &dos != b"MZ" {
        return Err(wrong("DOS signature of a PE image", 0, &dos, "`MZ`"));
    }
    let offset = Reader::at(bytes, LFANEW).u32("DOS header")?;
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let pe: [u8; 4] = Reader::at(bytes, offset).array("PE header")?;
    match &pe == b"PE\0\0" {
        true => Ok(offset + 4),
        false => Err(wrong("PE signature", offset, &pe, "`PE` and two NULs")),
    }
}

/// Offset and number of the data directories of the optional header at `optional`.
fn directories(bytes: &[u8], optional: usize) -> Result<(usize, usize)> {
    let magic = Reader::at(bytes, optional).u16("optional header")?;
    let known = [PE32, PE32_PLUS].into_iter().find(|(known, _)| *known == magic);
    let (_, at) = known.ok_or_else(|| Error::Value {
        what: "magic of the optional header",
        offset: optional,
        found: format!("{magic:#x}"),
        expected: "0x10b (PE32) or 0x20b (PE32+)".to_string(),
    })?;
    let count = Reader::at(bytes, optional + at).u32("optional header")?;
    Ok((optional + at + 4, usize::try_from(count).unwrap_or(usize::MAX)))
}

/// Where the entry of the certificate table stands, if there is one, and the table's size.
fn certificates(bytes: &[u8], directories: (usize, usize)) -> Result<(Option<usize>, usize)> {
    let (first, count) = directories;
    if count <= CERTIFICATES {
        return Ok((None, 0));
    }
    let entry = first + 8 * CERTIFICATES;
    let mut reader = Reader::at(bytes, entry);
    reader.u32("certificate table entry")?;
    let size = usize::try_from(reader.u32("certificate table entry")?).unwrap_or(usize::MAX);
    match size <= bytes.len() {
        true => Ok((Some(entry), size)),
        false => Err(Error::Value {
            what: "size of the certificate table",
            offset: entry + 4,
            found: format!("{size:#x}"),
            expected: format!("at most the file's {:#x} bytes", bytes.len()),
        }),
    }
}

/// The section table at `table`.
fn sections(bytes: &[u8], table: usize, count: u16) -> Result<Vec<Section>> {
    let entries =
        (0..usize::from(count)).map(|index| section(bytes, table + SECTION_ENTRY * index));
    let sections = entries.collect::<Result<Vec<_>>>()?;
    let mut in_file: Vec<_> = sections.iter().filter(|section| !section.raw.is_empty()).collect();
    in_file.sort_by_key(|section| section.raw.start);
    for pair in in_file.windows(2) {
        if let [first, second] = pair
            && second.raw.start < first.raw.end
        {
            return Err(Error::Value {
                what: "section data",
                offset: second.raw.start,
                found: format!("`{}` on top of `{}`", second.name, first.name),
                expected: format!("{:#x} or behind", first.raw.end),
            });
        }
    }
    Ok(sections)
}

/// The entry of the section table at `entry`.
fn section(bytes: &[u8], entry: usize) -> Result<Section> {
    let mut reader = Reader::at(bytes, entry);
    let name: [u8; 8] = reader.array("section table")?;
    let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_string();
    let virtual_size = reader.u32("section table")?;
    let virtual_address = reader.u32("section table")?;
    let size = usize::try_from(reader.u32("section table")?).unwrap_or(usize::MAX);
    let start = usize::try_from(reader.u32("section table")?).unwrap_or(usize::MAX);
    let raw = match size {
        0 => 0..0,
        _ => start..start.saturating_add(size),
    };
    match raw.end <= bytes.len() {
        true => Ok(Section { name, virtual_size, virtual_address, raw }),
        false => Err(Error::Value {
            what: "section data",
            offset: entry,
            found: format!("`{name}` at {:#x}..{:#x}", raw.start, raw.end),
            expected: format!("inside the file's {:#x} bytes", bytes.len()),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::digest::Sha256;

    /// A PE32+ image with the given sections (name and data), nothing behind them.
    pub(crate) fn image(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let headers = (0x40 + 24 + 240 + 40 * sections.len()).next_multiple_of(0x200);
        let mut bytes = alloc::vec![0; headers];
        let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
        };
        let word = |value: usize| u32::try_from(value).expect("small").to_le_bytes();
        put(&mut bytes, 0, b"MZ");
        put(&mut bytes, 0x3c, &word(0x40));
        put(&mut bytes, 0x40, b"PE\0\0\x64\x86");
        put(&mut bytes, 0x46, &word(sections.len())[..2]);
        put(&mut bytes, 0x54, &240u16.to_le_bytes());
        put(&mut bytes, 0x58, &0x20bu16.to_le_bytes());
        put(&mut bytes, 0x58 + SIZE_OF_HEADERS, &word(headers));
        put(&mut bytes, 0x58 + CHECKSUM, b"sum!");
        put(&mut bytes, 0x58 + 108, &word(16));
        for (index, (name, data)) in sections.iter().enumerate() {
            let (entry, start) = (0x58 + 240 + 40 * index, bytes.len());
            put(&mut bytes, entry, name.as_bytes());
            put(&mut bytes, entry + 8, &word(data.len()));
            put(&mut bytes, entry + 12, &word(0x1000 * (index + 1)));
            put(&mut bytes, entry + 16, &word(data.len().next_multiple_of(0x200)));
            put(&mut bytes, entry + 20, &word(start));
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(0x200), 0);
        }
        bytes
    }

    #[test]
    fn the_digest_leaves_out_checksum_and_certificates_and_nothing_else() {
        let plain = image(&[(".text", b"code"), (".data", b"data")]);
        let digest =
            |bytes: &[u8]| Sha256::of_parts(Pe::parse(bytes).expect("an image").authenticode());
        let whole = [&plain[..0x98], &plain[0x9c..0x58 + 144], &plain[0x58 + 152..]].concat();
        assert_eq!(digest(&plain), Sha256::of(&whole));
        let mut signed = plain.clone();
        signed.extend(b"certificate!");
        signed[0x58 + 144..0x58 + 152].copy_from_slice(&[0, 8, 0, 0, 12, 0, 0, 0]);
        assert_eq!(digest(&signed), digest(&plain));
        let mut changed = plain.clone();
        changed[0x98..0x9c].copy_from_slice(b"SUM?");
        assert_eq!(digest(&changed), digest(&plain));
        let odd = [&plain[..], b"odd"].concat();
        assert_eq!(digest(&odd), Sha256::of(&[&whole[..], b"odd"].concat()));
    }

    #[test]
    fn lying_section_tables_are_refused() {
        let entry = 0x58 + 240 + 40;
        let plain = image(&[(".text", b"code"), (".data", b"data")]);
        let with = |at: usize, value: u32| {
            let mut bytes = plain.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            Pe::parse(&bytes).map(|_| ()).expect_err("a lie").to_string()
        };
        let outside = with(entry + 20, 0x0010_0000);
        assert!(outside.contains("found `.data` at 0x100000..0x100200"), "{outside}");
        let on_top = with(entry + 20, 0x200);
        assert!(on_top.contains("on top of"), "{on_top}");
        assert!(with(0x58 + SIZE_OF_HEADERS, 0x7fff_0000).contains("SizeOfHeaders"));
        assert!(with(0x58 + 148, 0x7fff_0000).contains("certificate table"));
    }

    #[test]
    fn every_cut_is_an_error_or_an_image() {
        let whole = image(&[(".text", b"code")]);
        for end in 0..whole.len() {
            if let Ok(pe) = Pe::parse(&whole[..end]) {
                pe.authenticode();
            }
        }
        let error = Pe::parse(b"ELF, surely").expect_err("not PE").to_string();
        assert!(error.contains("expected `MZ`"), "{error}");
    }

    #[test]
    fn contents_are_as_long_as_in_memory() {
        let mut bytes = image(&[(".text", b"code")]);
        bytes[0x58 + 240 + 8..][..4].copy_from_slice(&0x300u32.to_le_bytes());
        let pe = Pe::parse(&bytes).expect("an image");
        let contents = pe.contents(&pe.sections[0]).expect("contents");
        assert_eq!((contents.len(), &contents[..5]), (0x300, &b"code\0"[..]));
    }
}
