//! Initial RAM disks: segments, and the files in them.

use anyhow::{Context as _, ensure};

use super::{Fact, Facts};
use crate::build::codec;
use crate::digest::Sha256;
use crate::format::cpio::{self, Entry, kind};
use crate::format::deb::Compression;

/// Bytes to which a segment is unpacked at most.
const MAX_UNPACKED: u64 = 2 << 30;

/// Segments at most; early microcode makes two or three.
const MAX_SEGMENTS: usize = 64;

/// Magic numbers of what a kernel unpacks (Linux `lib/decompress.c`).
const MAGICS: &[(&[u8], Compression)] = &[
    (b"\x1f\x8b", Compression::Gzip),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
];

fn is_cpio(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

fn compression(bytes: &[u8]) -> Option<Compression> {
    MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, compression)| *compression)
}

pub(super) fn is_initrd(bytes: &[u8]) -> bool {
    is_cpio(bytes) || compression(bytes).is_some()
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let mut segments = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        ensure!(segments.len() < MAX_SEGMENTS, "more than {MAX_SEGMENTS} segments");
        let offset = bytes.len() - rest.len();
        let told = |what: &str| format!("segment {} at {offset:#x}: {what}", segments.len());
        if is_cpio(rest) {
            let (entries, length) = cpio::parse(rest).with_context(|| told("cpio"))?;
            segments.push(segment("none", &entries));
            rest = rest.get(length..).unwrap_or_default();
        } else if let Some(compression) = compression(rest) {
            // A compressed segment is the last: the kernel's unpackers take all that follows.
            let contents = codec::decompress(compression, rest, MAX_UNPACKED);
            let contents = contents.with_context(|| told("compressed"))?;
            ensure!(is_cpio(&contents), told("what was compressed is no cpio archive"));
            let (entries, _) = cpio::parse(&contents).with_context(|| told("cpio"))?;
            segments.push(segment(&format!("{compression:?}").to_lowercase(), &entries));
            rest = &[];
        } else {
            ensure!(rest.iter().all(|byte| *byte == 0), told("neither cpio nor compressed"));
            rest = &[];
        }
    }
    let sha256 = Sha256::of(bytes).to_string();
    Ok(Facts::default().with("sha256", sha256).with("segments", segments))
}

fn segment(compression: &str, entries: &[Entry<'_>]) -> Fact {
    let files = entries
        .iter()
        .map(|entry| Facts::default().with("path", &*entry.path).with("is", is(entry)));
    Facts::default()
        .with("compression", compression)
        .with("files", files.collect::<Vec<_>>())
        .into()
}

/// Type, rights, owner and contents in one line.
fn is(entry: &Entry<'_>) -> String {
    let what = match entry.mode & kind::MASK {
        kind::FILE => format!("file {} sha256:{}", entry.data.len(), Sha256::of(entry.data)),
        kind::DIRECTORY => "directory".to_string(),
        kind::SYMLINK => format!("link to {}", String::from_utf8_lossy(entry.data)),
        kind::CHAR => format!("character device {}:{}", entry.device.0, entry.device.1),
        kind::BLOCK => format!("block device {}:{}", entry.device.0, entry.device.1),
        kind::FIFO => "named pipe".to_string(),
        other => format!("type {other:#o}"),
    };
    let Entry { mode, uid, gid, time, .. } = entry;
    format!("{:04o} {uid}:{gid} {what}, time {time}", mode & 0o7777)
}
