//! ELF, 64-bit little-endian: segments and sections (System V ABI, ELF-64 Object File Format).

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{Error, Reader, Result};

/// First bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";
/// `e_ident` from its fifth byte: 64-bit (`ELFCLASS64`), little-endian (`ELFDATA2LSB`).
const CLASS_AND_DATA: [u8; 2] = [2, 1];

/// Program header type of a segment that is loaded.
pub const PT_LOAD: u32 = 1;
/// Program header type of the dynamic section.
pub const PT_DYNAMIC: u32 = 2;
/// Segment flag: executable.
pub const PF_X: u32 = 1;
/// Segment flag: writable.
pub const PF_W: u32 = 2;
/// Segment flag: readable.
pub const PF_R: u32 = 4;

/// `Elf64_Ehdr`.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    ident: [u8; 16],
    kind: U16,
    machine: U16,
    version: U32,
    entry: U64,
    phoff: U64,
    shoff: U64,
    flags: U32,
    ehsize: U16,
    phentsize: U16,
    phnum: U16,
    shentsize: U16,
    shnum: U16,
    shstrndx: U16,
}
const _: () = assert!(size_of::<Header>() == 64);

/// `Elf64_Phdr`.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProgramHeader {
    kind: U32,
    flags: U32,
    offset: U64,
    vaddr: U64,
    paddr: U64,
    filesz: U64,
    memsz: U64,
    align: U64,
}
const _: () = assert!(size_of::<ProgramHeader>() == 56);

/// `Elf64_Shdr`.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SectionHeader {
    name: U32,
    kind: U32,
    flags: U64,
    addr: U64,
    offset: U64,
    size: U64,
    link: U32,
    info: U32,
    addralign: U64,
    entsize: U64,
}
const _: () = assert!(size_of::<SectionHeader>() == 64);

/// One program header with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`: [`PF_R`], [`PF_W`], [`PF_X`].
    pub flags: u32,
    /// `p_offset`: place in the file.
    pub offset: u64,
    /// `p_vaddr`: address in memory.
    pub vaddr: u64,
    /// `p_memsz`: bytes in memory, zeros behind the file's.
    pub memsz: u64,
    /// The segment's bytes in the file.
    pub data: &'a [u8],
}

/// An ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf<'a> {
    /// `e_entry`: address at which execution begins.
    pub entry: u64,
    /// `e_machine`.
    pub machine: u16,
    /// Program headers in file order.
    pub segments: Vec<Segment<'a>>,
    bytes: &'a [u8],
    sections: (usize, usize, usize),
}

impl<'a> Elf<'a> {
    /// Reads the header and the program headers.
    ///
    /// # Errors
    /// Not a 64-bit little-endian ELF file, or a table or segment outside of it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let header: &Header = Reader::new(bytes).view("ELF header")?;
        if !header.ident.starts_with(&MAGIC) || header.ident.get(4..6) != Some(&CLASS_AND_DATA) {
            let found = format!("{:02x?}", header.ident.get(..6).unwrap_or_default());
            let expected = "[7f, 45, 4c, 46, 02, 01], a 64-bit little-endian ELF file".to_string();
            return Err(Error::Value { what: "ELF identification", offset: 0, found, expected });
        }
        let mut reader = Reader::at(bytes, place(header.phoff));
        let count = usize::from(header.phnum.get());
        let segments = (0..count).map(|_| segment(bytes, &mut reader)).collect::<Result<_>>()?;
        Ok(Self {
            entry: header.entry.get(),
            machine: header.machine.get(),
            segments,
            bytes,
            sections: (
                place(header.shoff),
                header.shnum.get().into(),
                header.shstrndx.get().into(),
            ),
        })
    }

    /// Segments that are loaded, in file order.
    pub fn loads(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// Contents of the section called `name`, if there is one.
    ///
    /// # Errors
    /// The section table or the section lies outside the file.
    pub fn section(&self, name: &str) -> Result<Option<&'a [u8]>> {
        let (table, count, names) = self.sections;
        let header = |index: usize| -> Result<&'a SectionHeader> {
            let at = table.saturating_add(index.saturating_mul(size_of::<SectionHeader>()));
            Reader::at(self.bytes, at).view("ELF section header")
        };
        if count == 0 {
            return Ok(None);
        }
        let names = contents(self.bytes, header(names)?)?;
        for index in 0..count {
            let header = header(index)?;
            let own = names.get(place32(header.name)..).unwrap_or_default();
            if own.starts_with(name.as_bytes()) && own.get(name.len()) == Some(&0) {
                return contents(self.bytes, header).map(Some);
            }
        }
        Ok(None)
    }
}

/// `Elf64_Dyn`, as tag and value.
type Dynamic = (u64, u64);
/// Tags of the dynamic section: end, address of the string table, name of the library.
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;

impl<'a> Elf<'a> {
    /// True for a shared object (`ET_DYN`).
    pub fn is_shared(&self) -> bool {
        const ET_DYN: [u8; 2] = [3, 0];
        self.bytes.get(16..18) == Some(&ET_DYN)
    }

