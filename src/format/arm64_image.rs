//! The Linux kernel's `Image` on arm64 (Documentation/arch/arm64/booting.rst, section 4).

use alloc::format;
use alloc::string::ToString;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{Error, Reader, Result};

/// `ARM\x64`, at byte 56.
const MAGIC: u32 = 0x644d_5241;

/// The decompressed kernel image header.
#[derive(Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    code: [U32; 2],
    text_offset: U64,
    image_size: U64,
    flags: U64,
    reserved: [U64; 3],
    magic: U32,
    pe_offset: U32,
}
const _: () = assert!(size_of::<Header>() == 64);

/// What a loader needs to know of a kernel image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Bytes from a 2 MiB boundary at which the image is loaded.
    pub text_offset: u64,
    /// Bytes that the kernel takes in memory, its zeroed data included.
    pub image_size: u64,
}

impl Image {
    /// Reads the header.
    ///
    /// # Errors
    /// Not an uncompressed arm64 kernel image.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let header: &Header = Reader::new(bytes).view("arm64 kernel image header")?;
        if header.magic != MAGIC {
            let known = [(&b"\x7fELF"[..], "an ELF file"), (b"\x1f\x8b", "a gzip file")];
            let kind = known.iter().find(|(magic, _)| bytes.starts_with(magic));
            let found =
                kind.map_or(format!("{:#010x}", header.magic), |(_, name)| name.to_string());
            let expected = "0x644d5241, of an uncompressed `Image`".to_string();
            return Err(Error::Value { what: "arm64 kernel magic", offset: 56, found, expected });
        }
        Ok(Self { text_offset: header.text_offset.get(), image_size: header.image_size.get() })
    }
}

/// A kernel of `length` bytes, for tests of this and other modules.
#[cfg(test)]
pub(crate) fn sample(length: usize, image_size: u64) -> alloc::vec::Vec<u8> {
    let mut image: alloc::vec::Vec<u8> =
        (0..length).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
    image[8..16].fill(0);
    image[16..24].copy_from_slice(&image_size.to_le_bytes());
    image[56..60].copy_from_slice(&MAGIC.to_le_bytes());
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_and_other_files_are_named() {
        let image = Image::parse(&sample(100, 0x2d1_0000));
        assert_eq!(image, Ok(Image { text_offset: 0, image_size: 0x2d1_0000 }));
        let mut elf = sample(100, 1);
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[56] = 0;
        let elf = Image::parse(&elf).unwrap_err().to_string();
        assert!(
            elf.ends_with("expected 0x644d5241, of an uncompressed `Image`, found an ELF file"),
            "{elf}"
        );
        assert!(Image::parse(b"short").is_err());
    }
}
