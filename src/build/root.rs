//! Build roots: the tools of a step, out of locked packages, as a read-only tree.
//!
//! Packages are unpacked by our own unpacker and no maintainer script runs. The little that scripts
//! would have done is declared below, typed. A root is made once for each set of packages and kept
//! beside the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prost::Message as _;
use rayon::prelude::*;

use super::action::{self, Node};
use super::materialise::materialise;
use super::reapi::{Digest, Directory};
use super::tree::{Inode, Kind, Tree};
use super::unpack::{Package as Unpacked, unpack};
use crate::digest::Sha256;
use crate::store::{Expected, Store, entries};

/// Version of what this module does to packages: part of the key of every root.
const FORM: u32 = 1;

/// Time of every file, in seconds since 1970: older than any source, newer than none.
const TIME: u32 = 1;

/// What no build reads: a third of the files.
const LEFT_OUT: &[&str] =
    &["usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man"];

/// Directories to mount on, for the sandbox and for steps.
const MOUNT_POINTS: &[&str] = &["build", "dev", "proc", "src", "tmp"];

/// Names that `update-alternatives` would have given, where the program is there.
const ALTERNATIVES: &[(&str, &str)] = &[
    ("awk", "mawk"),
    ("c++", "g++"),
    ("cc", "gcc"),
    ("nawk", "mawk"),
    ("which", "which.debianutils"),
    ("yacc", "bison.yacc"),
];

/// Files that `base-passwd` and `netbase` would have written: the build's user has a name.
const FILES: &[(&str, &str)] = &[
    ("etc/group", "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000::/build:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
];

/// A locked package, in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// The package file.
    pub deb: Expected,
}

/// A tree of tools on disk, and its digest.
#[derive(Debug, Clone)]
pub struct Root {
    dir: PathBuf,
    nodes: BTreeMap<String, Node>,
    packages: Vec<Package>,
}

impl Root {
    /// The root of `packages`, made if it is not there yet.
    ///
    /// # Errors
    /// A package is not in the store or is broken, or two of them disagree on a file.
    pub fn of(store: &Store, packages: &[Package]) -> Result<Self> {
        let mut packages = packages.to_vec();
        packages.sort_unstable();
        packages.dedup();
        let place = store.root().join("roots").join(key(&packages).to_string());
        if !place.is_dir() {
            make(store, &packages, &place).context("the build root")?;
        }
        let top = fs::read(place.join("directory"));
        let top = top.with_context(|| format!("reading {}", place.display()))?;
        let top = Directory::decode(&top[..]).context("the build root's digest")?;
        Ok(Self { dir: place.join("root"), nodes: nodes(top), packages })
    }

    /// A root that is there already, for steps whose tools are not packages.
    ///
    /// # Errors
    /// A file of it cannot be read.
    pub fn at(dir: &Path) -> Result<Self> {
        let mut found = BTreeMap::new();
        walk(dir, "", &mut found)?;
        let (root, mut messages) = action::merkle(&found);
        let top = messages.remove(&root.hash).unwrap_or_default();
        let top = Directory::decode(&top[..]).context("the build root's digest")?;
        Ok(Self { dir: dir.into(), nodes: nodes(top), packages: Vec::new() })
    }

    /// Where it is on disk.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its top level, for the Merkle tree of a step.
    pub fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// What it is made of.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }
}

fn key(packages: &[Package]) -> Sha256 {
    let digests = packages.iter().map(|package| format!("{}\n", package.deb.sha256));
    let declared =
        format!("{FORM} {TIME} {LEFT_OUT:?} {MOUNT_POINTS:?} {ALTERNATIVES:?} {FILES:?}");
    Sha256::of(format!("{declared}\n{}", digests.collect::<String>()).as_bytes())
}

