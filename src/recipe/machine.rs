//! What to measure.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::{self, Machine, Tee};

/// Machines of one TEE. Which settings a TEE takes stands in its row of the table of TEEs; lists
/// multiply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct MachineSpec {
    /// The VMM, with its version where it matters: `qemu@10.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmm: Option<String>,
    /// Name of one of the recipe's firmware images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Settings of the TEE, by the names in its row.
    #[serde(flatten)]
    pub settings: BTreeMap<String, Values>,
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(Scalar),
    /// A list.
    Many(Vec<Scalar>),
}

/// A value of a setting, as YAML has it; the TEE's row says how its text is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true`, `false`.
    Flag(bool),
    /// `4`.
    Number(u64),
    /// `EPYC-Milan`, `2GiB`, `"0x21"`.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Values {
    /// The texts of all values.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value.to_string()],
            Self::Many(values) => values.iter().map(ToString::to_string).collect(),
        }
    }
}

impl MachineSpec {
    /// The machines of `tee` that the lists multiply to.
    ///
    /// # Errors
    /// What a checked recipe does not have: see [`measure::machines`].
    pub fn machines(&self, tee: &Tee) -> measure::Result<Vec<Machine>> {
        let texts = |(name, values): (&String, &Values)| (name.clone(), values.texts());
        let mut given: BTreeMap<_, _> = self.settings.iter().map(texts).collect();
        given.extend(self.vmm.clone().map(|vmm| ("vmm".to_string(), vec![vmm])));
        measure::machines(tee, &given)
    }
}
