//! Packages into one tree, without running a line of their maintainer scripts.
//!
//! Decompressing is the work, so packages are read in parallel; joining them is quick and happens
//! in a fixed order.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rayon::prelude::*;

use super::codec;
use super::globs;
use super::tree::{Bytes, Inode, Kind, Tree, confine, confine_target};
use crate::format::{deb, tar};

/// Most bytes that one package may unpack to.
const LIMIT: u64 = 4 << 30;

/// Directories that Debian has merged into `/usr`. `base-files` ships the links; packages of
/// older releases still ship files below the old names.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"];

/// A package to unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package<P> {
    /// Its name, for messages and reports.
    pub name: String,
    /// Globs of the only paths to take; all when empty.
    pub only: Vec<String>,
    /// What `read` finds its bytes by.
    pub place: P,
}

/// Unpacks `packages`, whose bytes `read` returns, into one tree.
///
/// # Errors
/// A package is broken or holds a name that might lie outside, or two packages disagree on a path
/// and neither declares that it replaces the other's files.
pub fn unpack<P: Sync>(
    packages: &[Package<P>],
    read: impl Fn(&P) -> Result<Vec<u8>> + Sync,
) -> Result<Tree> {
    let unpacked = packages.par_iter().map(|package| {
        let bytes = read(&package.place).with_context(|| format!("package {}", package.name))?;
        members(&package.name, &bytes, &package.only)
    });
    let mut unpacked: Vec<Contents> = unpacked.collect::<Result<_>>()?;
    // The order in which packages are named must not show in the tree.
    unpacked.sort_by(|a, b| a.name.cmp(&b.name));
    let whole = packages.iter().any(|package| package.only.is_empty());
    join(&unpacked, whole)
}

/// What a package holds, names confined.
struct Contents {
    name: Arc<str>,
    /// Packages whose files it may replace (deb-control(5), `Replaces`).
    replaces: BTreeSet<String>,
    members: Vec<(String, Member)>,
}

enum Member {
    Inode(Arc<Inode>),
    Hardlink(String),
}

/// Reads one package.
fn members(name: &str, bytes: &[u8], only: &[String]) -> Result<Contents> {
    let context = || format!("package {name}");
    let parts = deb::parse(bytes).with_context(context)?;
    let data = tree_of(bytes, &parts.data).with_context(context)?;
    let entries = tar::parse(&data).with_context(context)?;
    let control = control(bytes, &parts.control).with_context(context)?;
    let name: Arc<str> = Arc::from(name);
    let globs = globs::set(only)?;
    let mut idle: BTreeSet<usize> = (0..only.len()).collect();
    let mut members = Vec::new();
    for entry in entries {
        let context = || format!("package {name}, member `{}`", entry.path);
        let path = confine(&entry.path).with_context(context)?;
        let matched = globs.as_ref().map(|globs| globs.matches(&path));
        idle.retain(|glob| !matched.iter().flatten().any(|found| found == glob));
        if !path.is_empty() && matched.is_none_or(|globs| !globs.is_empty()) {
            let member = member(&path, &entry, &data, &name).with_context(context)?;
            members.push((path, member));
        }
    }
    if let Some(glob) = idle.first().and_then(|glob| only.get(*glob)) {
        bail!("`{glob}` of the package {name} matches no file in it");
    }
    if globs.is_some() {
        detach(&mut members, &data);
    }
    Ok(Contents { name, replaces: replaces(&control), members })
}

fn tree_of(bytes: &[u8], archive: &deb::Archive) -> Result<Arc<Vec<u8>>> {
    let packed = bytes.get(archive.data.clone()).unwrap_or_default();
    Ok(Arc::new(codec::decompress(archive.compression, packed, LIMIT)?))
}

/// The control file; none in a package that has no such member.
fn control(bytes: &[u8], archive: &deb::Archive) -> Result<String> {
    let data = tree_of(bytes, archive)?;
    let entry =
        tar::parse(&data)?.into_iter().find(|e| confine(&e.path).is_ok_and(|p| p == "control"));
    let Some(tar::Kind::File(range)) = entry.map(|entry| entry.kind) else {
        bail!("control.tar has no file `control`");
    };
    let mut text = String::new();
    (&data[range]).read_to_string(&mut text).context("control file")?;
    Ok(text)
}

fn replaces(control: &str) -> BTreeSet<String> {
    let field = deb::control_field(control, "Replaces").unwrap_or_default();
    let name = |part: &str| Some(part.split_whitespace().next()?.to_string());
    field.split(',').filter_map(name).collect()
}

