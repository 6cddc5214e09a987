//! What is wanted: the recipe, as plain types. Unknown fields are refused.
//!
//! Unions are externally tagged (`{deb: …}`), so that an error keeps its place in the text.

mod component;
mod initrd;
mod machine;
mod source;

pub use component::*;
pub use initrd::*;
pub use machine::*;
pub use source::*;

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
