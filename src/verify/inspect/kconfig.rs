//! The configuration that a kernel carries (`CONFIG_IKCONFIG`, Linux `kernel/configs.c`): compressed
//! between two marks, in an image that is itself compressed.

use std::io::Read as _;

use super::Facts;
use crate::build::codec;
use crate::format::bzimage;
use crate::format::deb::Compression;

/// What stands before the configuration.
const START: &[u8] = b"IKCFG_ST";

/// Bytes to which a kernel, and its configuration, are unpacked at most.
const MAX_KERNEL: u64 = 256 << 20;
const MAX_TEXT: u64 = 8 << 20;

/// Every option of the kernel in `bytes` with its value, where it tells them. Kernels packed by LZ4,
/// LZO, bzip2 or LZMA are not looked into.
pub(super) fn configuration(bytes: &[u8]) -> Option<Facts> {
    let text = text(bytes).or_else(|| text(&unpacked(bytes)?))?;
    let mut options: Vec<_> = text.lines().filter_map(option).collect();
    options.sort_unstable();
    let all = options.into_iter();
    (all.len() > 0).then(|| all.fold(Facts::default(), |all, (name, value)| all.with(name, value)))
}

fn text(kernel: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(kernel, START)?;
    let packed = kernel.get(at + START.len()..)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).take(MAX_TEXT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `CONFIG_X=y`, or the remark that X is not set.
fn option(line: &str) -> Option<(&str, &str)> {
    let unset = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"));
    let named = |name: &&str| name.starts_with("CONFIG_");
    match unset.filter(named) {
        Some(name) => Some((name, "n")),
        None => line.split_once('=').filter(|(name, _)| named(name)),
    }
}

/// The kernel without its own unpacker. Behind all forms but gzip stands the unpacked size, 4 bytes
/// (Linux `scripts/Makefile.lib`, `size_append`).
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let payload = bzimage::payload(bytes).ok()??;
    let compression = super::initrd::compression(payload)?;
    let end = match compression {
        Compression::Gzip => payload.len(),
        _ => payload.len().saturating_sub(4),
    };
    codec::decompress(compression, payload.get(..end)?, MAX_KERNEL).ok()
}
