//! Intel TDX: MRTD, RTMR0 to RTMR3 and the fields that the host chooses. `docs/measure/tdx.md`.

mod mrtd;

pub use mrtd::mrtd;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::vtpm::{ACPI, EPOCH, PHASE};
use crate::digest;
use crate::format::eventlog::{
    Algorithm, EV_EFI_HANDOFF_TABLES2, EV_EFI_PLATFORM_FIRMWARE_BLOB2, EV_SEPARATOR,
};
use crate::format::tdvf::{self, Kind as Part, Section};
use crate::measure::event::{self, Banks, Folded, Step};
use crate::measure::guest::{CMDLINE, DISK, FIRMWARE, INITRD, KERNEL};
use crate::measure::machine::{Kind, MEMORY, Setting, VCPUS};
use crate::measure::uefi::{Boot, Epoch, Trust};
use crate::measure::vmm::tdvf::{Order, hand_off};
use crate::measure::{
    Confidence, Error, File, Guest, Machine, Measurement, Register, Result, Tee, initdata,
};

/// Initdata of Confidential Containers.
const INITDATA: File =
    File { name: "initdata", about: "Initdata (TOML) that MRCONFIGID is bound to" };

const fn field(name: &'static str, about: &'static str) -> Setting {
    Setting { name, about, kind: Kind::Text }
}

/// Fields of 48 bytes that the host chooses, as hexadecimal text.
const FIELDS: [Setting; 3] = [
    field("mrconfigid", "MRCONFIGID, up to 96 hexadecimal digits; zeros follow"),
    field("mrowner", "MROWNER, likewise"),
    field("mrownerconfig", "MROWNERCONFIG, likewise"),
];

/// The row of the table of TEEs.
pub const TDX: Tee = Tee {
    name: "tdx",
    about: "Intel TDX: MRTD and RTMRs of a TD",
    vmms: &["qemu", "gce"],
    takes: &[VCPUS, MEMORY, EPOCH, PHASE, FIELDS[0], FIELDS[1], FIELDS[2]],
    reads: &[FIRMWARE, KERNEL, INITRD, CMDLINE, DISK, ACPI, INITDATA],
    registers: &[
        "mrtd",
        "rtmr0",
        "rtmr1",
        "rtmr2",
        "rtmr3",
        "mrconfigid",
        "mrowner",
        "mrownerconfig",
    ],
    expect,
};

const RTMRS: &[&str] = &["rtmr0", "rtmr1", "rtmr2", "rtmr3"];

/// Width of every register.
const WIDTH: usize = 48;

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let firmware = guest.firmware.ok_or_else(|| Error::Missing {
        tee: TDX.name,
        what: "firmware",
        why: "MRTD is its digest".to_string(),
    })?;
    let input = |error| Error::Input { input: "firmware", error };
    let sections = tdvf::sections(firmware).map_err(input)?;
    let mut digests = Vec::new();
    let mut boots = Vec::new();
    machines
        .iter()
        .map(|machine| {
            let mut found = Measurement::default();
            let order = order(machine);
            if !digests.iter().any(|(known, _)| *known == order) {
                digests.push((order, mrtd(&sections, order)?));
            }
            let known = digests.iter().find(|(known, _)| *known == order);
            found.registers.extend(known.map(|(_, value)| Register::new("mrtd", value)));
            found.confidence = Confidence::ToolsAgree;
            if guest.kernel.is_some() || guest.disk.is_some() {
                let epoch = machine.text(EPOCH.name);
                if !boots.iter().any(|(known, _)| *known == epoch) {
                    boots.push((epoch, Boot::new(guest, epoch, alloc::vec![Algorithm::Sha384])?));
                }
                let boot = boots.iter_mut().find(|(known, _)| *known == epoch);
                if let Some((_, boot)) = boot {
                    run_time(boot, &sections, machine, &mut found)?;
                }
            }
            found.registers.extend(fields(guest, machine)?);
            Ok(found)
        })
        .collect()
}

/// QEMU 8 with Intel's patches adds all pages before it extends any.
fn order(machine: &Machine) -> Order {
    let vmm = &machine.vmm;
    let patched = vmm.name == "qemu" && !vmm.before(&[8, 0]) && vmm.before(&[9, 0]);
    if patched { Order::TwoPass } else { Order::SinglePass }
}

