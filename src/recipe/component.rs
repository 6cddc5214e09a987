//! What is taken ready or built: firmware, kernel, agent.

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
