//! What is wanted: the recipe, as plain types. Unknown fields are refused.
//!
//! Unions are externally tagged (`{deb: …}`), so that an error keeps its place in the text.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A confidential guest: what it is made of, and on which machines it will be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// Name of the guest; output files and reference values carry it.
    pub name: String,
    /// Architecture of the guest.
    pub arch: Arch,
    /// The one time in every output, RFC 3339 in UTC: `2026-11-01T00:00:00Z`.
    pub epoch: String,
    /// Recipes that this one builds on, relative to it; later ones win, this one last.
    #[serde(default)]
    pub extends: Vec<String>,
    /// Where inputs come from, by a name that other fields use.
    #[serde(default)]
    pub sources: BTreeMap<String, Source>,
    /// Firmware images, by a name that `machines` use.
    #[serde(default)]
    pub firmware: BTreeMap<String, Firmware>,
    /// The kernel.
    pub kernel: Option<Kernel>,
    /// The initial RAM disk.
    pub initrd: Option<Initrd>,
    /// Words of the kernel command line, joined by single spaces.
    #[serde(default)]
    pub cmdline: Vec<String>,
    /// What to measure, one TEE an entry; lists in an entry multiply.
    #[serde(default)]
    pub machines: Vec<BTreeMap<String, MachineSpec>>,
}

/// Architecture of a guest, by the kernel's name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// AMD64.
    #[serde(rename = "x86_64")]
    X86_64,
    /// Arm 64-bit.
    Aarch64,
    /// IBM Z.
    S390x,
}

impl Arch {
    /// Debian's name: `amd64`.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::S390x => "s390x",
        }
    }
}

/// Where inputs come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Suites of a Debian archive, from which packages are taken by name.
    Debian(DebianSource),
    /// One file out of a package (a source tarball that the distribution ships as a package).
    Package(PackageFile),
    /// A Debian source package: its original tarball and its patches.
    DebianSource(SourcePackage),
    /// A directory or file beside the recipe.
    Local(String),
    /// A commit of a Git repository.
    Git(GitSource),
    /// An archive at a URL, by hash.
    Archive(ArchiveSource),
    /// A crate of the Rust registry.
    Crate(CrateSource),
    /// A layer or file of an OCI image.
    Oci(OciSource),
}

/// Suites of a Debian archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DebianSource {
    /// Suites in order of preference at equal version: `trixie`, `trixie-security`.
    pub suites: Vec<String>,
    /// Components; `main` when absent.
    #[serde(default)]
    pub components: Vec<String>,
}

/// Files of one binary package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PackageFile {
    /// Name of the package.
    pub name: String,
    /// Name of a `debian` source.
    pub from: String,
    /// Absolute path in the package; a `*` in it must match exactly one file.
    pub file: String,
}

/// A Debian source package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourcePackage {
    /// Name of the source package.
    pub name: String,
    /// Name of a `debian` source.
    pub from: String,
}

/// A commit of a Git repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GitSource {
    /// Address of the repository.
    pub url: String,
    /// Commit, tag or branch; the lock pins the commit and its tree.
    pub rev: String,
}

/// An archive at a URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveSource {
    /// Address of the archive.
    pub url: String,
    /// SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
}

/// A crate of the Rust registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrateSource {
    /// Name of the crate.
    pub name: String,
    /// Exact version.
    pub version: String,
}

/// An OCI image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OciSource {
    /// Reference with a digest: `registry/name@sha256:…`.
    pub image: String,
}

/// One firmware image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// Prebuilt, out of a package.
    Package(PackageFile),
    /// Prebuilt, a file beside the recipe.
    File(String),
    /// Built from edk2.
    Edk2(Edk2),
}

/// A platform of edk2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Edk2 {
    /// Name of a source.
    pub source: String,
    /// Platform description file: `OvmfPkg/AmdSev/AmdSevX64.dsc`.
    pub platform: String,
}

/// The kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// Prebuilt, out of a package.
    Package(PackageFile),
    /// Prebuilt, a file beside the recipe.
    File(String),
    /// Built from source.
    Linux(Linux),
}

/// A kernel built from source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Linux {
    /// Name of a source.
    pub source: String,
    /// Fragments of `kernel-configs/`, by name without `.config`; every line must hold.
    pub config: Vec<String>,
}

/// The initial RAM disk: an image without `run:`, a list of declared contents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Initrd {
    /// Packages, unpacked without running their maintainer scripts.
    pub packages: Vec<PackageEntry>,
    /// The program that runs in the guest.
    pub agent: Option<Agent>,
    /// Files, directories, links and device nodes of the recipe's own.
    pub files: Vec<FileEntry>,
    /// Globs of paths to leave out: `/usr/share/doc/**`.
    pub drop: Vec<String>,
    /// Segments that come first, uncompressed, each a cpio archive of its own (microcode).
    pub early: Vec<FileEntry>,
    /// Archive form and compression.
    pub pack: Pack,
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

/// The program that runs in the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// Built from a Rust crate.
    Cargo(CargoAgent),
    /// Prebuilt, a file beside the recipe.
    File(String),
}

/// An agent built from a Rust crate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CargoAgent {
    /// Name of a source.
    pub source: String,
    /// Binary of the crate.
    pub bin: String,
    /// Where it stands in the initrd; `/usr/bin/NAME` when absent.
    pub at: Option<String>,
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
    /// LZ4 in the legacy frame that the kernel reads.
    Lz4(Level),
}

/// Level of a compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Level {
    /// Effort, in the compressor's own scale.
    pub level: u32,
}

/// Machines of one TEE. Which fields a TEE takes stands in its row of the table of TEEs; lists
/// multiply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MachineSpec {
    /// The VMM, with its version where it matters: `qemu@10.1`.
    pub vmm: Option<String>,
    /// Name of one of the recipe's firmware images.
    pub firmware: Option<String>,
    /// Numbers of vCPUs.
    pub vcpus: Vec<u32>,
    /// CPU models.
    pub cpu: Vec<String>,
    /// Guest memory, with a unit: `2GiB`.
    pub memory: Vec<String>,
    /// SEV features of the guest, a hexadecimal string: `"0x1"`.
    pub guest_features: Option<String>,
}