/// The RTMRs of a boot on `machine`.
fn run_time(
    boot: &mut Boot<'_>,
    sections: &[Section<'_>],
    machine: &Machine,
    found: &mut Measurement,
) -> Result<()> {
    let mut steps = first(sections, machine);
    steps.extend(boot.steps(machine, Trust { td: true })?);
    let epoch = boot.firmware.epoch;
    found.confidence = if epoch.fw_cfg { Confidence::Source } else { Confidence::Hardware };
    if epoch.fw_cfg {
        found.warnings.push(
            "rtmr0 of firmware from edk2-stable202505 on rests on its source code: no log of a \
             TD with it has been compared"
                .to_string(),
        );
    }
    match epoch.separator_in_rtmr1 {
        Some(_) => {
            let folded = fold(&steps, &epoch);
            found.registers.extend(folded.registers);
            found.events = folded.events;
            found.warnings.extend(folded.warnings);
        }
        None => candidates(&steps, epoch, found),
    }
    Ok(())
}

/// Where the firmware does not tell its release: what both give is a register, what differs stands
/// beside it under each release's name.
fn candidates(steps: &[Step], epoch: Epoch, found: &mut Measurement) {
    let with = |in_rtmr1| fold(steps, &Epoch { separator_in_rtmr1: Some(in_rtmr1), ..epoch });
    let (before, since) = (with(false), with(true));
    for (old, new) in before.registers.into_iter().zip(since.registers) {
        if old == new {
            found.registers.push(new);
            continue;
        }
        let warning = format!(
            "{0} depends on whether the firmware is of edk2-stable202411 or later, which its \
             volumes do not show: {1} before, {2} since; state it with --firmware-epoch",
            new.name,
            digest::hex(&old.value),
            digest::hex(&new.value),
        );
        found.warnings.push(warning);
        found.parts.push(Register { name: format!("{} (before 202411)", old.name), ..old });
        found.parts.push(Register { name: format!("{} (since 202411)", new.name), ..new });
    }
    found.events = since.events;
    found.warnings.extend(since.warnings);
}

/// What the firmware measures before anything else: hand-off blocks and configuration volume
/// (edk2 `OvmfPkg/IntelTdx/TdxHelperLib/SecTdxHelper.c`).
fn first(sections: &[Section<'_>], machine: &Machine) -> Vec<Step> {
    let banks = Banks::new(alloc::vec![Algorithm::Sha384]);
    let (kind, what) = (EV_EFI_HANDOFF_TABLES2, "hand-off blocks (TD HOB)");
    let blocks = machine.memory.and_then(|memory| hand_off(sections, memory));
    let mut steps = alloc::vec![match blocks {
        Some(blocks) => banks.step(1, kind, what, &blocks),
        None => Step::unknown(1, kind, what, "they tell the size of memory; give --memory"),
    }];
    let volumes = sections.iter().filter(|section| section.kind == Part::Cfv);
    steps.extend(volumes.map(|volume| {
        let what = "configuration volume (CFV)";
        banks.step(1, EV_EFI_PLATFORM_FIRMWARE_BLOB2, what, volume.data)
    }));
    steps
}

/// Folds steps into RTMRs.
fn fold(steps: &[Step], epoch: &Epoch) -> Folded {
    let in_rtmr1 = epoch.separator_in_rtmr1 == Some(true);
    // One separator stands for those of PCR 0 to 6: in RTMR1, and before 202411 in RTMR0.
    let separator = if in_rtmr1 { 4 } else { 1 };
    event::fold(steps, Algorithm::Sha384, RTMRS, |step| {
        let dropped = step.kind == EV_SEPARATOR && step.pcr < 7 && step.pcr != separator;
        if dropped { None } else { rtmr(step.pcr) }
    })
}

/// The RTMR that stands for a PCR (UEFI 2.10 section 38.4.1, table 38.3); PCR 0 is in MRTD.
fn rtmr(pcr: u32) -> Option<String> {
    let rtmr = match pcr {
        1 | 7 => 0,
        2..=6 => 1,
        8..=15 => 2,
        _ => return None,
    };
    Some(format!("rtmr{rtmr}"))
}

/// The fields that the host chooses, as far as they were stated.
fn fields(guest: &Guest<'_>, machine: &Machine) -> Result<Vec<Register>> {
    let mut found = Vec::new();
    for setting in &FIELDS {
        let stated = machine.text(setting.name).map(|text| padded(setting.name, text));
        let bound = (setting.name == "mrconfigid").then(|| guest.file(INITDATA.name)).flatten();
        let bound = bound.map(initdata::digest).transpose()?;
        let value = match (stated.transpose()?, bound) {
            (Some(_), Some(_)) => {
                let what = "mrconfigid beside initdata".to_string();
                let why = "initdata is what MRCONFIGID is bound to: give one of them".to_string();
                return Err(Error::Unsupported { what, why });
            }
            (Some(value), None) => value,
            (None, Some(digest)) => initdata::fitted(digest, WIDTH),
            (None, None) => continue,
        };
        found.push(Register::new(setting.name, value));
    }
    Ok(found)
}

/// Bytes of a hexadecimal text, with zeros behind them.
fn padded(name: &str, text: &str) -> Result<Vec<u8>> {
    let bytes = digest::unhex(text).ok().filter(|bytes| bytes.len() <= WIDTH);
    let bytes = bytes.ok_or_else(|| Error::Setting {
        name: name.to_string(),
        found: text.to_string(),
        expected: format!("at most {} hexadecimal digits", 2 * WIDTH),
    })?;
    Ok(initdata::fitted(bytes, WIDTH))
}
