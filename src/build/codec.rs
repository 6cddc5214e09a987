//! Compression, in process: the bits depend on the locked library and the level, never on a tool
//! of the host, the number of CPUs or how the bytes arrive.

use std::io::{Read, Write};

use anyhow::{Context as _, Result, ensure};
use liblzma::stream::{Check, MtStreamBuilder, Stream};

use crate::format::deb::Compression;

/// Forms that the kernel unpacks an initrd from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    None,
    /// gzip (RFC 1952) without name and time, level 1 to 9.
    Gzip(u32),
    /// xz in blocks, with CRC-32, the check that the kernel knows; preset 0 to 9.
    Xz(u32),
    /// Zstandard with its size and checksum; level 1 to 19, above which the kernel lacks the window.
    Zstd(u32),
    /// LZ4 blocks of 8 MiB in the legacy frame, the one that the kernel reads.
    Lz4,
}

impl Form {
    fn check(self) -> Result<()> {
        let (name, level, levels) = match self {
            Self::None | Self::Lz4 => return Ok(()),
            Self::Gzip(level) => ("gzip", level, 1..=9),
            Self::Xz(level) => ("xz", level, 0..=9),
            Self::Zstd(level) => ("zstd", level, 1..=19),
        };
        let (least, most) = (levels.start(), levels.end());
        ensure!(levels.contains(&level), "{name} has levels {least} to {most}, not {level}");
        Ok(())
    }
}

