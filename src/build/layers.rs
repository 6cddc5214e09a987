//! Files out of sources that are archives: a tarball, a crate, a commit, the layers of an image.

use anyhow::{Context as _, Result, bail, ensure};

use super::codec;
use super::inputs::Inputs;
use crate::format::deb::Compression;
use crate::format::tar::{self, Entry, Kind};
use crate::recipe::{Source, SourceFile};
use crate::store::Expected;

/// Most bytes of an archive, unpacked.
const LIMIT: u64 = 16 << 30;

/// Links that are followed to a file.
const MAX_LINKS: usize = 8;

/// Archives of a source, the lowest first, and whether paths in them begin with a directory that
/// does not count.
pub struct Layers {
    /// In the store.
    pub archives: Vec<Expected>,
    /// True for crates and commits.
    pub below_top: bool,
}

/// The archives of the source `name`.
///
/// # Errors
/// It is a source without archives, or the lock has none of it.
pub fn of(inputs: Inputs<'_>, name: &str) -> Result<Layers> {
    let source = inputs.recipe.sources.get(name);
    let source = source.with_context(|| format!("there is no source `{name}`"))?;
    let files = inputs.lock.files_of(name);
    let files = files.map(|file| Expected { sha256: file.sha256, size: file.size });
    let commits = inputs.lock.commits.iter().filter(|commit| commit.source == name);
    let commits = commits.map(|commit| Expected { sha256: commit.sha256, size: commit.size });
    let (archives, below_top): (Vec<_>, _) = match source {
        Source::Archive(_) | Source::Oci(_) => (files.collect(), false),
        Source::Crate(_) => (files.collect(), true),
        Source::Git(_) => (commits.collect(), true),
        _ => bail!("`{name}` is no archive, repository, crate or image"),
    };
    ensure!(!archives.is_empty(), "the lock has nothing of `{name}`; run `guestsmith lock`");
    Ok(Layers { archives, below_top })
}

/// The file that `wanted` names.
///
/// # Errors
/// No layer has it, or one takes it away again.
pub fn file(inputs: Inputs<'_>, wanted: &SourceFile) -> Result<Vec<u8>> {
    let layers = of(inputs, &wanted.source)?;
    let found = find(inputs, &layers, wanted.file.trim_start_matches('/'));
    let found = found.with_context(|| format!("the source `{}`", wanted.source))?;
    found.with_context(|| format!("the source `{}` has no file {}", wanted.source, wanted.file))
}

/// The file at `path` of `layers`, if there is one.
///
/// # Errors
/// An archive is not in the store or is broken, or something else stands there.
pub fn find(inputs: Inputs<'_>, layers: &Layers, path: &str) -> Result<Option<Vec<u8>>> {
    let mut path = path.to_string();
    for _ in 0..MAX_LINKS {
        match look(inputs, layers, &path)? {
            None => return Ok(None),
            Some(Found::File(bytes)) => return Ok(Some(bytes)),
            Some(Found::Link(target)) => path = target,
        }
    }
    bail!("/{path} is a link that leads round in a circle")
}

enum Found {
    File(Vec<u8>),
    Link(String),
}

/// The uppermost layer that says something of `path` decides.
fn look(inputs: Inputs<'_>, layers: &Layers, path: &str) -> Result<Option<Found>> {
    for archive in layers.archives.iter().rev() {
        let bytes = unpacked(inputs.store.need(&archive.sha256)?)?;
        let entries = tar::parse(&bytes)?;
        let named = |entry: &&Entry| normal(&entry.path, layers.below_top) == path;
        if let Some(entry) = entries.iter().rev().find(named) {
            return found(entry, path, &bytes).map(Some);
        }
        if entries.iter().any(|entry| takes_away(&normal(&entry.path, layers.below_top), path)) {
            return Ok(None);
        }
    }
    Ok(None)
}

fn found(entry: &Entry, path: &str, bytes: &[u8]) -> Result<Found> {
    match &entry.kind {
        Kind::File(range) => Ok(Found::File(bytes.get(range.clone()).unwrap_or_default().to_vec())),
        Kind::Hardlink(target) => Ok(Found::Link(normal(target, false))),
        Kind::Symlink(target) => {
            let (parent, _) = path.rsplit_once('/').unwrap_or(("", path));
            Ok(Found::Link(followed(parent, target)?))
        }
        _ => bail!("/{path} is no file"),
    }
}

/// OCI Image Specification, «Whiteouts»: `.wh.NAME` takes NAME away, `.wh..wh..opq` all that lower
/// layers have in its directory.
fn takes_away(entry: &str, path: &str) -> bool {
    let (parent, name) = entry.rsplit_once('/').unwrap_or(("", entry));
    let below = |dir: &str| {
        dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
    };
    match name.strip_prefix(".wh.") {
        None => false,
        Some(".wh..opq") => below(parent),
        Some(name) => {
            let gone = if parent.is_empty() { name.into() } else { format!("{parent}/{name}") };
            path == gone || below(&gone)
        }
    }
}

/// A path of an archive without `./`, slashes at its ends and the top directory.
fn normal(path: &str, below_top: bool) -> String {
    let mut parts: Vec<_> = path.split('/').filter(|part| !["", "."].contains(part)).collect();
    if below_top && !parts.is_empty() {
        parts.remove(0);
    }
    parts.join("/")
}

/// Where a link in the directory `parent` leads; nothing leads out of the archive.
fn followed(parent: &str, target: &str) -> Result<String> {
    let from = if target.starts_with('/') { "" } else { parent };
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().context("a link leads out of its archive")?),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The archive in its plain form.
fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let compression = match bytes[..] {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Compression::Xz,
        _ => return Ok(bytes),
    };
    codec::decompress(compression, &bytes, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteouts_take_away_what_lies_below() {
        for (entry, path, gone) in [
            ("usr/.wh.bin", "usr/bin/agent", true),
            ("usr/bin/.wh.agent", "usr/bin/agent", true),
            ("usr/.wh..wh..opq", "usr/bin/agent", true),
            (".wh..wh..opq", "agent", true),
            ("usr/.wh.bi", "usr/bin/agent", false),
            ("opt/.wh..wh..opq", "usr/bin/agent", false),
            ("usr/bin", "usr/bin/agent", false),
        ] {
            assert_eq!(takes_away(entry, path), gone, "{entry} {path}");
        }
    }

    #[test]
    fn links_stay_in_their_archive() {
        assert_eq!(followed("usr/bin", "../lib/a").expect("inside"), "usr/lib/a");
        assert_eq!(followed("usr/bin", "/opt//a").expect("inside"), "opt/a");
        assert!(followed("usr", "../../etc/passwd").is_err());
        assert_eq!(normal("./a-1/usr/b/", true), "usr/b");
        assert_eq!(normal("a", true), "");
    }
}