fn member(path: &str, entry: &tar::Entry, data: &Arc<Vec<u8>>, name: &Arc<str>) -> Result<Member> {
    let kind = match &entry.kind {
        tar::Kind::File(range) => Kind::File(Bytes::slice(data, range.clone())),
        tar::Kind::Directory => Kind::Directory,
        tar::Kind::Symlink(target) => {
            confine_target(path, target)?;
            Kind::Symlink(target.clone())
        }
        tar::Kind::Hardlink(target) => return Ok(Member::Hardlink(confine(target)?)),
        tar::Kind::Char(major, minor) => Kind::Char(*major, *minor),
        tar::Kind::Block(major, minor) => Kind::Block(*major, *minor),
        tar::Kind::Fifo => Kind::Fifo,
    };
    let (uid, gid, xattrs) = (entry.uid, entry.gid, entry.xattrs.clone());
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { entry.mode };
    let inode = Inode { kind, mode, uid, gid, xattrs, origin: Arc::clone(name) };
    Ok(Member::Inode(Arc::new(inode)))
}

/// Copies the few files that `only` took, so that the rest of a large archive need not stay.
fn detach(members: &mut [(String, Member)], data: &Arc<Vec<u8>>) {
    let size = |member: &Member| match member {
        Member::Inode(inode) => inode.contents().map_or(0, |contents| contents.len()),
        Member::Hardlink(_) => 0,
    };
    let kept: usize = members.iter().map(|(_, member)| size(member)).sum();
    if kept > data.len() / 2 {
        return;
    }
    for (_, member) in members {
        if let Member::Inode(inode) = member {
            let inode = Arc::make_mut(inode);
            if let Kind::File(contents) = &mut inode.kind {
                *contents = contents.to_vec().into();
            }
        }
    }
}

/// Puts packages into one tree. Of whole packages it is a root as Debian has it: with the links of
/// merged `/usr`, also where `base-files` is not among them.
fn join(packages: &[Contents], whole: bool) -> Result<Tree> {
    let aliases = aliases(packages, whole);
    let mut tree = Tree::default();
    for package in packages {
        // Links name files that may come later in the archive.
        let (links, inodes): (Vec<_>, Vec<_>) =
            package.members.iter().partition(|(_, member)| matches!(member, Member::Hardlink(_)));
        for (path, member) in inodes.into_iter().chain(links) {
            let real = real_path(path, &aliases);
            put(&mut tree, &real, member, (package, packages, &aliases))
                .with_context(|| format!("package {}, member `{path}`", package.name))?;
        }
    }
    if whole {
        link_merged(&mut tree, &aliases)?;
    }
    Ok(tree)
}

type Joining<'a> = (&'a Contents, &'a [Contents], &'a BTreeSet<&'static str>);

fn put(tree: &mut Tree, path: &str, member: &Member, joining: Joining<'_>) -> Result<()> {
    let (package, packages, aliases) = joining;
    let inode = match member {
        // A directory that has become a link: its contents go where the link leads.
        Member::Inode(inode) if aliases.contains(path) && inode.kind == Kind::Directory => {
            return Ok(());
        }
        Member::Inode(inode) => inode,
        Member::Hardlink(target) => return tree.link(path, &real_path(target, aliases)),
    };
    let Some(old) = tree.get(path) else { return tree.insert(path, Arc::clone(inode)) };
    let other = packages.iter().find(|other| other.name == old.origin);
    if package.name != old.origin && !old.same(inode) {
        if package.replaces.contains(&*old.origin) {
            return tree.replace(path, Arc::clone(inode));
        }
        if other.is_some_and(|other| other.replaces.contains(&*package.name)) {
            return Ok(());
        }
    }
    tree.insert(path, Arc::clone(inode))
}

/// Names at the root that are links into `/usr`.
fn aliases(packages: &[Contents], whole: bool) -> BTreeSet<&'static str> {
    let shipped = |alias: &str| {
        let link = |(path, member): &(String, Member)| match member {
            Member::Inode(inode) if path == alias => inode.kind == merged_link(alias),
            _ => false,
        };
        packages.iter().any(|package| package.members.iter().any(link))
    };
    MERGED.iter().copied().filter(|alias| whole || shipped(alias)).collect()
}

fn merged_link(alias: &str) -> Kind {
    Kind::Symlink(format!("usr/{alias}"))
}

fn real_path(path: &str, aliases: &BTreeSet<&'static str>) -> String {
    match path.split_once('/') {
        Some((first, _)) if aliases.contains(first) => format!("usr/{path}"),
        _ => path.to_string(),
    }
}

fn link_merged(tree: &mut Tree, aliases: &BTreeSet<&'static str>) -> Result<()> {
    let origin: Arc<str> = Arc::from("merged /usr");
    for alias in aliases {
        if tree.get(&format!("usr/{alias}")).is_some() && tree.get(alias).is_none() {
            tree.insert(alias, Inode::new(merged_link(alias), 0o777, &origin))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
