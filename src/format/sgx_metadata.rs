//! Metadata that the Intel SGX SDK's `sgx_sign` leaves in an enclave: section `.note.sgxmeta`.
//!
//! Laid out by `common/inc/internal/metadata.h` of the SDK (intel/linux-sgx); all numbers are
//! little-endian.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::sgx::Sigstruct;
use super::{Error, Reader, Result};

/// `METADATA_MAGIC`.
const MAGIC: u64 = 0x86A8_0294_635D_0E4C;
/// Major versions above this one place the enclave inside a larger address range
/// (`SGX_MAJOR_VERSION_GAP`).
const ELRANGE: u64 = 10;

/// `metadata_t` up to its directories, of which more follow in later versions.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic_num: U64,
    version: U64,
    size: U32,
    tcs_policy: U32,
    ssa_frame_size: U32,
    max_save_buffer_size: U32,
    desired_misc_select: U32,
    tcs_min_pool: U32,
    enclave_size: U64,
    attributes: [U64; 2],
    enclave_css: [u8; size_of::<Sigstruct>()],
    patch: Directory,
    layout: Directory,
}
const _: () = assert!(size_of::<Header>() == 0x750 + 16);

/// `data_directory_t`: a table, by its place in the metadata.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Directory {
    offset: U32,
    size: U32,
}

/// `patch_entry_t`.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PatchEntry {
    dst: U64,
    src: U32,
    size: U32,
    reserved: [U32; 4],
}

/// `layout_entry_t`; a group has the same size and other fields.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LayoutEntry {
    id: U16,
    attributes: U16,
    page_count: U32,
    rva: U64,
    content_size: U32,
    content_offset: U32,
    si_flags: U64,
}

/// `layout_group_t`.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LayoutGroup {
    id: U16,
    entry_count: U16,
    load_times: U32,
    load_step: U64,
    reserved: [U32; 4],
}
const _: () = assert!(size_of::<LayoutGroup>() == size_of::<LayoutEntry>());

/// `GROUP_FLAG` in an entry's `id`.
const GROUP: u16 = 1 << 12;

/// Bytes that replace others in the ELF file before it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch<'a> {
    /// Place in the ELF file.
    pub at: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// A row of the layout table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout<'a> {
    /// Pages to add.
    Pages(Pages<'a>),
    /// The `entries` rows before this one again, `times` times, each `step` bytes further on.
    Again {
        /// Rows to repeat.
        entries: usize,
        /// How often.
        times: u32,
        /// Bytes from one repetition to the next.
        step: u64,
    },
}

/// Pages of the same kind, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages<'a> {
    /// `attributes`: [`EADD`] and [`EEXTEND`], among others.
    pub attributes: u16,
    /// Offset of the first in the enclave.
    pub rva: u64,
    /// How many.
    pub count: u32,
    /// `SECINFO.FLAGS`; 0 for guard pages, which are never added.
    pub flags: u64,
    /// What they hold.
    pub content: Content<'a>,
}

/// What the pages of a layout row hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// These bytes, then zeros.
    Bytes(&'a [u8]),
    /// This number over and over.
    Fill(u32),
}

/// Layout attribute: the page is added before the enclave starts.
pub const EADD: u16 = 1;
/// Layout attribute: the page's contents are measured.
pub const EEXTEND: u16 = 2;

/// The metadata of one enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Version: major in the upper, minor in the lower half.
    pub version: u64,
    /// `SECS.SSAFRAMESIZE`, pages.
    pub ssa_frame_size: u32,
    /// `SECS.SIZE`, bytes.
    pub enclave_size: u64,
    /// The enclave's signature.
    pub sigstruct: Sigstruct,
    /// What to change in the ELF file before it is loaded.
    pub patches: Vec<Patch<'a>>,
    /// What to load behind the ELF file.
    pub layout: Vec<Layout<'a>>,
}

