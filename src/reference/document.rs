//! The canonical document: what one build is expected to report, on each of its machines.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::hex;
use crate::measure;

/// Version of [`Document`] that this guestsmith writes, and the last that it reads.
pub const VERSION: u32 = 1;

/// Reference values of one build. What belongs together stays together: the registers of a
/// [`Machine`] are one set, and all machines of a document boot the same artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of this form.
    pub version: u32,
    /// What computed the values, with its version: `guestsmith 0.1.0`.
    pub tool: String,
    /// The recipe; absent where files were measured without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// What was built, sorted by name.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// Expected registers, one entry a machine, sorted.
    pub machines: Vec<Machine>,
    /// Everything that went into the build, by hash, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub materials: Vec<Material>,
}

/// Which recipe, and which lock of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// Architecture of the guest, by the kernel's name: `x86_64`.
    pub arch: String,
    /// The one time in every output, RFC 3339 in UTC.
    pub epoch: String,
    /// SHA-256 of the parsed recipe with all it extends.
    pub sha256: String,
    /// SHA-256 of the lock file.
    pub lock_sha256: String,
}

/// One file that the build made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Path in the output directory: `initrd`.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// One input of the build, as its lock or a program's `Cargo.lock` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Material {
    /// Kind of source: `deb`, `git`, `archive`, `crate`, `oci`, `local`.
    pub kind: String,
    /// Its name there.
    pub name: String,
    /// Its version, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its architecture by the source's name, where it has one: `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// SHA-256 of its bytes; of a directory (`local`) that of the names, executable bits and contents in it.
    pub sha256: String,
    /// Size in bytes, where the lock knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A machine and the registers that a guest on it will report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The TEE, by its name on the command line: `sev-snp`.
    pub tee: String,
    /// The VMM, with its version where one was stated: `qemu@10.1`.
    pub vmm: String,
    /// Name of the firmware in the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// CPU model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Number of vCPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Guest memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Settings of its TEE alone: name to value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "super::unique::map")]
    pub settings: BTreeMap<String, String>,
    /// Expected registers: name to lower-case hexadecimal value.
    #[serde(deserialize_with = "super::unique::map")]
    pub registers: BTreeMap<String, String>,
    /// Extends in order, where a register is a chain of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What stands behind the registers, the weakest of them.
    pub confidence: Confidence,
    /// Registers behind which more stands than that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stronger: BTreeMap<String, Confidence>,
    /// The release of edk2 whose layout the events have, where that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Values of registers where the inputs do not decide between several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Doubts that a person should read before relying on the registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One of several values that a register may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The register.
    pub register: String,
    /// When it has this value.
    pub when: String,
    /// The value, lower-case hexadecimal.
    pub value: String,
}

/// One extend of a register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Register that is extended.
    pub register: String,
    /// Type, by its TCG name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest that is extended, lower-case hexadecimal.
    pub digest: String,
    /// What was measured, in words.
    pub what: String,
}

/// What stands behind a value (`docs/measure/`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Only our reading of a specification or of source code.
    Source,
    /// Independent tools compute the same.
    ToolsAgree,
    /// A guest booted with a virtual TPM measured the same.
    VtpmBoot,
    /// A quote or report of real hardware holds the same.
    Hardware,
}

impl Document {
    /// A document of files that were measured without a recipe.
    pub fn of_machines(machines: Vec<Machine>) -> Self {
        let tool = concat!("guestsmith ", env!("CARGO_PKG_VERSION")).to_string();
        let (artifacts, materials) = (Vec::new(), Vec::new());
        Self { version: VERSION, tool, recipe: None, artifacts, machines, materials }
    }

    /// The name under which a person knows it: the recipe's, or that of this tool.
    pub fn name(&self) -> &str {
        self.recipe.as_ref().map_or("guestsmith", |recipe| &recipe.name)
    }

    /// Machines of the TEE called `tee`.
    pub fn of_tee<'a>(&'a self, tee: &'a str) -> impl Iterator<Item = &'a Machine> {
        self.machines.iter().filter(move |machine| machine.tee == tee)
    }
}

impl Machine {
    /// What `measurement` says for `machine` under the TEE called `tee`.
    pub fn new(tee: &str, machine: &measure::Machine, measurement: &measure::Measurement) -> Self {
        let registers = measurement.registers.iter();
        Self {
            tee: tee.to_string(),
            vmm: machine.vmm.to_string(),
            firmware: None,
            cpu: machine.cpu.as_ref().map(|cpu| cpu.name.clone()),
            vcpus: machine.vcpus,
            memory: machine.memory,
            settings: machine.settings.iter().map(|(n, v)| (n.clone(), v.to_string())).collect(),
            registers: registers.map(|r| (r.name.clone(), hex(&r.value))).collect(),
            events: measurement.events.iter().map(Event::from).collect(),
            confidence: measurement.confidence.into(),
            stronger: measurement.stronger.iter().map(|(n, c)| (n.clone(), (*c).into())).collect(),
            epoch: measurement.epoch.clone(),
            candidates: measurement.candidates.iter().map(Candidate::from).collect(),
            warnings: measurement.warnings.clone(),
        }
    }

    /// One line that tells this machine from the others: `sev-snp qemu EPYC-Milan 4 vCPUs`.
    pub fn label(&self) -> String {
        let mut words = vec![self.tee.clone(), self.vmm.clone()];
        words.extend(self.firmware.clone());
        words.extend(self.cpu.clone());
        words.extend(self.vcpus.map(|n| format!("{n} vCPU{}", if n == 1 { "" } else { "s" })));
        words.extend(self.memory.map(|bytes| format!("{} MiB", bytes >> 20)));
        words.extend(self.settings.iter().map(|(name, value)| format!("{name}={value}")));
        words.join(" ")
    }

    /// Registers that have no value since the inputs do not decide between several, in words.
    pub(super) fn undecided(&self) -> Vec<String> {
        let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for Candidate { register, when, value } in &self.candidates {
            values.entry(register).or_default().push(format!("{value} with {when}"));
        }
        let line = |(register, values): (&str, Vec<String>)| {
            let (label, values) = (self.label(), values.join(", or "));
            format!(
                "{register} of {label} is left out: it is {values}; measure with one of them stated"
            )
        };
        values.into_iter().map(line).collect()
    }

    /// What it is, without what it reports; the order of machines in a document.
    pub(super) fn key(&self) -> impl Ord + '_ {
        (&self.tee, &self.vmm, &self.firmware, &self.cpu, self.vcpus, self.memory, &self.settings)
    }
}

impl From<&measure::Candidate> for Candidate {
    fn from(candidate: &measure::Candidate) -> Self {
        let (register, when) = (candidate.register.clone(), candidate.when.clone());
        Self { register, when, value: hex(&candidate.value) }
    }
}

impl From<&measure::event::Event> for Event {
    fn from(event: &measure::event::Event) -> Self {
        let (register, kind) = (event.register.clone(), event.kind.clone());
        Self { register, kind, digest: hex(&event.digest), what: event.what.clone() }
    }
}

impl From<measure::Confidence> for Confidence {
    fn from(confidence: measure::Confidence) -> Self {
        match confidence {
            measure::Confidence::Source => Self::Source,
            measure::Confidence::ToolsAgree => Self::ToolsAgree,
            measure::Confidence::VtpmBoot => Self::VtpmBoot,
            measure::Confidence::Hardware => Self::Hardware,
        }
    }
}
