//! A file tree in memory, normalised by construction.
//!
//! Nothing of the host is in it: no times (whoever writes the tree sets one for all), no inode
//! numbers, no order but that of the paths. Every path is confined to the root, every parent is a
//! directory, and no name is reached through a symbolic link.

mod path;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, Range};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

pub use path::{absolute, confine, confine_target};

/// A part of shared bytes: files of an archive are ranges of it and are not copied.
#[derive(Clone)]
pub struct Bytes {
    whole: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Bytes {
    /// The part `range` of `whole`.
    ///
    /// # Panics
    /// The range does not lie in `whole`; ranges come from a parser that has checked them.
    pub fn slice(whole: &Arc<Vec<u8>>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= whole.len(), "a range of the archive");
        Self { whole: Arc::clone(whole), range }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole[self.range.clone()]
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { whole: Arc::new(bytes), range }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Bytes),
    /// A symbolic link, with its target as stored.
    Symlink(String),
    /// A character device of this major and minor number.
    Char(u32, u32),
    /// A block device of this major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

impl Kind {
    /// What it is, in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File(_) => "a file",
            Self::Symlink(_) => "a symbolic link",
            Self::Char(..) | Self::Block(..) => "a device node",
            Self::Fifo => "a named pipe",
        }
    }
}

/// What a name stands for; the names of one hard-linked file share it.
#[derive(Debug, Clone)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky bit.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Where it comes from, for messages and reports: a package, or the recipe.
    pub origin: Arc<str>,
}

impl Inode {
    /// An inode that belongs to root and has no extended attributes.
    pub fn new(kind: Kind, mode: u32, origin: &Arc<str>) -> Self {
        let (uid, gid, xattrs) = (0, 0, BTreeMap::new());
        Self { kind, mode, uid, gid, xattrs, origin: Arc::clone(origin) }
    }

    /// Contents, where it is a file.
    pub fn contents(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// True when only the origin may differ.
    pub fn same(&self, other: &Self) -> bool {
        let attributes = |inode: &Self| (inode.mode, inode.uid, inode.gid);
        attributes(self) == attributes(other)
            && self.xattrs == other.xattrs
            && self.kind == other.kind
    }
}

/// Files by path, without a leading slash; the root itself is not among them.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Arc<Inode>>,
}

impl Tree {
    /// Puts `inode` at `path`. A directory that was only implied takes the stated attributes.
    ///
    /// # Errors
    /// Something else stands at `path`, or a parent is no directory.
    pub fn insert(&mut self, path: &str, inode: impl Into<Arc<Inode>>) -> Result<()> {
        let inode = inode.into();
        if let Some(old) = self.nodes.get(path) {
            let implied = old.is_directory() && old.origin.is_empty() && inode.is_directory();
            if !implied {
                ensure!(old.same(&inode), conflict(path, old, &inode));
                return Ok(());
            }
        }
        self.replace(path, inode)
    }

    /// Puts `inode` at `path` in place of what is there; only a directory with contents stays what
    /// it is.
    ///
    /// # Errors
    /// A parent is no directory, or a directory with contents would become something else.
    pub fn replace(&mut self, path: &str, inode: impl Into<Arc<Inode>>) -> Result<()> {
        let inode = inode.into();
        self.imply_parents(path).with_context(|| format!("from {}", inode.origin))?;
        if !inode.is_directory() && self.below(path).next().is_some() {
            bail!("/{path} is a directory with contents and cannot become {}", inode.kind.name());
        }
        self.nodes.insert(path.to_string(), inode);
        Ok(())
    }

    /// Gives the file at `target` another name.
    ///
    /// # Errors
    /// There is no file at `target`, or something else stands at `path`.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let inode = self.nodes.get(target).filter(|inode| inode.contents().is_some());
        let inode = inode.with_context(|| {
            format!("/{path} is a hard link to /{target}, which is no file of this tree")
        })?;
        self.insert(path, Arc::clone(inode))
    }

    fn imply_parents(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.nodes.get(parent) {
                Some(inode) if inode.is_directory() => {}
                Some(inode) => bail!(
                    "/{path} lies below /{parent}, which is {} (from {}): a name is never reached \
                     through one",
                    inode.kind.name(),
                    inode.origin
                ),
                None => {
                    let inode = Inode::new(Kind::Directory, 0o755, &Arc::from(""));
                    self.nodes.insert(parent.to_string(), Arc::new(inode));
                }
            }
        }
        Ok(())
    }

    /// What stands at `path`.
    pub fn get(&self, path: &str) -> Option<&Inode> {
        self.nodes.get(path).map(|inode| &**inode)
    }

    /// Contents of the file at `path`, symbolic links at its end followed.
    ///
    /// # Errors
    /// There is no file, or the links go in a circle.
    pub fn file(&self, path: &str) -> Result<&Bytes> {
        let end = self.resolve(path)?;
        let inode = self.get(&end).with_context(|| format!("there is no /{end}"))?;
        inode.contents().with_context(|| format!("/{end} is {}", inode.kind.name()))
    }

    /// Path that `path` leads to when every symbolic link on the way is followed within the tree.
    ///
    /// # Errors
    /// The links go in a circle.
    pub fn resolve(&self, path: &str) -> Result<String> {
        let mut todo: Vec<String> = path.rsplit('/').map(String::from).collect();
        let (mut done, mut links) = (Vec::<String>::new(), 0);
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => drop(done.pop()),
                _ => done.push(part),
            }
            if let Some(Kind::Symlink(target)) = self.get(&done.join("/")).map(|inode| &inode.kind)
            {
                links += 1;
                ensure!(links <= 40, "/{path}: too many symbolic links");
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(target.rsplit('/').map(String::from));
            }
        }
        Ok(done.join("/"))
    }

    /// Names and what they stand for, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Inode>)> {
        self.nodes.iter().map(|(path, inode)| (path.as_str(), inode))
    }

    /// What lies below the directory `path`, itself not included.
    pub fn below(&self, path: &str) -> impl Iterator<Item = (&str, &Arc<Inode>)> {
        let prefix = format!("{path}/");
        let range = self.nodes.range(prefix.clone()..);
        range.take_while(move |(p, _)| p.starts_with(&prefix)).map(|(p, i)| (p.as_str(), i))
    }

    /// Takes away what `keep` refuses; with a directory goes what is below it.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Inode) -> bool) {
        let mut gone = BTreeSet::new();
        self.nodes.retain(|path, inode| {
            if path.match_indices('/').any(|(end, _)| gone.contains(&path[..end])) {
                return false;
            }
            let keep = keep(path, inode);
            if !keep && inode.is_directory() {
                gone.insert(path.clone());
            }
            keep
        });
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

fn conflict(path: &str, old: &Inode, new: &Inode) -> String {
    let what = match (&old.kind, &new.kind) {
        (Kind::File(a), Kind::File(b)) if a != b => "with other contents".to_string(),
        (Kind::Symlink(a), Kind::Symlink(b)) if a != b => format!("to {b}, not {a}"),
        (a, b) if a.name() != b.name() => format!("{}, not {}", b.name(), a.name()),
        _ => {
            let show = |i: &Inode| format!("mode {:04o}, owner {}:{}", i.mode, i.uid, i.gid);
            format!("{}, not {}", show(new), show(old))
        }
    };
    format!("/{path} comes from {} and, {what}, from {}", old.origin, new.origin)
}

#[cfg(test)]
mod tests;
