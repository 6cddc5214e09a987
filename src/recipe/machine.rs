//! What to measure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