impl<'a> Metadata<'a> {
    /// Reads the section's note. An enclave that runs on older systems too carries the metadata of
    /// each version, one behind the other; they measure alike, and the first is read.
    ///
    /// # Errors
    /// Not the SDK's note, a version whose layout this module does not know, or a table outside.
    pub fn parse(section: &'a [u8]) -> Result<Self> {
        let bytes = note(section)?;
        let header: &Header = Reader::new(bytes).view("SGX metadata")?;
        let refuse = |what, offset, found: u64, expected: &str| {
            let (found, expected) = (format!("{found:#x}"), expected.to_string());
            Err(Error::Value { what, offset, found, expected })
        };
        match (header.magic_num.get(), header.version.get() >> 32) {
            (MAGIC, 1..=ELRANGE) => {}
            (MAGIC, _) => {
                let expected = "a major version of 1 to 10 (above: an enclave at a fixed address)";
                return refuse("SGX metadata version", 8, header.version.get(), expected);
            }
            (other, _) => return refuse("SGX metadata magic", 0, other, "0x86a80294635d0e4c"),
        }
        Ok(Self {
            version: header.version.get(),
            ssa_frame_size: header.ssa_frame_size.get(),
            enclave_size: header.enclave_size.get(),
            sigstruct: Sigstruct::parse(&header.enclave_css)?,
            patches: rows(bytes, &header.patch, patch)?,
            layout: rows(bytes, &header.layout, layout)?,
        })
    }
}

/// Name of the note, with its terminator.
const NOTE: &[u8] = b"sgx_metadata\0";

/// Descriptor of the section's note. Unlike the ELF specification has it, the SDK does not pad the
/// name (`get_meta_property` in `psw/urts/parser/elfparser.cpp`).
fn note(section: &[u8]) -> Result<&[u8]> {
    let mut reader = Reader::new(section);
    let head: &[U32; 3] = reader.view("SGX metadata note")?;
    let name = reader.take(size(head[0]), "SGX metadata note name")?;
    if name != NOTE {
        let found = alloc::string::String::from_utf8_lossy(name).into_owned();
        let expected = "sgx_metadata".to_string();
        return Err(Error::Value { what: "SGX metadata note name", offset: 12, found, expected });
    }
    reader.take(size(head[1]), "SGX metadata")
}

fn size(value: U32) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

/// Every row of a table, each as long as a [`LayoutEntry`].
fn rows<'a, T>(
    bytes: &'a [u8],
    table: &Directory,
    row: fn(&'a [u8], &mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let start = size(table.offset);
    let length = Reader::at(bytes, start).take(size(table.size), "SGX metadata table")?.len();
    let mut reader = Reader::at(bytes, start);
    (0..length / size_of::<LayoutEntry>()).map(|_| row(bytes, &mut reader)).collect()
}

fn patch<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<Patch<'a>> {
    let entry: &PatchEntry = reader.view("SGX patch entry")?;
    let source = Reader::at(bytes, size(entry.src)).take(size(entry.size), "SGX patch")?;
    Ok(Patch { at: entry.dst.get(), bytes: source })
}

fn layout<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<Layout<'a>> {
    let mut again = *reader;
    let entry: &LayoutEntry = reader.view("SGX layout entry")?;
    if entry.id.get() & GROUP != 0 {
        let group: &LayoutGroup = again.view("SGX layout group")?;
        return Ok(Layout::Again {
            entries: group.entry_count.get().into(),
            times: group.load_times.get(),
            step: group.load_step.get(),
        });
    }
    let mut content = Reader::at(bytes, size(entry.content_offset));
    let content = match entry.content_offset.get() {
        0 => Content::Fill(entry.content_size.get()),
        _ => Content::Bytes(content.take(size(entry.content_size), "SGX layout content")?),
    };
    Ok(Layout::Pages(Pages {
        attributes: entry.attributes.get(),
        rva: entry.rva.get(),
        count: entry.page_count.get(),
        flags: entry.si_flags.get(),
        content,
    }))
}
