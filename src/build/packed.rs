//! Forms in which a kernel or a RAM disk is packed, told by their magic numbers (Linux
//! `lib/decompress.c`).

use anyhow::{Context as _, Result, bail, ensure};
use liblzma::stream::Stream;

use super::codec;
use crate::format::deb::Compression;

/// A form that the kernel unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// RFC 1952.
    Gzip,
    /// What `bzip2` makes.
    Bzip2,
    /// The form before xz, of one stream and without a check (`lzma -9`).
    Lzma,
    /// What `xz` makes.
    Xz,
    /// What `lzop` makes.
    Lzo,
    /// The legacy frame of LZ4 (lz4 `doc/lz4_Frame_format.md`).
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// Magic numbers, longer than the two bytes that the kernel looks at, so that other files are not
/// taken for these.
const MAGICS: &[(&[u8], Packed)] = &[
    (b"\x1f\x8b", Packed::Gzip),
    (b"BZh", Packed::Bzip2),
    (b"\xfd7zXZ\0", Packed::Xz),
    (b"\x89LZO\0\r\n\x1a\n", Packed::Lzo),
    (&LZ4, Packed::Lz4),
    (b"\x28\xb5\x2f\xfd", Packed::Zstd),
];

/// What an LZ4 legacy frame begins with, and what its blocks unpack to at most.
const LZ4: [u8; 4] = 0x184C_2102_u32.to_le_bytes();
const LZ4_BLOCK: usize = 8 << 20;

/// Memory that the LZMA decoder may take.
const LZMA_MEMORY: u64 = 256 << 20;

impl Packed {
    /// The form of `bytes`, if they are packed.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let known = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic));
        known.map(|(_, form)| *form).or_else(|| is_lzma(bytes).then_some(Self::Lzma))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Unpacks `bytes`, at most `limit` bytes of them.
    ///
    /// # Errors
    /// The bytes are broken, there are more than `limit`, or this tool does not unpack the form.
    pub fn unpack(self, bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
        match self {
            Self::Gzip => codec::decompress(Compression::Gzip, bytes, limit),
            Self::Xz => codec::decompress(Compression::Xz, bytes, limit),
            Self::Zstd => codec::decompress(Compression::Zstd, bytes, limit),
            Self::Lz4 => lz4(bytes, limit).context("lz4"),
            Self::Lzma => {
                let stream = Stream::new_lzma_decoder(LZMA_MEMORY)?;
                let reader = liblzma::bufread::XzDecoder::new_stream(bytes, stream);
                codec::limited(self.name(), reader, limit)
            }
            Self::Bzip2 | Self::Lzo => {
                bail!("it is packed by {}, which this tool does not unpack", self.name())
            }
        }
    }
}

/// LZMA has no magic number: usual properties (lc 3, lp 0, pb 2), a dictionary of whole 64 KiB, and a
/// size that is unknown or below 2^40 (liblzma `doc/lzma-file-format.txt`).
fn is_lzma(bytes: &[u8]) -> bool {
    let [0x5d, 0, 0, dictionary @ .., a, b, c, d, e, f, g, h] = bytes.get(..13).unwrap_or(&[])
    else {
        return false;
    };
    let size = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
    dictionary != [0, 0] && (size == u64::MAX || size < 1 << 40)
}

/// Blocks, each behind its packed length; where nothing more is told, zeros or the end follow.
fn lz4(bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
    let (mut out, mut block) = (Vec::new(), vec![0; LZ4_BLOCK]);
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        rest = behind;
        let length = match *length {
            LZ4 => continue, // frames one behind the other
            [0, 0, 0, 0] => break,
            length => usize::try_from(u32::from_le_bytes(length))?,
        };
        let at = bytes.len() - rest.len();
        let packed = rest.get(..length);
        let packed = packed.with_context(|| format!("the block at {at:#x} is cut"))?;
        let unpacked = lz4_flex::block::decompress_into(packed, &mut block);
        let unpacked = unpacked.with_context(|| format!("the block at {at:#x}"))?;
        out.extend(&block[..unpacked]);
        ensure!(out.len() as u64 <= limit, "unpacked it has more than {limit} bytes");
        rest = &rest[length..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn lzma(bytes: &[u8]) -> Vec<u8> {
        let options = liblzma::stream::LzmaOptions::new_preset(6).expect("a preset");
        let stream = Stream::new_lzma_encoder(&options).expect("an encoder");
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn lz4_frame(blocks: &[&[u8]]) -> Vec<u8> {
        let block = |block: &&[u8]| {
            let packed = lz4_flex::block::compress(block);
            let length = u32::try_from(packed.len()).expect("short").to_le_bytes();
            [&length[..], &packed].concat()
        };
        [&LZ4[..], &blocks.iter().flat_map(block).collect::<Vec<_>>()].concat()
    }

    #[test]
    fn forms_are_told_and_unpacked() {
        let text = b"what is packed ".repeat(100);
        let parts: Vec<_> = text.chunks(400).collect();
        let padded = [lz4_frame(&parts), vec![0; 8]].concat();
        for (bytes, form) in [(lzma(&text), Packed::Lzma), (padded, Packed::Lz4)] {
            assert_eq!(Packed::of(&bytes), Some(form));
            assert!(form.unpack(&bytes, 1500).is_ok_and(|unpacked| unpacked == text));
            let error = form.unpack(&bytes, 1000).expect_err("too long");
            assert!(format!("{error:#}").contains("more than 1000 bytes"), "{error:#}");
            for end in 0..bytes.len() - 9 {
                let _ = form.unpack(&bytes[..end], 1500);
            }
        }
        let bzip2 = Packed::of(b"BZh91AY&SY").expect("bzip2");
        let error = bzip2.unpack(b"BZh91AY&SY", 10).expect_err("not unpacked").to_string();
        assert_eq!(error, "it is packed by bzip2, which this tool does not unpack");
        assert_eq!(Packed::of(b"\x5d\0\0\0\0\xff\xff"), None);
    }

    #[test]
    fn a_length_of_4_gib_is_refused() {
        let bytes = [&LZ4[..], &[0xff; 8]].concat();
        let error = Packed::Lz4.unpack(&bytes, 1 << 20).expect_err("cut");
        assert_eq!(format!("{error:#}"), "lz4: the block at 0x8 is cut");
    }
}
