//! The recipe's own entries, put into a tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::super::inputs::Inputs;
use super::super::tree::{Inode, Kind, Tree, absolute, confine_target};
use crate::digest::unhex;
use crate::recipe::{ConcatEntry, CopyEntry, FileEntry, NodeEntry, NodeKind};
use crate::store::entries;

/// Puts `files` into `tree`, in place of what is there.
///
/// # Errors
/// A file beside the recipe cannot be read, or an entry contradicts the tree.
pub(super) fn add(tree: &mut Tree, inputs: Inputs<'_>, files: &[FileEntry]) -> Result<()> {
    let origin = Arc::from("recipe");
    files.iter().try_for_each(|file| match file {
        FileEntry::Write(write) => {
            let contents = write.text.clone().into_bytes();
            let inode = Inode::new(Kind::File(contents.into()), mode(&write.mode, 0o644)?, &origin);
            put(tree, &write.at, stated(owned(inode, &write.owner)?, &write.xattrs)?)
        }
        FileEntry::Dir(dir) => {
            let inode = Inode::new(Kind::Directory, mode(&dir.mode, 0o755)?, &origin);
            put(tree, &dir.at, owned(inode, &dir.owner)?)
        }
        FileEntry::Symlink(link) => {
            confine_target(&absolute(&link.at)?, &link.to)?;
            put(tree, &link.at, Inode::new(Kind::Symlink(link.to.clone()), 0o777, &origin))
        }
        FileEntry::Node(node) => put(tree, &node.at, device(node, &origin)?),
        FileEntry::Concat(concat) => {
            let contents = joined(inputs, concat).with_context(|| concat.at.clone())?;
            put(tree, &concat.at, Inode::new(Kind::File(contents.into()), 0o644, &origin))
        }
        FileEntry::Copy(copy) => {
            let from = inputs.beside(&copy.from);
            self::copy(tree, &from, &absolute(&copy.to)?, (copy, &origin))
        }
    })
}

/// The files of a package that match, one behind the other in the order of their paths.
fn joined(inputs: Inputs<'_>, wanted: &ConcatEntry) -> Result<Vec<u8>> {
    let target = inputs.recipe.arch.debian();
    let package = inputs.package(&wanted.from, target, &wanted.package)?;
    let tree = inputs.unpack(&[(package, &wanted.files)])?;
    let contents = tree.iter().filter_map(|(_, inode)| inode.contents());
    let joined: Vec<u8> = contents.flat_map(|bytes| bytes.iter().copied()).collect();
    ensure!(!joined.is_empty(), "nothing in the files of {} that match", wanted.package);
    Ok(joined)
}

fn put(tree: &mut Tree, at: &str, inode: Inode) -> Result<()> {
    tree.replace(&absolute(at)?, inode)
}

fn device(node: &NodeEntry, origin: &Arc<str>) -> Result<Inode> {
    let kind = match node.kind {
        NodeKind::Char => Kind::Char(node.major, node.minor),
        NodeKind::Block => Kind::Block(node.major, node.minor),
    };
    Ok(Inode::new(kind, mode(&node.mode, 0o600)?, origin))
}

/// A file or directory of the disk. Of its mode only this shows: whether its owner may execute it;
/// the rest is the umask's.
fn copy(tree: &mut Tree, from: &Path, to: &str, how: (&CopyEntry, &Arc<str>)) -> Result<()> {
    let (entry, origin) = how;
    let context = || format!("cannot copy {}", from.display());
    let found = fs::symlink_metadata(from).with_context(context)?;
    let new = |kind, mode| owned(Inode::new(kind, mode, origin), &entry.owner);
    if found.is_dir() {
        tree.replace(to, new(Kind::Directory, 0o755)?)?;
        for path in entries::sorted(from)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{} is not UTF-8", path.display()))?;
            copy(tree, &path, &format!("{to}/{name}"), how)?;
        }
        return Ok(());
    }
    let inode = if found.is_symlink() {
        let target = fs::read_link(from).with_context(context)?;
        let target = target.to_str().with_context(context)?.to_string();
        confine_target(to, &target)?;
        new(Kind::Symlink(target), 0o777)?
    } else if found.is_file() {
        let usual = if found.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let contents = fs::read(from).with_context(context)?;
        let inode = new(Kind::File(contents.into()), mode(&entry.mode, usual)?)?;
        stated(inode, &entry.xattrs)?
    } else {
        bail!("{} is neither a file nor a directory", from.display());
    };
    tree.replace(to, inode)
}

/// A checked recipe has modes of octal digits only.
fn mode(stated: &Option<String>, usual: u32) -> Result<u32> {
    let Some(text) = stated else { return Ok(usual) };
    u32::from_str_radix(text, 8).with_context(|| format!("{text:?} is not a mode"))
}

fn owned(mut inode: Inode, owner: &Option<String>) -> Result<Inode> {
    let Some(text) = owner else { return Ok(inode) };
    let numbers = text.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
    (inode.uid, inode.gid) = numbers.with_context(|| format!("{text:?} is not an owner"))?;
    Ok(inode)
}

/// With the extended attributes that the recipe states.
fn stated(mut inode: Inode, xattrs: &BTreeMap<String, String>) -> Result<Inode> {
    for (name, value) in xattrs {
        let bytes = match value.strip_prefix("0x") {
            Some(digits) => unhex(digits).with_context(|| format!("{name}: {value:?}"))?,
            None => value.clone().into_bytes(),
        };
        inode.xattrs.insert(name.clone(), bytes);
    }
    Ok(inode)
}
