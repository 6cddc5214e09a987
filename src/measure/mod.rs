//! Bytes of a boot set → the digests that a TEE will report.
//!
//! Two seams keep this from being a matrix of VMMs and TEEs. The VMM decides *which* pages and
//! events come, in *which* order ([`page::Step`], [`event::Event`]); the TEE decides *how* each is
//! chained. A TEE or a VMM is one file and one row in [`TEES`] or [`VMMS`].
//!
//! From bytes, without files, for any number of machines in one call:
//!
//! ```
//! use guestsmith::measure::{self, Cpu, Guest, Machine, Vmm};
//!
//! /// SNP measurements of a firmware under QEMU with 1, 2 and 4 vCPUs.
//! fn measurements(firmware: &[u8]) -> measure::Result<Vec<Vec<u8>>> {
//!     let guest = Guest { firmware: Some(firmware), ..Guest::default() };
//!     let machine = Machine {
//!         vmm: Vmm::parse("qemu@10.1")?,
//!         cpu: Some(Cpu::parse("EPYC-Milan")?),
//!         ..Machine::default()
//!     };
//!     let machines = [1, 2, 4].map(|n| Machine { vcpus: Some(n), ..machine.clone() });
//!     let found = (measure::tee("sev-snp")?.expect)(&guest, &machines)?;
//!     Ok(found.into_iter().map(|one| one.registers[0].value.clone()).collect())
//! }
//! assert!(measurements(&[0; 40]).is_err());
//! ```

mod both;
pub mod cpu;
pub mod event;
pub mod guest;
pub mod id_block;
pub mod initdata;
pub mod kata;
pub mod kernel_hashes;
pub mod linux;
pub mod machine;
pub mod ovmf;
pub mod page;
pub mod tee;
pub mod uefi;
pub mod uki;
pub mod vmm;

pub use cpu::Cpu;
pub use guest::{File, Guest, Keeper, Known};
pub use machine::{Machine, Setting, Value, Vmm, machines};
pub use vmm::VMMS;

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Why no digest can be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One of the inputs is not what its format asks for.
    #[error("{input}: {error}")]
    Input {
        /// Which input: `firmware`, `kernel`, ….
        input: &'static str,
        /// What is wrong, and where.
        error: crate::format::Error,
    },
    /// An input or setting is needed and was not given.
    #[error("{tee} needs {what}: {why}")]
    Missing {
        /// Name of the TEE.
        tee: &'static str,
        /// The missing input or setting.
        what: &'static str,
        /// Why, and how to give it.
        why: String,
    },
    /// A setting of the machine has a value that does not exist.
    #[error("{name}: expected {expected}, found `{found}`")]
    Setting {
        /// Name of the setting.
        name: String,
        /// The value as given.
        found: String,
        /// What would be understood.
        expected: String,
    },
    /// A setting or a file was given that means nothing to the TEE.
    #[error("{tee} has no `{what}`; it has {known}")]
    NotTaken {
        /// Name of the TEE.
        tee: &'static str,
        /// What was given.
        what: String,
        /// What the TEE takes.
        known: String,
    },
    /// The combination does not exist or its algorithm is not public.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// The reason, and what is supported instead.
        why: String,
    },
}

/// Result of a measurement.
pub type Result<T> = core::result::Result<T, Error>;

/// One register of the evidence with the value it will hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Name as in the command-line contract: `measurement`, `mrtd`, `rtmr1`, `pcr4`, ….
    pub name: String,
    /// Value, as wide as the register.
    pub value: Vec<u8>,
}

impl Register {
    /// A register `name` that holds `value`.
    pub fn new(name: &str, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.to_string(), value: value.as_ref().to_vec() }
    }
}

/// What stands behind a value (`docs/measure/`): shown wherever the value is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Only our reading of a specification or of source code.
    #[default]
    Source,
    /// Independent tools compute the same.
    ToolsAgree,
    /// A guest booted with a virtual TPM measured the same.
    VtpmBoot,
    /// A quote or report of real hardware holds the same.
    Hardware,
}