/// Compresses the `size` bytes that `fill` writes, with up to `threads` threads. Their number
/// changes the time, not the result.
///
/// # Errors
/// The level does not exist, `fill` fails, or it writes another number of bytes.
pub fn compress(
    form: Form,
    size: u64,
    threads: u32,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Vec<u8>> {
    form.check()?;
    let out = Vec::new();
    Ok(match form {
        Form::None => {
            let mut out = Vec::with_capacity(usize::try_from(size)?);
            fill(&mut out)?;
            out
        }
        Form::Gzip(level) => {
            let head = flate2::GzBuilder::new().mtime(0).operating_system(255);
            let mut encoder = head.write(out, flate2::Compression::new(level));
            in_pieces(PIECE, fill, |piece| encoder.write_all(piece))?;
            encoder.finish()?
        }
        Form::Xz(level) => {
            let mut encoder = liblzma::write::XzEncoder::new_stream(out, xz(level, threads)?);
            in_pieces(PIECE, fill, |piece| encoder.write_all(piece))?;
            encoder.finish()?
        }
        Form::Zstd(level) => {
            let mut encoder = zstd::Encoder::new(out, i32::try_from(level)?)?;
            // Without a stated size, or without workers, the same level gives other bytes.
            encoder.set_pledged_src_size(Some(size))?;
            encoder.include_checksum(true)?;
            encoder.multithread(threads.max(1))?;
            in_pieces(PIECE, fill, |piece| encoder.write_all(piece))?;
            encoder.finish()?
        }
        Form::Lz4 => lz4_legacy(out, fill)?,
    })
}

/// The encoder that cuts its input in blocks also runs where there is one thread: the plain one
/// would give other bytes.
fn xz(level: u32, threads: u32) -> Result<Stream> {
    let mut builder = MtStreamBuilder::new();
    let builder = builder.preset(level).check(Check::Crc32).threads(threads.max(1));
    builder.encoder().context("xz encoder")
}

/// LZ4 legacy frame (lz4 `doc/lz4_Frame_format.md`, «Legacy frame»): a magic number, then blocks
/// of 8 MiB, each behind the length of its compressed form.
fn lz4_legacy(
    mut out: Vec<u8>,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Vec<u8>> {
    out.extend(0x184C_2102_u32.to_le_bytes());
    in_pieces(8 << 20, fill, |block| {
        let packed = lz4_flex::block::compress(block);
        let length = u32::try_from(packed.len()).map_err(std::io::Error::other)?;
        out.extend(length.to_le_bytes());
        out.extend(packed);
        Ok(())
    })?;
    Ok(out)
}

/// Bytes that an encoder gets at once. Some encoders' results depend on it, so it is part of the
/// measured bytes.
const PIECE: usize = 1 << 20;

/// Cuts what `fill` writes in pieces of `size` bytes, of which only the last is shorter.
fn in_pieces(
    size: usize,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
    each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<()> {
    let mut pieces = Pieces { size, piece: Vec::with_capacity(size), each };
    fill(&mut pieces)?;
    if !pieces.piece.is_empty() {
        (pieces.each)(&pieces.piece)?;
    }
    Ok(())
}

struct Pieces<F> {
    size: usize,
    piece: Vec<u8>,
    each: F,
}

impl<F: FnMut(&[u8]) -> std::io::Result<()>> Write for Pieces<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.size - self.piece.len());
        self.piece.extend(&bytes[..taken]);
        if self.piece.len() == self.size {
            (self.each)(&self.piece)?;
            self.piece.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Memory that the xz decoder may take: a dictionary of preset 9 needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Unpacks `bytes`, at most `limit` bytes of them: a small file that grows without end is refused.
///
/// # Errors
/// The bytes are broken, or there are more than `limit`.
pub fn decompress(compression: Compression, bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
    match compression {
        Compression::None => limited("none", bytes, limit),
        Compression::Gzip => limited("gzip", flate2::bufread::MultiGzDecoder::new(bytes), limit),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            limited("xz", liblzma::bufread::XzDecoder::new_stream(bytes, stream), limit)
        }
        Compression::Zstd => limited("zstd", zstd::Decoder::with_buffer(bytes)?, limit),
    }
}

/// All that `reader` gives, if that is at most `limit` bytes.
pub(super) fn limited(form: &'static str, reader: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(limit + 1).read_to_end(&mut out).context(form)?;
    ensure!(out.len() as u64 <= limit, "unpacked it has more than {limit} bytes");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMS: &[Form] =
        &[Form::None, Form::Gzip(6), Form::Xz(0), Form::Zstd(3), Form::Zstd(12), Form::Lz4];

    /// Text that compresses like text and is long enough for several jobs of each encoder.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let words = std::iter::from_fn(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(format!("{:x} ", state >> 18))
        });
        words.flat_map(String::into_bytes).take(length).collect()
    }

    fn pack(form: Form, bytes: &[u8], threads: u32, piece: usize) -> Vec<u8> {
        let fill = |out: &mut dyn Write| {
            bytes.chunks(piece).try_for_each(|piece| out.write_all(piece)).map_err(Into::into)
        };
        compress(form, bytes.len() as u64, threads, fill).unwrap()
    }

    #[test]
    fn neither_threads_nor_pieces_change_the_bytes() {
        for length in [0, 1000, 10_000_000] {
            let bytes = sample(length);
            for form in FORMS {
                let one = pack(*form, &bytes, 1, 1 << 20);
                assert!(one == pack(*form, &bytes, 4, 777), "{form:?}, {length} bytes");
            }
        }
    }

    /// A change here changes every measured initrd of that form: raise the form's number in
    /// `lock::WRITERS` before these digests.
    #[test]
    fn encoders_of_version_1_give_these_bytes() {
        let bytes = sample(3_000_000);
        let golden = [
            (Form::Gzip(9), "66321f5dd08142a12d520920b7789b1da02ef11413f99c34f86b84db977059c2"),
            (Form::Xz(6), "94783dda07708e4ef277b7deed0c38b27594d88458ed3eda3143e0646e7be05b"),
            (Form::Zstd(3), "88c19fe80dbddc2db79c1253b7b016f35c3c537ebe773df6d37e7321549dcb2a"),
            (Form::Zstd(19), "aa9099e62dc0c35a74b56dac5a97c5f22a125afe6dab238b02b243d9911d80be"),
            (Form::Lz4, "9fad316e928df3b419f2c85dea7064b0162b09980d967372023ff4610dbcc5a6"),
        ];
        for (form, digest) in golden {
            let found = crate::digest::Sha256::of(&pack(form, &bytes, 2, 1 << 16));
            assert_eq!(found.to_string(), digest, "{form:?}");
        }
    }

    #[test]
    fn what_is_packed_unpacks_within_its_limit_only() {
        let bytes = sample(100_000);
        let pairs = [
            (Form::None, Compression::None),
            (Form::Gzip(9), Compression::Gzip),
            (Form::Xz(1), Compression::Xz),
            (Form::Zstd(1), Compression::Zstd),
        ];
        for (form, compression) in pairs {
            let packed = pack(form, &bytes, 2, 4096);
            assert!(decompress(compression, &packed, 100_000).unwrap() == bytes, "{form:?}");
            let error = decompress(compression, &packed, 99_999).unwrap_err().to_string();
            assert_eq!(error, "unpacked it has more than 99999 bytes");
            if compression != Compression::None {
                assert!(decompress(compression, &packed[..packed.len() - 9], 1 << 30).is_err());
                assert!(decompress(compression, b"?", 10).is_err());
            }
        }
    }

    #[test]
    fn lz4_is_the_legacy_frame() {
        let bytes = sample((8 << 20) + 5);
        let packed = pack(Form::Lz4, &bytes, 1, 1 << 16);
        assert_eq!(packed[..4], [0x02, 0x21, 0x4c, 0x18]);
        let length = u32::from_le_bytes(packed[4..8].try_into().unwrap()) as usize;
        let first = lz4_flex::block::decompress(&packed[8..8 + length], 8 << 20).unwrap();
        let rest = lz4_flex::block::decompress(&packed[12 + length..], 5).unwrap();
        assert!([first, rest].concat() == bytes);
    }

    #[test]
    fn levels_that_do_not_exist_are_refused() {
        for form in [Form::Gzip(0), Form::Xz(10), Form::Zstd(20)] {
            let error = compress(form, 0, 1, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains("has levels"), "{error}");
        }
    }
}
