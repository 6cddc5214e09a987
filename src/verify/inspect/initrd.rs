//! Initial RAM disks: segments, and the files in them.

use std::borrow::Cow;

use anyhow::{Context as _, ensure};

use super::{Fact, Facts};
use crate::build::packed::Packed;
use crate::digest::Sha256;
use crate::format::cpio::{self, Entry, kind};

/// Bytes to which a segment is unpacked at most, by what it is packed to: RAM disks hold programs, which
/// shrink to a third or a tenth.
fn most(packed: usize) -> u64 {
    const MOST: u64 = 2 << 30;
    (packed as u64).saturating_mul(256).saturating_add(64 << 20).min(MOST)
}

/// Segments at most; early microcode makes two or three.
const MAX_SEGMENTS: usize = 64;

fn is_cpio(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

pub(super) fn is_initrd(bytes: &[u8]) -> bool {
    is_cpio(bytes) || Packed::of(bytes).is_some()
}

/// One archive of a RAM disk, unpacked.
pub(crate) struct Archive<'a> {
    /// How it is compressed, or `none`.
    pub(crate) compression: &'static str,
    bytes: Cow<'a, [u8]>,
    place: String,
}

impl Archive<'_> {
    /// Its files, in order.
    ///
    /// # Errors
    /// It is no cpio archive.
    pub(crate) fn entries(&self) -> anyhow::Result<Vec<Entry<'_>>> {
        let (entries, _) = cpio::parse(&self.bytes).with_context(|| self.place.clone())?;
        Ok(entries)
    }
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let archives = archives(bytes)?;
    let segments: Vec<_> = archives.iter().map(segment).collect::<anyhow::Result<_>>()?;
    let sha256 = Sha256::of(bytes).to_string();
    Ok(Facts::default().with("sha256", sha256).with("segments", segments))
}

/// The archives of a RAM disk.
///
/// # Errors
/// Something in it is neither an archive nor compressed, or is cut.
pub(crate) fn archives(bytes: &[u8]) -> anyhow::Result<Vec<Archive<'_>>> {
    let mut archives = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        ensure!(archives.len() < MAX_SEGMENTS, "more than {MAX_SEGMENTS} segments");
        let offset = bytes.len() - rest.len();
        let told = |what: &str| format!("segment {} at {offset:#x}: {what}", archives.len());
        if is_cpio(rest) {
            let (_, length) = cpio::parse(rest).with_context(|| told("cpio"))?;
            let (archive, behind) = rest.split_at(length.min(rest.len()));
            let bytes = Cow::Borrowed(archive);
            archives.push(Archive { compression: "none", bytes, place: told("cpio") });
            rest = behind;
        } else if let Some(form) = Packed::of(rest) {
            // A compressed segment is the last: the kernel's unpackers take all that follows.
            let contents = form.unpack(rest, most(rest.len()));
            let contents = contents.with_context(|| told("compressed"))?;
            ensure!(is_cpio(&contents), told("what was compressed is no cpio archive"));
            let (compression, bytes) = (form.name(), Cow::Owned(contents));
            archives.push(Archive { compression, bytes, place: told("cpio") });
            rest = &[];
        } else {
            ensure!(rest.iter().all(|byte| *byte == 0), told("neither cpio nor compressed"));
            rest = &[];
        }
    }
    Ok(archives)
}

fn segment(archive: &Archive<'_>) -> anyhow::Result<Fact> {
    let entries = archive.entries()?;
    let files = entries.iter();
    let files =
        files.map(|entry| Facts::default().with("path", &*entry.path).with("is", is(entry)));
    let facts = Facts::default().with("compression", archive.compression);
    Ok(facts.with("files", files.collect::<Vec<_>>()).into())
}

/// What an entry is, by its mode.
pub(crate) fn kind_name(mode: u32) -> &'static str {
    match mode & kind::MASK {
        kind::FILE => "file",
        kind::DIRECTORY => "directory",
        kind::SYMLINK => "link",
        kind::CHAR => "character device",
        kind::BLOCK => "block device",
        kind::FIFO => "named pipe",
        _ => "something else",
    }
}

/// Type, rights, owner and contents in one line.
fn is(entry: &Entry<'_>) -> String {
    let name = kind_name(entry.mode);
    let what = match entry.mode & kind::MASK {
        kind::FILE => format!("{name} {} sha256:{}", entry.data.len(), Sha256::of(entry.data)),
        kind::SYMLINK => format!("{name} to {}", String::from_utf8_lossy(entry.data)),
        kind::CHAR | kind::BLOCK => format!("{name} {}:{}", entry.device.0, entry.device.1),
        _ => name.to_string(),
    };
    let Entry { mode, uid, gid, time, .. } = entry;
    format!("{:04o} {uid}:{gid} {what}, time {time}", mode & 0o7777)
}
