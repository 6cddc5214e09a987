//! What is taken ready or built: firmware, loaders, kernel, agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::PackageFile;

/// Where tools come from. Which tools a component needs is known, and locked like every input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tools {
    /// Name of a `debian` source.
    pub from: String,
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

/// A file that a TEE's image is made with, as the loaders of Secure Execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// Out of a package.
    Package(PackageFile),
    /// A file beside the recipe.
    File(String),
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

/// The program that runs in the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// Built from a Rust crate.
    Cargo(CargoAgent),
    /// Prebuilt, a file beside the recipe.
    File(String),
    /// Prebuilt, a file out of a source: an archive, a repository, an image.
    From(SourceFile),
}

/// A file out of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SourceFile {
    /// Name of a source.
    pub source: String,
    /// Absolute path of the file in it; of a crate or a repository, below its top directory.
    pub file: String,
    /// Where it stands in the initrd; `/usr/bin/NAME` when absent.
    pub at: Option<String>,
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
    /// Directory of the crate in its source; the top directory when absent.
    pub dir: Option<String>,
    /// Features to build it with.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether its default features are among them; they are when absent.
    pub default_features: Option<bool>,
    /// Packages that the build needs beyond a compiler and Cargo, from where `tools` come from.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Shell script that runs in the crate's directory before it is built, in the sandbox.
    pub prepare: Option<String>,
}
