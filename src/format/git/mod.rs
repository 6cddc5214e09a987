//! Git objects, read: commits, trees, tags, and the packs that hold them.
//!
//! Git `Documentation/gitformat-pack.adoc`, and «Git Objects» of the Git book for the objects
//! themselves. Nothing is trusted: whoever asks for an object by its name hashes what came.

pub mod delta;
pub mod pack;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::{Error, Result};
use crate::digest::Sha1;

/// What an object is. Numbers are those of packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A commit: a tree with its history.
    Commit,
    /// A directory.
    Tree,
    /// Contents of a file.
    Blob,
    /// An annotated tag.
    Tag,
}

impl Kind {
    /// The word that stands for it in an object's header.
    pub fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }

    /// The kind that `word` stands for.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Commit, Self::Tree, Self::Blob, Self::Tag].into_iter().find(|k| k.word() == word)
    }
}

/// An object: what it is, and its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its contents, without the header.
    pub data: Vec<u8>,
}

impl Object {
    /// Its name: SHA-1 of kind, length, a NUL and the contents.
    pub fn name(&self) -> Sha1 {
        let header = format!("{} {}\0", self.kind.word(), self.data.len());
        Sha1::of_parts([header.as_bytes(), &self.data])
    }

    /// A loose object, inflated: the header stands before the contents.
    ///
    /// # Errors
    /// The header is none, or states another length.
    pub fn of_loose(bytes: &[u8]) -> Result<Self> {
        let wrong = |found: &[u8]| Error::Value {
            what: "header of git object",
            offset: 0,
            found: found.escape_ascii().to_string(),
            expected: "a kind, the length of what follows and a NUL".into(),
        };
        let start = &bytes[..bytes.len().min(32)];
        let end = start.iter().position(|byte| *byte == 0).ok_or_else(|| wrong(start))?;
        let header = core::str::from_utf8(&start[..end]).map_err(|_| wrong(start))?;
        let (word, length) = header.split_once(' ').ok_or_else(|| wrong(start))?;
        let kind = Kind::of_word(word).ok_or_else(|| wrong(start))?;
        let data = bytes[end + 1..].to_vec();
        match length.parse() == Ok(data.len()) {
            true => Ok(Self { kind, data }),
            false => Err(wrong(start)),
        }
    }

    /// What a commit or a tag points to: its tree, or the tagged object.
    ///
    /// # Errors
    /// It is neither, or does not begin as one.
    pub fn target(&self) -> Result<Sha1> {
        let word = match self.kind {
            Kind::Commit => "tree ",
            Kind::Tag => "object ",
            Kind::Tree | Kind::Blob => "a commit or tag",
        };
        let line = self.data.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = core::str::from_utf8(line).unwrap_or_default();
        text.strip_prefix(word).and_then(|name| name.parse().ok()).ok_or_else(|| Error::Value {
            what: "git object",
            offset: 0,
            found: format!("{} `{}`", self.kind.word(), line.escape_ascii()),
            expected: format!("`{word}` and a name"),
        })
    }
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A file.
    File,
    /// A file that may be executed.
    Program,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A commit of another repository (a submodule).
    Module,
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub mode: Mode,
    /// One path component.
    pub name: String,
    /// The object.
    pub object: Sha1,
}

/// Entries of the tree in `bytes`, in its order.
///
/// # Errors
/// It is none, or a name leads elsewhere: `..`, `.git`, a slash.
pub fn tree(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        let wrong = |found: &[u8]| Error::Value {
            what: "entry of git tree",
            offset,
            found: found.escape_ascii().to_string(),
            expected: "a mode, a name, a NUL and the name of an object".into(),
        };
        let rest = &bytes[offset..];
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(|| wrong(rest))?;
        let object = rest.get(end + 1..end + 1 + Sha1::WIDTH);
        let object = object.and_then(|name| name.try_into().ok()).ok_or_else(|| wrong(rest))?;
        let head = core::str::from_utf8(&rest[..end]).map_err(|_| wrong(&rest[..end]))?;
        let (mode, name) = head.split_once(' ').ok_or_else(|| wrong(&rest[..end]))?;
        let mode = mode_of(mode).filter(|_| is_component(name));
        let mode = mode.ok_or_else(|| wrong(&rest[..end]))?;
        entries.push(Entry { mode, name: name.into(), object: Sha1(object) });
        offset += end + 1 + Sha1::WIDTH;
    }
    Ok(entries)
}

/// Files of early repositories are writable by their group; that says nothing.
fn mode_of(text: &str) -> Option<Mode> {
    match text {
        "100644" | "100664" => Some(Mode::File),
        "100755" => Some(Mode::Program),
        "120000" => Some(Mode::Symlink),
        "40000" => Some(Mode::Directory),
        "160000" => Some(Mode::Module),
        _ => None,
    }
}

fn is_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('/') && !name.eq_ignore_ascii_case(".git")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `echo hello | git hash-object --stdin`, and the empty tree, which every Git knows.
    #[test]
    fn names_are_those_of_git() {
        let hello = Object { kind: Kind::Blob, data: b"hello\n".to_vec() };
        assert_eq!(hello.name().to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(Object::of_loose(b"blob 6\0hello\n"), Ok(hello));
        let empty = Object { kind: Kind::Tree, data: Vec::new() };
        assert_eq!(empty.name().to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        for wrong in [&b"blob 7\0hello\n"[..], b"blob\0", b"", b"blub 0\0", &[b'x'; 64]] {
            assert!(Object::of_loose(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let entry =
            |mode: &str, name: &str| [format!("{mode} {name}\0").as_bytes(), &[7; 20]].concat();
        let sound = [entry("100644", "a b"), entry("40000", "d")].concat();
        let found = tree(&sound).expect("a tree");
        assert_eq!((found[0].mode, found[0].name.as_str()), (Mode::File, "a b"));
        assert_eq!((found[1].mode, found[1].object), (Mode::Directory, Sha1([7; 20])));
        for name in ["..", ".", "", ".git", ".GIT", "a/b"] {
            assert!(tree(&entry("100644", name)).is_err(), "{name}");
        }
        assert!(tree(&entry("100600", "a")).is_err());
        assert!(tree(&sound[..sound.len() - 1]).is_err());
    }

    #[test]
    fn commits_and_tags_point_somewhere() {
        let name = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let commit = Object { kind: Kind::Commit, data: format!("tree {name}\nx").into_bytes() };
        assert_eq!(commit.target().expect("a tree").to_string(), name);
        let tag = Object { kind: Kind::Tag, data: format!("object {name}\n").into_bytes() };
        assert_eq!(tag.target().expect("an object").to_string(), name);
        let blob = Object { kind: Kind::Blob, data: Vec::new() };
        assert!(blob.target().is_err());
    }
}
