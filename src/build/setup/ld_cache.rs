//! The cache of the dynamic linker, and the links by which it finds libraries: what `ldconfig` makes.
//!
//! Libraries for particular CPUs (`glibc-hwcaps`) are left out, so that the same ones are used
//! everywhere.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::super::globs;
use super::super::tree::{Kind, Tree, absolute};
use super::{link, put, text};
use crate::format::elf::Elf;
use crate::format::ld_cache::{self, Library, compare};

const CONFIGURATION: &str = "etc/ld.so.conf";
const CACHE: &str = "etc/ld.so.cache";

/// Architectures by `e_machine` (System V ABI): Debian's directory, and the flag of the cache
/// (glibc `sysdeps/generic/ldconfig.h`), with that of ELF libraries.
const MACHINES: &[(u16, &str, u32)] =
    &[(62, "x86_64-linux-gnu", 0x0303), (183, "aarch64-linux-gnu", 0x0a03)];

/// Writes cache and links.
///
/// # Errors
/// The image has no C library, or the configuration is broken.
pub fn write(tree: &mut Tree) -> Result<()> {
    let (triplet, generator) = c_library(tree)?;
    let mut libraries = Vec::new();
    for directory in directories(tree, triplet)? {
        for found in search(tree, &directory)?.into_values() {
            let path = format!("{directory}/{}", found.soname);
            if !found.is_link && found.name != found.soname {
                keep_link(tree, &path, &format!("{directory}/{}", found.name), &found.name)?;
            }
            let (name, flags) = (found.soname, found.flags);
            libraries.push(Library { name, path: format!("/{path}"), flags });
        }
    }
    put(tree, CACHE, ld_cache::write(&libraries, &generator), 0o644)
}

/// Debian's name of the architecture, and what the C library's `ldconfig` calls itself: both have
/// one banner.
fn c_library(tree: &Tree) -> Result<(&'static str, String)> {
    const BANNER: &[u8] = b"GNU C Library ";
    let place = |triplet: &str| format!("usr/lib/{triplet}/libc.so.6");
    let there = MACHINES.iter().find(|(_, triplet, _)| tree.file(&place(triplet)).is_ok());
    let known: Vec<_> = MACHINES.iter().map(|(_, triplet, _)| place(triplet)).collect();
    let (_, triplet, _) = there.with_context(|| {
        format!("the image has no C library that reads a cache: no /{}", known.join(", no /"))
    })?;
    let library = tree.file(&place(triplet))?;
    let at = memchr::memmem::find(library, BANNER).map(|at| at + BANNER.len());
    let banner = at.and_then(|at| library[at..].split(|byte| *byte == b'\n').next());
    let banner = banner.and_then(|banner| std::str::from_utf8(banner).ok());
    let version = banner.and_then(|banner| banner.trim().strip_suffix('.'));
    let version = version.context("its C library does not tell its version")?;
    Ok((triplet, format!("ldconfig {version}")))
}

/// Directories to search, each once: those of the configuration, then the linker's own.
fn directories(tree: &Tree, triplet: &str) -> Result<Vec<String>> {
    let mut named = Vec::new();
    configured(tree, CONFIGURATION, &mut named, 0)?;
    let own =
        [format!("lib/{triplet}"), format!("usr/lib/{triplet}"), "lib".into(), "usr/lib".into()];
    named.extend(own);
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    for directory in named {
        let real = tree.resolve(&directory)?;
        let there = tree.get(&real).is_some_and(|inode| inode.kind == Kind::Directory);
        if there && !seen.contains(&real) {
            seen.push(real);
            found.push(directory);
        }
    }
    Ok(found)
}

fn configured(tree: &Tree, path: &str, named: &mut Vec<String>, depth: usize) -> Result<()> {
    ensure!(depth < 8, "/{path}: `include` goes in a circle");
    for line in text(tree, path)?.unwrap_or_default().lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["include", ref globs @ ..] => {
                for file in included(tree, globs)? {
                    configured(tree, &file, named, depth + 1)?;
                }
            }
            _ => named.push(absolute(line).with_context(|| format!("/{path}"))?),
        }
    }
    Ok(())
}

/// Files that globs of an `include` match; relative ones are in `/etc`.
fn included(tree: &Tree, globs: &[&str]) -> Result<Vec<String>> {
    let rooted = |glob: &&str| match glob.starts_with('/') {
        true => (*glob).to_string(),
        false => format!("/etc/{glob}"),
    };
    let set = globs::set(&globs.iter().map(rooted).collect::<Vec<_>>())?;
    let matches = |path: &str| set.as_ref().is_some_and(|set| set.is_match(path));
    let files = tree.iter().filter(|(path, _)| matches(path) && tree.file(path).is_ok());
    Ok(files.map(|(path, _)| path.to_string()).collect())
}

/// A library of one directory.
struct Found {
    name: String,
    soname: String,
    is_link: bool,
    flags: u32,
}

/// Libraries of a directory by the name that programs ask for. Of several a file is preferred to a
/// link, then the greater name.
fn search(tree: &Tree, directory: &str) -> Result<BTreeMap<String, Found>> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let real = tree.resolve(directory)?;
    let prefix = format!("{real}/");
    let inside = tree.below(&real).filter_map(|(path, inode)| {
        Some((path.strip_prefix(&prefix)?, inode)).filter(|(name, _)| !name.contains('/'))
    });
    for (name, inode) in inside.filter(|(name, _)| is_library(name)) {
        let is_link = matches!(inode.kind, Kind::Symlink(_));
        let Some(new) = library(tree, &format!("{prefix}{name}"), name, is_link)? else { continue };
        let better = found.get(&new.soname).is_none_or(|old| match (new.is_link, old.is_link) {
            (false, true) => true,
            (a, b) => a == b && compare(&old.name, &new.name).is_lt(),
        });
        if better {
            found.insert(new.soname.clone(), new);
        }
    }
    Ok(found)
}

fn is_library(name: &str) -> bool {
    (name.starts_with("lib") || name.starts_with("ld")) && name.contains(".so")
}

/// The library at `path`, if it is one. A link counts as a file of its own unless it bears the name
/// of the library that it leads to.
fn library(tree: &Tree, path: &str, name: &str, is_link: bool) -> Result<Option<Found>> {
    let end = tree.resolve(path)?;
    let Some(bytes) = tree.get(&end).and_then(|inode| inode.contents()) else { return Ok(None) };
    let Some(elf) = Elf::parse(bytes).ok().filter(Elf::is_shared) else { return Ok(None) };
    let Some((.., flags)) = MACHINES.iter().find(|(machine, ..)| *machine == elf.machine) else {
        return Ok(None);
    };
    let soname = elf.soname().unwrap_or(name);
    let base = end.rsplit('/').next().unwrap_or(&end);
    let is_link = is_link && (base == soname || base.ends_with(".so") && soname.starts_with(base));
    let soname = if is_link { name } else { soname }.to_string();
    Ok(Some(Found { name: name.into(), soname, is_link, flags: *flags }))
}

/// Makes `path` a link to `name`, unless it leads to the same file or is one of its own.
fn keep_link(tree: &mut Tree, path: &str, library: &str, name: &str) -> Result<()> {
    let resolved = tree.resolve(path)?;
    let same = resolved == tree.resolve(library)?;
    match tree.get(&resolved) {
        Some(_) if same => Ok(()),
        Some(inode) if !matches!(inode.kind, Kind::Symlink(_)) && resolved == path => Ok(()),
        _ => link(tree, path, name),
    }
}