    /// The name that a library gives itself (`DT_SONAME`).
    pub fn soname(&self) -> Option<&'a str> {
        let dynamic = self.segments.iter().find(|segment| segment.kind == PT_DYNAMIC)?;
        let entry = |bytes: &[u8]| -> Option<Dynamic> {
            let word =
                |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
            Some((word(0)?, word(8)?))
        };
        let entries: Vec<_> = dynamic.data.chunks_exact(16).filter_map(entry).collect();
        let value = |tag: u64| {
            let all = entries.iter().take_while(|(found, _)| *found != DT_NULL);
            all.into_iter().find(|(found, _)| *found == tag).map(|(_, value)| *value)
        };
        let (table, offset) = (value(DT_STRTAB)?, value(DT_SONAME)?);
        let holds = |load: &&Segment<'a>| {
            table >= load.vaddr && table - load.vaddr < load.data.len() as u64
        };
        let load = self.loads().find(holds)?;
        let at = usize::try_from((table - load.vaddr).checked_add(offset)?).ok()?;
        text(load.data, at)
    }

    /// Symbols that the file defines, and others' that it uses, in the order of its symbol table.
    ///
    /// # Errors
    /// A table lies outside the file.
    pub fn symbols(&self) -> Result<Vec<Symbol<'a>>> {
        let (Some(symbols), Some(names)) = (self.section(".symtab")?, self.section(".strtab")?)
        else {
            return Ok(Vec::new());
        };
        // `Elf64_Sym`: name (4), info (1), other (1), section (2), value (8), size (8).
        let symbol = |bytes: &[u8]| {
            let at = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
            let (defined, local) = (bytes.get(6..8)? != [0, 0], bytes.get(4)? >> 4 == 0);
            let name = text(names, usize::try_from(at).ok()?).filter(|name| !name.is_empty())?;
            Some(Symbol { name, defined }).filter(|_| defined || !local)
        };
        Ok(symbols.chunks_exact(24).filter_map(symbol).collect())
    }
}

/// An entry of a symbol table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name.
    pub name: &'a str,
    /// True if it stands for something in this file.
    pub defined: bool,
}

/// The text in `table` at `at`, up to its NUL.
fn text(table: &[u8], at: usize) -> Option<&str> {
    let rest = table.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    core::str::from_utf8(rest.get(..end)?).ok()
}

fn place(value: U64) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

fn place32(value: U32) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

fn segment<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<Segment<'a>> {
    let header: &ProgramHeader = reader.view("ELF program header")?;
    let mut data = Reader::at(bytes, place(header.offset));
    Ok(Segment {
        kind: header.kind.get(),
        flags: header.flags.get(),
        offset: header.offset.get(),
        vaddr: header.vaddr.get(),
        memsz: header.memsz.get(),
        data: data.take(place(header.filesz), "ELF segment")?,
    })
}

/// `SHT_NOBITS`: a section without bytes in the file.
const SHT_NOBITS: u32 = 8;

fn contents<'a>(bytes: &'a [u8], header: &SectionHeader) -> Result<&'a [u8]> {
    match header.kind.get() {
        SHT_NOBITS => Ok(&[]),
        _ => Reader::at(bytes, place(header.offset)).take(place(header.size), "ELF section"),
    }
}

/// A file with one loaded segment, for tests of this and other modules.
#[cfg(test)]
pub(crate) fn sample() -> Vec<u8> {
    let mut file = alloc::vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[18] = 62;
    file[24..26].copy_from_slice(&[0x10, 0x10]);
    file[32] = 64;
    file[54] = 56;
    file[56] = 1;
    let words: [u64; 7] = [PT_LOAD.into(), 120, 0x1078, 0, 4, 0x20, 0x1000];
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    file[68] = 5;
    file.extend_from_slice(b"code");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(offset: usize, bytes: &[u8]) -> Vec<u8> {
        let mut file = sample();
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        file
    }

    #[test]
    fn segments_are_read_with_their_bytes() {
        let file = sample();
        let elf = Elf::parse(&file).expect("an ELF file");
        assert_eq!((elf.entry, elf.machine), (0x1010, 62));
        let load = elf.loads().next().expect("one segment");
        assert_eq!(
            (load.vaddr, load.memsz, load.flags, load.data),
            (0x1078, 0x20, PF_R | PF_X, &b"code"[..])
        );
        assert_eq!(elf.section(".note"), Ok(None));
    }

    #[test]
    fn what_is_no_elf_or_cut_off_is_refused() {
        assert!(
            Elf::parse(b"MZ")
                .unwrap_err()
                .to_string()
                .starts_with("ELF header at byte offset 0x0 needs 64")
        );
        let class = Elf::parse(&patched(4, &[1])).unwrap_err().to_string();
        assert!(
            class.contains("a 64-bit little-endian ELF file, found [7f, 45, 4c, 46, 01, 01]"),
            "{class}"
        );
        assert!(
            Elf::parse(&patched(96, &[0xff]))
                .unwrap_err()
                .to_string()
                .starts_with("ELF segment at")
        );
        assert!(
            Elf::parse(&patched(39, &[0xff]))
                .unwrap_err()
                .to_string()
                .starts_with("ELF program header at")
        );
    }
}
