//! What to measure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path::Fault;

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

/// Bytes of a size with its unit: `2GiB`, `512MiB`.
pub(super) fn memory(text: &str) -> Result<u64, Fault> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let bytes = unit.and_then(|(number, shift)| {
        let number = number.trim_end().parse::<u64>().ok().filter(|n| *n > 0)?;
        number.checked_mul(1 << shift)
    });
    bytes.ok_or_else(|| Fault::new(format!("{text:?} is not a size"), "as in 2GiB or 512MiB"))
}

/// A hexadecimal number: `0x1`.
pub(super) fn features(text: &str) -> Result<u64, Fault> {
    let number = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    number.ok_or_else(|| {
        Fault::new(format!("{text:?} is not a hexadecimal number"), "in quotes, as in \"0x1\"")
    })
}

impl MachineSpec {
    /// Memory sizes in bytes; none that a checked recipe would not have.
    pub fn memory_bytes(&self) -> Vec<u64> {
        self.memory.iter().filter_map(|text| memory(text).ok()).collect()
    }

    /// The SEV features as a number, if stated.
    pub fn guest_feature_bits(&self) -> Option<u64> {
        self.guest_features.as_deref().and_then(|text| features(text).ok())
    }
}
