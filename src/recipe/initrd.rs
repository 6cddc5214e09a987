//! Contents of the initial RAM disk.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::component::Agent;
use super::setup::SetupStep;

/// The initial RAM disk: an image without `run:`, a list of declared contents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Initrd {
    /// Packages, unpacked without running their maintainer scripts.
    pub packages: Vec<PackageEntry>,
    /// The program that runs in the guest.
    pub agent: Option<Agent>,
    /// Further programs, taken or built in the same ways.
    pub programs: Vec<Agent>,
    /// Files, directories, links and device nodes of the recipe's own.
    pub files: Vec<FileEntry>,
    /// Globs of paths to leave out: `/usr/share/doc/**`.
    pub drop: Vec<String>,
    /// What packages' scripts would have done, as steps.
    pub setup: Vec<SetupStep>,
    /// Contents of a segment of its own that comes first, uncompressed (microcode).
    pub early: Vec<FileEntry>,
    /// Form of the archive.
    #[serde(skip_serializing_if = "is_default")]
    pub archive: Archive,
    /// What becomes of extended attributes.
    #[serde(skip_serializing_if = "is_default")]
    pub xattrs: Xattrs,
    /// Compression.
    pub pack: Pack,
}

/// A field that a recipe need not state is not part of its digest.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Form of an archive that the kernel unpacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// cpio `newc`.
    #[default]
    Newc,
    /// cpio `crc`: with a sum of each file, which the kernel checks.
    Crc,
}

/// What becomes of extended attributes, for which an archive that the kernel unpacks has no place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Xattrs {
    /// They are an error.
    #[default]
    Refuse,
    /// They are left out.
    Drop,
    /// They are listed in a file of the image, at this absolute path, as `getfattr --dump` would, for
    /// `setfattr --restore` in the guest.
    List(String),
}

/// Contents taken from packages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PackageEntry {
    /// A Debian binary package.
    Deb(Deb),
}

/// A Debian binary package with, unless `only` is given, all that it depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deb {
    /// Name of the package.
    pub name: String,
    /// Name of a `debian` source.
    pub from: String,
    /// Globs of the only paths to take; the package's dependencies then stay out.
    #[serde(default)]
    pub only: Vec<String>,
}

/// One entry of the recipe's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileEntry {
    /// A file whose text stands in the recipe.
    Write(WriteEntry),
    /// A file or directory beside the recipe.
    Copy(CopyEntry),
    /// A symbolic link.
    Symlink(SymlinkEntry),
    /// An empty directory.
    Dir(DirEntry),
    /// A device node.
    Node(NodeEntry),
    /// A file put together from files of a package.
    Concat(ConcatEntry),
}

/// A file put together from files of a package, in the order of their paths: microcode, as the
/// kernel wants it, is one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConcatEntry {
    /// Absolute path in the image.
    pub at: String,
    /// Name of the package.
    pub package: String,
    /// Name of a `debian` source.
    pub from: String,
    /// Globs of paths in the package; each must match at least one file.
    pub files: Vec<String>,
}

/// A file whose text stands in the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WriteEntry {
    /// Absolute path in the image.
    pub at: String,
    /// Contents, exact.
    pub text: String,
    /// Permission bits, a quoted octal number; `"0644"` when absent.
    pub mode: Option<String>,
    /// `uid:gid`; `0:0` when absent.
    pub owner: Option<String>,
    /// Extended attributes: text, or bytes as `0x…` in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// A file or directory beside the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CopyEntry {
    /// Path relative to the recipe.
    pub from: String,
    /// Absolute path in the image.
    pub to: String,
    /// Permission bits of files, a quoted octal number; `"0644"`, or `"0755"` for what its owner
    /// may execute, when absent.
    pub mode: Option<String>,
    /// `uid:gid`; `0:0` when absent.
    pub owner: Option<String>,
    /// Extended attributes: text, or bytes as `0x…` in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SymlinkEntry {
    /// Absolute path in the image.
    pub at: String,
    /// What it points to, as stored.
    pub to: String,
}

/// An empty directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DirEntry {
    /// Absolute path in the image.
    pub at: String,
    /// Permission bits, a quoted octal number; `"0755"` when absent.
    pub mode: Option<String>,
    /// `uid:gid`; `0:0` when absent.
    pub owner: Option<String>,
}

/// A device node; made in the archive, so no privilege is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeEntry {
    /// Absolute path in the image.
    pub at: String,
    /// Character or block device.
    pub kind: NodeKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits, a quoted octal number; `"0600"` when absent.
    pub mode: Option<String>,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// Compression of an archive; the level is part of the measured bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pack {
    /// As it is.
    #[default]
    None,
    /// gzip, level 1 to 9.
    Gzip(Level),
    /// xz with CRC-32, preset 0 to 9.
    Xz(Level),
    /// Zstandard, level 1 to 19.
    Zstd(Level),
    /// LZ4 in the legacy frame that the kernel reads; it has no levels.
    Lz4,
}

/// Level of a compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Level {
    /// Effort, in the compressor's own scale.
    pub level: u32,
}
