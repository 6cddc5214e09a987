//! Where inputs come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
