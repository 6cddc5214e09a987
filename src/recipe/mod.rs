//! What is wanted: the recipe, as plain types. Unknown fields are refused.
//!
//! Unions are externally tagged (`{deb: …}`), so that an error keeps its place in the text.

mod check;
mod component;
mod decode;
pub mod epoch;
mod error;
mod extends;
mod initrd;
mod machine;
mod new;
mod node;
mod parse;
mod path;
mod resolved;
mod schema;
mod setup;
mod source;
mod yaml;

pub use component::*;
pub use error::{Error, Origin, Problem, Source as File};
pub use extends::{Load, RULES, Rule};
pub use initrd::*;
pub use machine::*;
pub use new::template;
pub use parse::{Resolved, parse};
pub use schema::schema;
pub use setup::*;
pub use source::*;
pub use yaml::MAX_SIZE;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

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
    /// Where compilers and other tools come from, for what is built from source.
    pub tools: Option<Tools>,
    /// Firmware images, by a name that `machines` use.
    #[serde(default)]
    pub firmware: BTreeMap<String, Firmware>,
    /// Files that a TEE's image is made with, by the TEE's names for them: `stage3a`
    /// and `stage3b` (Secure Execution), `code` (SGX).
    #[serde(default)]
    pub loaders: BTreeMap<String, Loader>,
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

/// Seconds since 1970 of an epoch, `2026-11-01T00:00:00Z`; nothing if it is none.
pub fn seconds(epoch: &str) -> Option<u32> {
    epoch::parse(epoch).ok()
}

impl Recipe {
    /// The epoch as seconds since 1970; 0 only if no check let the recipe pass.
    pub fn epoch_seconds(&self) -> u32 {
        epoch::parse(&self.epoch).unwrap_or_default()
    }

    /// Programs of its initrd: the agent, then the others.
    pub fn programs(&self) -> impl Iterator<Item = &Agent> {
        self.initrd.iter().flat_map(|initrd| initrd.agent.iter().chain(&initrd.programs))
    }

    /// Those of them that are built from crates.
    pub fn cargo_programs(&self) -> impl Iterator<Item = &CargoAgent> {
        self.programs().filter_map(|program| match program {
            Agent::Cargo(cargo) => Some(cargo),
            _ => None,
        })
    }

    /// Digest of what the recipe says, whatever the order of its keys, its comments and the files
    /// that it was put together from. Absent fields do not count, so that a field that a later
    /// version adds leaves the digests of today's recipes alone.
    pub fn digest(&self) -> Sha256 {
        let recipe = Self { extends: Vec::new(), ..self.clone() };
        let mut value = stated(serde_json::to_value(&recipe).unwrap_or_default());
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, value| value.as_object().is_none_or(|fields| !fields.is_empty()));
        }
        Sha256::of(value.to_string().as_bytes())
    }
}

/// `value` without what an absent field is: nulls and empty lists. An empty mapping says something
/// (`nitro: {}` is a machine), but for the recipe's own, which are there when they are absent, too.
/// Keys come out sorted.
fn stated(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let absent = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    match value {
        Value::Array(items) => items.into_iter().map(stated).collect(),
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(key, value)| (key, stated(value)));
            Value::Object(kept.filter(|(_, value)| !absent(value)).collect())
        }
        other => other,
    }
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

#[cfg(test)]
mod tests;
