//! The initial RAM disk: declared contents into a tree, the tree into cpio segments.

mod contents;
mod xattrs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::codec::{self, Form};
use super::globs;
use super::inputs::Inputs;
use super::setup;
use super::tree::{Inode, Kind, Tree};
use crate::format::cpio;
use crate::lock;
use crate::recipe::{Agent, Archive, Initrd, Pack, PackageEntry, Xattrs};

/// An initial RAM disk, and what is in it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The bytes that the VMM loads.
    pub bytes: Vec<u8>,
    /// Size of the archive before compression.
    pub unpacked: u64,
    /// What weighs how much, heaviest first.
    pub weights: Vec<Weight>,
}

/// What one origin brings into an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Weight {
    /// A package, `recipe` or `agent`.
    pub origin: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Names that it has in the image, directories left out.
    pub names: usize,
}

/// A program of an image: its path there, and its bytes.
pub type Program = (String, Vec<u8>);

/// Builds the image that `initrd` declares, with the `programs` that it asks for.
///
/// # Errors
/// An input is missing or broken, or the contents contradict each other.
pub fn build(inputs: Inputs<'_>, initrd: &Initrd, programs: Vec<Program>) -> Result<Image> {
    let mut tree = tree(inputs, initrd, programs)?;
    xattrs::settle(&mut tree, &initrd.xattrs).context("initrd.xattrs")?;
    let mut early = Tree::default();
    contents::add(&mut early, inputs, &initrd.early).context("initrd.early")?;
    xattrs::settle(&mut early, &Xattrs::Refuse).context("initrd.early")?;
    let time = inputs.recipe.epoch_seconds();
    let variant = match initrd.archive {
        Archive::Newc => cpio::Variant::Newc,
        Archive::Crc => cpio::Variant::Crc,
    };
    let packing = Packing { variant, form: form(initrd.pack), time, threads: inputs.threads };
    let mut bytes = Vec::new();
    if !early.is_empty() {
        let plain = Packing { form: Form::None, ..packing };
        bytes = archive(&early, plain).context("initrd.early")?;
    }
    bytes.extend(archive(&tree, packing)?);
    let unpacked = cpio::length(entries(&tree, time));
    Ok(Image { bytes, unpacked, weights: weights(&tree) })
}

/// The contents of the image: packages without what is dropped, then programs, then the recipe's
/// own files, which replace what packages have brought; then the steps of `setup`.
///
/// # Errors
/// An input is missing or broken, or the contents contradict each other.
pub fn tree(inputs: Inputs<'_>, initrd: &Initrd, programs: Vec<Program>) -> Result<Tree> {
    let mut tree = inputs.unpack(&packages(inputs, initrd)?)?;
    if let Some(drop) = globs::set(&initrd.drop)? {
        tree.retain(|path, _| !drop.is_match(path));
    }
    for (place, binary) in programs {
        let name = place.rsplit('/').next().unwrap_or_default();
        let inode = Inode::new(Kind::File(binary.into()), 0o755, &Arc::from(name));
        tree.replace(&place, inode).with_context(|| format!("the program of /{place}"))?;
    }
    contents::add(&mut tree, inputs, &initrd.files).context("initrd.files")?;
    let time = inputs.recipe.epoch_seconds();
    setup::apply(&mut tree, &initrd.setup, time).context("initrd.setup")?;
    Ok(tree)
}

/// Where a program stands in the image: a path without a leading slash.
pub fn place(program: &Agent) -> String {
    let usual = |name: &str| format!("/usr/bin/{}", name.rsplit('/').next().unwrap_or_default());
    let place = match program {
        Agent::Cargo(cargo) => cargo.at.clone().unwrap_or_else(|| usual(&cargo.bin)),
        Agent::From(from) => from.at.clone().unwrap_or_else(|| usual(&from.file)),
        Agent::File(_) => usual("agent"),
    };
    place.trim_start_matches('/').to_string()
}

type Wanted<'a> = (&'a lock::Package, &'a [String]);

/// Packages with their dependencies; who is wanted whole by one and in part by another is whole.
fn packages<'a>(inputs: Inputs<'a>, initrd: &'a Initrd) -> Result<Vec<Wanted<'a>>> {
    let mut wanted: BTreeMap<(&str, &str), Wanted<'_>> = BTreeMap::new();
    for PackageEntry::Deb(deb) in &initrd.packages {
        let target = inputs.recipe.arch.debian();
        // Asked for by itself, so that a lock without it is an error rather than an empty closure.
        let own = inputs.lock.package(&deb.from, target, &deb.name);
        let own = own.with_context(|| {
            format!("the lock has no package {} of {}; run `guestsmith lock`", deb.name, deb.from)
        })?;
        let closure = match deb.only.is_empty() {
            true => inputs.lock.closure(&deb.from, target, &deb.name),
            false => vec![own],
        };
        for package in closure {
            let entry = wanted.entry((&package.source, &package.name));
            let entry = entry.or_insert((package, &deb.only));
            if deb.only.is_empty() {
                entry.1 = &[];
            }
        }
    }
    Ok(wanted.into_values().collect())
}

