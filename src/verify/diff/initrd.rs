//! Two initial RAM disks, file by file: contents are compared, not hashed, so that large ones take no
//! longer than unpacking them.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{Change, text};
use crate::digest::Sha256;
use crate::format::cpio::{Entry, kind};
use crate::verify::inspect::initrd::{self, Archive};

/// Longest file that a text difference is made of.
const MAX_TEXT: usize = 1 << 20;

/// What changed from one to the other.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn changes(before: &[u8], after: &[u8]) -> Result<Vec<Change>> {
    let (before, after) = rayon::join(|| initrd::archives(before), || initrd::archives(after));
    let (before, after) = (before?, after?);
    let mut found = Vec::new();
    let packed = |archives: &[Archive<'_>]| {
        archives.iter().map(|archive| archive.compression).collect::<Vec<_>>().join(", then ")
    };
    let (a, b) = (packed(&before), packed(&after));
    if a != b {
        found.push(Change::of("compression", Some(a), Some(b)));
    }
    let (before, after) = (entries(&before)?, entries(&after)?);
    let (a, b) = (files(&before), files(&after));
    let mut paths: Vec<_> = a.keys().chain(b.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let place = |path: &str| format!("/{}", path.trim_start_matches("./").trim_start_matches('/'));
    for path in paths {
        match (a.get(path), b.get(path)) {
            (Some(before), Some(after)) => found.extend(changed(&place(path), before, after)),
            (before, after) => {
                let told = |entry: Option<&&Entry<'_>>| entry.map(|entry| whole(entry));
                found.push(Change::of(&place(path), told(before), told(after)));
            }
        }
    }
    let order = |entries: &[Entry<'_>]| {
        entries.iter().map(|entry| entry.path.to_string()).collect::<Vec<_>>()
    };
    if found.is_empty() && order(&before) != order(&after) {
        let what = ("as before", "the same files in another order");
        found.push(Change::of("order", Some(what.0.into()), Some(what.1.into())));
    }
    Ok(found)
}

type Files<'a> = BTreeMap<&'a str, &'a Entry<'a>>;

fn entries<'a>(archives: &'a [Archive<'_>]) -> Result<Vec<Entry<'a>>> {
    let all: Vec<_> = archives.iter().map(Archive::entries).collect::<Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// Every file; of a path that comes twice, what the kernel unpacks last.
fn files<'a>(entries: &'a [Entry<'a>]) -> Files<'a> {
    entries.iter().map(|entry| (&*entry.path, entry)).collect()
}

/// One path of both: each thing about it that is otherwise.
fn changed(at: &str, before: &Entry<'_>, after: &Entry<'_>) -> Vec<Change> {
    let mut found = Vec::new();
    let mut tell = |what: &str, a: String, b: String| {
        if a != b {
            found.push(Change::of(&format!("{at} › {what}"), Some(a), Some(b)));
        }
    };
    let mode = |entry: &Entry<'_>| format!("{:04o}", entry.mode & 0o7777);
    tell("type", initrd::kind_name(before.mode).into(), initrd::kind_name(after.mode).into());
    tell("mode", mode(before), mode(after));
    let owner = |entry: &Entry<'_>| format!("{}:{}", entry.uid, entry.gid);
    tell("owner", owner(before), owner(after));
    tell("time", before.time.to_string(), after.time.to_string());
    let device = |entry: &Entry<'_>| format!("{}:{}", entry.device.0, entry.device.1);
    tell("device", device(before), device(after));
    if before.data != after.data {
        let mut change =
            Change::of(&format!("{at} › contents"), Some(contents(before)), Some(contents(after)));
        if before.data.len().max(after.data.len()) <= MAX_TEXT {
            change.diff = text::diff(before.data, after.data);
        }
        found.push(change);
    }
    found
}

fn contents(entry: &Entry<'_>) -> String {
    match entry.mode & kind::MASK {
        kind::SYMLINK => format!("→ {}", String::from_utf8_lossy(entry.data)),
        _ => format!("{} bytes, sha256:{}", entry.data.len(), Sha256::of(entry.data)),
    }
}

fn whole(entry: &Entry<'_>) -> String {
    let Entry { mode, uid, gid, .. } = entry;
    let mut words = format!("{} {:04o} {uid}:{gid}", initrd::kind_name(*mode), mode & 0o7777);
    if matches!(mode & kind::MASK, kind::FILE | kind::SYMLINK) {
        words.push_str(", ");
        words.push_str(&contents(entry));
    }
    words
}