/// Makes the root under a name of its own, and renames it when it is complete.
fn make(store: &Store, packages: &[Package], place: &Path) -> Result<()> {
    let tree = assemble(store, packages)?;
    let parent = place.parent().context("a place")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let dir = tempfile::Builder::new().prefix("new-").tempdir_in(parent)?;
    materialise(&tree, &dir.path().join("root"), TIME)?;
    fs::write(dir.path().join("directory"), top_level(&tree))?;
    open_to_all(dir.path())?;
    let made = dir.keep();
    match fs::rename(&made, place) {
        // Another process was quicker: its root is the same.
        Err(_) if place.is_dir() => fs::remove_dir_all(&made).context("removing a second root"),
        other => other.with_context(|| format!("cannot make {}", place.display())),
    }
}

/// Lets the build's user in, who is not the caller when the caller is root.
fn open_to_all(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?)
}

/// All packages in one tree, with the declared fix-ups.
fn assemble(store: &Store, packages: &[Package]) -> Result<Tree> {
    let unpacked: Vec<_> = packages
        .iter()
        .map(|package| Unpacked {
            name: package.name.clone(),
            only: Vec::new(),
            place: package.deb.sha256,
        })
        .collect();
    let mut tree = unpack(&unpacked, |sha256| store.need(sha256))?;
    tree.retain(|path, inode| {
        let device = matches!(inode.kind, Kind::Char(..) | Kind::Block(..) | Kind::Fifo);
        !device && !LEFT_OUT.contains(&path)
    });
    let origin: Arc<str> = "build root".into();
    for path in MOUNT_POINTS {
        tree.replace(path, Inode::new(Kind::Directory, 0o755, &origin))?;
    }
    for (path, text) in FILES {
        let kind = Kind::File(text.as_bytes().to_vec().into());
        tree.replace(path, Inode::new(kind, 0o644, &origin))?;
    }
    for (name, to) in ALTERNATIVES {
        let path = format!("usr/bin/{name}");
        if tree.get(&format!("usr/bin/{to}")).is_some() && tree.get(&path).is_none() {
            tree.replace(&path, Inode::new(Kind::Symlink((*to).into()), 0o777, &origin))?;
        }
    }
    Ok(tree)
}

/// Encoded `Directory` of the root.
fn top_level(tree: &Tree) -> Vec<u8> {
    let entries: Vec<_> = tree.iter().collect();
    let nodes = entries.par_iter().filter_map(|(path, inode)| {
        let node = match &inode.kind {
            Kind::File(bytes) => {
                Node::File { digest: Digest::of(bytes), executable: inode.mode & 0o111 != 0 }
            }
            Kind::Symlink(target) => Node::Symlink(target.clone()),
            Kind::Directory => Node::Directory,
            Kind::Char(..) | Kind::Block(..) | Kind::Fifo => return None,
        };
        Some(((*path).to_string(), node))
    });
    let (root, mut messages) = action::merkle(&nodes.collect());
    messages.remove(&root.hash).unwrap_or_default()
}

/// What stands below `dir`, which is the directory `path` of a root.
fn walk(dir: &Path, path: &str, found: &mut BTreeMap<String, Node>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in entries::sorted(dir)? {
        let context = || format!("reading {}", entry.display());
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let path = if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") };
        let metadata = entry.symlink_metadata().with_context(context)?;
        let node = if metadata.is_symlink() {
            let target = fs::read_link(&entry).with_context(context)?;
            Node::Symlink(target.to_string_lossy().into_owned())
        } else if metadata.is_dir() {
            walk(&entry, &path, found)?;
            Node::Directory
        } else {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            Node::File { digest: Digest::of(&fs::read(&entry).with_context(context)?), executable }
        };
        found.insert(path, node);
    }
    Ok(())
}

fn nodes(top: Directory) -> BTreeMap<String, Node> {
    let files = top.files.into_iter().map(|file| {
        let (digest, executable) = (file.digest.unwrap_or_default(), file.is_executable);
        (file.name, Node::File { digest, executable })
    });
    let links = top.symlinks.into_iter().map(|link| (link.name, Node::Symlink(link.target)));
    let trees = top.directories.into_iter();
    let trees = trees.map(|tree| (tree.name, Node::Tree(tree.digest.unwrap_or_default())));
    let mounted = |(name, _): &(String, Node)| !["build", "src"].contains(&name.as_str());
    files.chain(links).chain(trees).filter(mounted).collect()
}