/// The outcome for one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measurement {
    /// Registers, in the order of the TEE's table row.
    pub registers: Vec<Register>,
    /// Digests that went into the registers, for those who want to see how a value came about or
    /// to compute others from it.
    pub parts: Vec<Register>,
    /// Extends in order, where a register is a chain of them.
    pub events: Vec<event::Event>,
    /// Doubts that a person should read before relying on the registers.
    pub warnings: Vec<String>,
    /// What stands behind the registers, the weakest of them.
    pub confidence: Confidence,
    /// Registers behind which more stands than that.
    pub stronger: Vec<(String, Confidence)>,
    /// The release of edk2 whose layout the events have, where that decides.
    pub epoch: Option<String>,
    /// Values of registers where the inputs do not decide between several.
    pub candidates: Vec<Candidate>,
}

/// One of several values that a register may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The register.
    pub register: String,
    /// When it has this value: `edk2 before 202411`.
    pub when: String,
    /// The value.
    pub value: Vec<u8>,
}

impl Measurement {
    /// States what stands behind each register: [`Measurement::confidence`] is the weakest.
    pub fn rest_on(&mut self, confidence: impl Fn(&str) -> Confidence) {
        let names = self.registers.iter().map(|register| register.name.as_str());
        let all: Vec<_> = names.map(|name| (name.to_string(), confidence(name))).collect();
        let weakest = all.iter().map(|(_, confidence)| *confidence).min();
        self.confidence = weakest.unwrap_or(self.confidence);
        self.stronger = all.into_iter().filter(|(_, c)| *c > self.confidence).collect();
    }
}

/// A TEE: one file under `tee/`, one row in [`TEES`].
pub struct Tee {
    /// Name on the command line and in recipes: `sev-snp`.
    pub name: &'static str,
    /// One line for `--help` and the docs.
    pub about: &'static str,
    /// VMMs whose launch of this TEE is known, by name; the first is the default.
    pub vmms: &'static [&'static str],
    /// Settings of a machine that it takes beside the VMM. Any other is refused where this TEE is
    /// asked for.
    pub takes: &'static [Setting],
    /// Files of a guest that it reads. Any other is refused likewise.
    pub reads: &'static [File],
    /// Registers that it reports, in order.
    pub registers: &'static [&'static str],
    /// Expected registers of `guest` on each of `machines`, in their order. All machines come in
    /// one call, so that work which they share is done once.
    pub expect: fn(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>>,
}

/// Every TEE, in the order of the docs.
pub const TEES: &[Tee] = &[
    tee::sev::TEE,
    tee::sev_es::TEE,
    tee::snp::TEE,
    tee::tdx::TDX,
    tee::se::SE,
    tee::cca::CCA,
    tee::sgx::SGX,
    tee::nitro::NITRO,
    tee::csv::CSV,
    tee::vtpm::VTPM,
];

impl Tee {
    /// The setting called `name`, if the TEE takes it.
    pub fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.takes.iter().find(|setting| setting.name == name)
    }

    /// Names of all settings that it takes, for messages.
    pub fn settings(&self) -> String {
        let names: Vec<_> = self.takes.iter().map(|setting| setting.name).collect();
        alloc::format!("vmm, {}", names.join(", "))
    }
}

/// The TEE called `name`.
///
/// # Errors
/// No row has that name; the message lists those that exist.
pub fn tee(name: &str) -> Result<&'static Tee> {
    TEES.iter().find(|tee| tee.name == name).ok_or_else(|| {
        let known: Vec<_> = TEES.iter().map(|tee| tee.name).collect();
        Error::Unsupported {
            what: alloc::format!("TEE `{name}`"),
            why: alloc::format!("known are {}", known.join(", ")),
        }
    })
}