/// The recipe's compression as a form of the codec.
fn form(pack: Pack) -> Form {
    match pack {
        Pack::None => Form::None,
        Pack::Gzip(level) => Form::Gzip(level.level),
        Pack::Xz(level) => Form::Xz(level.level),
        Pack::Zstd(level) => Form::Zstd(level.level),
        Pack::Lz4 => Form::Lz4,
    }
}

/// How a tree becomes a segment.
#[derive(Debug, Clone, Copy)]
pub struct Packing {
    /// Form of the archive.
    pub variant: cpio::Variant,
    /// Compression.
    pub form: Form,
    /// Time of every member, in seconds since 1970.
    pub time: u32,
    /// Threads to use; their number changes no result.
    pub threads: u32,
}

/// The tree as one cpio segment. Extended attributes have no place in it: see [`Xattrs`].
///
/// # Errors
/// A name or a file is larger than the format can say.
pub fn archive(tree: &Tree, packing: Packing) -> Result<Vec<u8>> {
    let Packing { variant, form, time, threads } = packing;
    let size = cpio::length(entries(tree, time));
    codec::compress(form, size, threads, |out| {
        cpio::write(entries(tree, time), variant, |piece| {
            out.write_all(piece).map_err(anyhow::Error::from)
        })
    })
}

/// Members of the archive, by path. Inodes are numbered from 1 in that order; of the names of one
/// file the last carries the contents, as cpio tools expect it.
fn entries(tree: &Tree, time: u32) -> impl Iterator<Item = cpio::Entry<'_>> {
    let mut files: BTreeMap<*const Inode, (u32, u32, u32)> = BTreeMap::new();
    let mut next = 0;
    for (_, inode) in tree.iter() {
        let file = files.entry(Arc::as_ptr(inode)).or_insert_with(|| {
            next += 1;
            (next, 0, 0)
        });
        file.1 += 1;
    }
    tree.iter().map(move |(path, inode)| {
        let (mut number, mut names, mut last) = (0, 1, true);
        if let Some(file) = files.get_mut(&Arc::as_ptr(inode)) {
            file.2 += 1;
            (number, names, last) = (file.0, file.1, file.1 == file.2);
        }
        entry(path, inode, (number, names, last), time)
    })
}

fn entry<'a>(
    path: &'a str,
    inode: &'a Inode,
    (number, names, last): (u32, u32, bool),
    time: u32,
) -> cpio::Entry<'a> {
    let (kind, device, data) = match &inode.kind {
        Kind::Directory => (cpio::kind::DIRECTORY, (0, 0), &[][..]),
        Kind::File(contents) => (cpio::kind::FILE, (0, 0), if last { &contents[..] } else { &[] }),
        Kind::Symlink(target) => (cpio::kind::SYMLINK, (0, 0), target.as_bytes()),
        Kind::Char(major, minor) => (cpio::kind::CHAR, (*major, *minor), &[][..]),
        Kind::Block(major, minor) => (cpio::kind::BLOCK, (*major, *minor), &[][..]),
        Kind::Fifo => (cpio::kind::FIFO, (0, 0), &[][..]),
    };
    cpio::Entry {
        path: path.into(),
        inode: number,
        mode: kind | inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        links: if kind == cpio::kind::DIRECTORY { 2 } else { names },
        time,
        device,
        data,
    }
}

/// What weighs how much: bytes and names by origin, heaviest first.
pub fn weights(tree: &Tree) -> Vec<Weight> {
    let mut by_origin: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (_, inode) in tree.iter().filter(|(_, inode)| inode.kind != Kind::Directory) {
        let weight = by_origin.entry(&inode.origin).or_default();
        weight.1 += 1;
        if let Some(contents) = inode.contents().filter(|_| seen.insert(Arc::as_ptr(inode))) {
            weight.0 += contents.len() as u64;
        }
    }
    let weight =
        |(origin, (bytes, names)): (&str, _)| Weight { origin: origin.into(), bytes, names };
    let mut weights: Vec<_> = by_origin.into_iter().map(weight).collect();
    weights.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.origin.cmp(&b.origin)));
    weights
}

#[cfg(test)]
pub(crate) mod tests;
