//! Arm CCA: Realm Initial Measurement and Realm Extensible Measurements. `docs/measure/cca.md`.
//!
//! Realm Management Monitor specification (DEN0137), sections on the RIM of RMI_REALM_CREATE,
//! RMI_RTT_INIT_RIPAS, RMI_DATA_CREATE and RMI_REC_CREATE, and RSI_MEASUREMENT_EXTEND. Version 2.0
//! no longer measures RIPAS.

mod hash;
mod rem;
mod rim;
mod settings;

pub use hash::Hash;
pub use rem::extended;
pub use rim::{FLAG_LPA2, FLAG_PMU, FLAG_SVE, GRANULE, Parameters, Rim, Rmm, Step};

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rem::{REM_EVENTS, REMS};
use settings::*;

use crate::measure::guest::{CMDLINE, DTB, FIRMWARE, INITRD, KERNEL};
use crate::measure::initdata::INITDATA;
use crate::measure::machine::{MEMORY, VCPUS};
use crate::measure::vmm::realm::{self, Launch, Shape};
use crate::measure::{
    Confidence, Error, Guest, Machine, Measurement, Register, Result, Tee, Value,
};

/// The row of Arm CCA.
pub const CCA: Tee = Tee {
    name: "cca",
    about: "Arm CCA: a realm booted from a kernel or from firmware",
    vmms: &["qemu", "kvmtool", "cloud-hypervisor"],
    takes: &[
        VCPUS,
        MEMORY,
        HASH,
        RMM,
        IPA_BITS,
        NUM_BPS,
        NUM_WPS,
        SVE_VL,
        PMU,
        PMU_NUM_CTRS,
        LPA2,
        ITS,
        FLAGS,
        RPV,
    ],
    reads: &[FIRMWARE, KERNEL, INITRD, CMDLINE, DTB, REM_EVENTS, INITDATA],
    registers: &["rim", "rem0", "rem1", "rem2", "rem3", "rpv"],
    expect,
};

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    machines.iter().map(|machine| one(guest, machine)).collect()
}

/// The launch of `guest` on `machine` by its VMM.
fn launch<'a>(guest: &Guest<'a>, machine: &Machine) -> Result<Launch<'a>> {
    let why = "RAM shapes the realm; give --memory".to_string();
    let memory = machine.memory.ok_or(Error::Missing { tee: CCA.name, what: "memory", why })?;
    let its = machine.settings.get(ITS.name) != Some(&Value::Flag(false));
    let vcpus = machine.vcpus.unwrap_or(1);
    let shape = Shape { memory, vcpus, pmu: machine.flag(PMU.name), its };
    realm::launch(&machine.vmm.name, guest, &shape)
}

/// The device tree that is measured: the caller's, or ours for the VMM.
///
/// # Errors
/// As the measurement: a part is missing or does not fit.
pub fn device_tree(guest: &Guest<'_>, machine: &Machine) -> Result<Vec<u8>> {
    launch(guest, machine).map(|launch| launch.dtb.into_owned())
}

fn one(guest: &Guest<'_>, machine: &Machine) -> Result<Measurement> {
    let launch = launch(guest, machine)?;
    let parameters = settings::parameters(machine, launch.ipa_bits)?;
    let rmm = if machine.text(RMM.name) == Some("2.0") { Rmm::V2 } else { Rmm::V1 };
    let mut rim = Rim::create(&parameters, rmm);
    launch.steps.iter().for_each(|step| rim.step(step));
    let events = rem::events(guest, &launch, parameters.hash)?;
    let mut registers = alloc::vec![Register::new("rim", rim.value())];
    for name in REMS {
        let own = events.iter().filter(|event| event.register == name);
        let start = Ok(alloc::vec![0; parameters.hash.width()]);
        let value = own.fold(start, |rem: Result<Vec<u8>>, event| {
            extended(parameters.hash, &rem?, &event.digest)
        });
        registers.push(Register::new(name, value?));
    }
    registers.extend(personalization(guest, machine)?);
    let warnings = warnings(guest, &launch, rmm);
    let parts = alloc::vec![Register::new("dtb", parameters.hash.of(&[&launch.dtb]))];
    let confidence = match (rmm, machine.vmm.name.as_str()) {
        (Rmm::V1, "qemu" | "kvmtool") if launch.booted.is_empty() => Confidence::ToolsAgree,
        _ => Confidence::Source,
    };
    Ok(Measurement { registers, parts, events, warnings, confidence, ..Measurement::default() })
}

fn warnings(guest: &Guest<'_>, launch: &Launch<'_>, rmm: Rmm) -> Vec<String> {
    let ours =
        "the device tree is ours: give it to the VMM (QEMU: -dtb), or measure the VMM's by --dtb";
    let firmware =
        "which REM firmware extends by kernel and initrd is not settled; rem0 is assumed";
    let second = "no second implementation computes the RIM of RMM 2.0";
    let all = [
        (guest.dtb.is_none(), ours),
        (!launch.booted.is_empty(), firmware),
        (rmm == Rmm::V2, second),
    ];
    all.iter().filter(|(said, _)| *said).map(|(_, text)| text.to_string()).collect()
}

#[cfg(test)]
mod tests;
