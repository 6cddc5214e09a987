//! Byte formats, one file each: `parse(&[u8])` and `write()`, no policy.
//!
//! Every parser takes hostile bytes: it never panics, never allocates by an unchecked length, and
//! says at which byte offset what was found and what was expected.

pub mod acpi;
pub mod ar;
pub mod arm64_image;
pub mod bzimage;
pub mod cbor;
pub mod cpio;
pub mod deb;
pub mod efi;
pub mod eif;
pub mod elf;
pub mod eventlog;
pub mod fat;
pub mod fdt;
pub mod fv;
pub mod fw_cfg;
pub mod git;
pub mod gpt;
pub mod guid;
pub mod hcl_report;
pub mod id_block;
pub mod igvm;
pub mod kmod_index;
pub mod ld_cache;
pub mod option_rom;
pub mod ovmf;
pub mod pe;
pub mod pem;
pub mod percent;
pub mod se_header;
pub mod se_image;
pub mod sgx;
pub mod sgx_metadata;
pub mod sgx_quote;
pub mod snp_report;
pub mod tar;
pub mod tdvf;
pub mod tdx_quote;
pub mod tpm_quote;
pub mod uefi_compression;
pub mod vmsa;
pub mod x509_name;

use alloc::string::String;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What is wrong with the bytes of a format. One enum serves all parsers, so that every message
/// carries the format's part, the byte offset, and what was found and expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before the structure does.
    #[error("{what} at byte offset {offset:#x} needs {needed} bytes, only {available} are left")]
    Truncated {
        /// The structure that was to be read.
        what: &'static str,
        /// Byte offset from the start of the input.
        offset: usize,
        /// Bytes that the structure needs.
        needed: usize,
        /// Bytes that are left at `offset`.
        available: usize,
    },
    /// A field has a value that the format does not allow.
    #[error("{what} at byte offset {offset:#x}: expected {expected}, found {found}")]
    Value {
        /// The field.
        what: &'static str,
        /// Byte offset from the start of the input.
        offset: usize,
        /// The value that stands there.
        found: String,
        /// What the format allows.
        expected: String,
    },
    /// Something that the input must contain is not in it.
    #[error("no {what} found: {why}")]
    Missing {
        /// The structure that was looked for.
        what: &'static str,
        /// Where it was looked for, or why it is needed.
        why: String,
    },
}

/// Result of a parser.
pub type Result<T> = core::result::Result<T, Error>;

/// Bounds-checked little-endian reads from a slice; every error names the offset.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// A reader at `offset`, which may lie at or behind the end (the next read then fails).
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    /// Byte offset of the next read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.offset)
    }

    /// The next `needed` bytes, as part of `what`.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn take(&mut self, needed: usize, what: &'static str) -> Result<&'a [u8]> {
        let offset = self.offset;
        let taken = offset.checked_add(needed).and_then(|end| self.bytes.get(offset..end));
        let error = Error::Truncated { what, offset, needed, available: self.remaining() };
        let taken = taken.ok_or(error)?;
        self.offset += needed;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let offset = self.offset;
        let taken = self.take(N, what)?;
        taken.try_into().map_err(|_| Error::Truncated { what, offset, needed: N, available: 0 })
    }

    /// The next bytes as a wire structure, which knows its own size and byte order.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn view<T>(&mut self, what: &'static str) -> Result<&'a T>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        let offset = self.offset;
        let taken = self.take(size_of::<T>(), what)?;
        let needed = size_of::<T>();
        T::ref_from_bytes(taken).map_err(|_| Error::Truncated {
            what,
            offset,
            needed,
            available: 0,
        })
    }

    /// The next byte.
    ///
    /// # Errors
    /// No byte is left.
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// The next little-endian 16-bit number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u16(&mut self, what: &'static str) -> Result<u16> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// The next little-endian 32-bit number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// The next little-endian 64-bit number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }
}
