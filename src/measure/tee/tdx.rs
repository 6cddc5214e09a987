//! Intel TDX: MRTD, RTMR0 to RTMR3 and the fields that the host chooses. `docs/measure/tdx.md`.

mod mrtd;

pub use mrtd::mrtd;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::vtpm::{ACPI, EPOCH, PHASE};
use crate::digest::{self, Sha384};
use crate::format::eventlog::{
    Algorithm, EV_EFI_HANDOFF_TABLES2, EV_EFI_PLATFORM_FIRMWARE_BLOB2, EV_SEPARATOR,
};
use crate::format::tdvf::{self, Kind as Part, Section};
use crate::measure::both::both;
use crate::measure::event::{self, Banks, Folded, Step};
use crate::measure::guest::{CMDLINE, DISK, FIRMWARE, INITRD, KERNEL};
use crate::measure::initdata::INITDATA;
use crate::measure::machine::{Kind, MEMORY, Setting, VCPUS};
use crate::measure::uefi::{Boot, Epoch, NO_BOOT_SECRET, Trust};
use crate::measure::vmm::tdvf::{Order, gce, hand_off};
use crate::measure::{
    Candidate, Confidence, Error, Guest, Machine, Measurement, Register, Result, Tee, initdata,
    linux,
};

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
    takes: &[VCPUS, MEMORY, FORM, EPOCH, PHASE, NO_BOOT_SECRET, FIELDS[0], FIELDS[1], FIELDS[2]],
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

/// How MRTD was computed by VMMs whose version does not tell.
const FORM: Setting = Setting {
    name: "mrtd-form",
    about: "MRTD of other VMMs: two-pass (all pages of a section before all their contents); of GCE \
            before its fix: all-sections, all-sections-early-accept (these need --memory)",
    kind: Kind::Choice(&["single-pass", "two-pass", "all-sections", "all-sections-early-accept"]),
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
    machines.iter().try_for_each(|machine| has_room(&sections, machine))?;
    let forms = machines.iter().map(form).collect::<Result<Vec<_>>>()?;
    let (mrtds, boots) = both(|| mrtds(&sections, &forms), || boots(guest, &sections, machines));
    let found = machines.iter().zip(forms).zip(mrtds?).zip(boots?);
    let complete = |(((machine, form), mrtd), (mut found, fw_cfg)): (_, (Measurement, bool))| {
        found.registers.insert(0, Register::new("mrtd", mrtd));
        found.registers.extend(fields(guest, machine)?);
        found.rest_on(|name| behind(name, form, fw_cfg));
        Ok(found)
    };
    found.map(complete).collect()
}

/// The RTMRs of every machine, and whether its firmware measures fw_cfg; none where nothing boots.
fn boots(
    guest: &Guest<'_>,
    sections: &[Section<'_>],
    machines: &[Machine],
) -> Result<Vec<(Measurement, bool)>> {
    let mut boots: Vec<(Option<&str>, Boot<'_>)> = Vec::new();
    let mut one = |machine| {
        let mut found = Measurement::default();
        if guest.kernel.is_none() && guest.disk.is_none() {
            return Ok((found, false));
        }
        let epoch = Machine::text(machine, EPOCH.name);
        if !boots.iter().any(|(known, _)| *known == epoch) {
            let banks = alloc::vec![Algorithm::Sha384];
            boots.push((epoch, Boot::new(guest, epoch, banks, Trust { td: true })?));
        }
        let boot = boots.iter_mut().find(|(known, _)| *known == epoch);
        let Some((_, boot)) = boot else { return Ok((found, false)) };
        run_time(boot, sections, machine, &mut found)?;
        found.warnings.extend(linux::doubts(guest).into_iter().chain(boot.doubt("RTMR2", machine)));
        Ok((found, boot.firmware.epoch.fw_cfg))
    };
    machines.iter().map(&mut one).collect()
}

/// What MRTD depends on beside the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Sections as their attributes say.
    Sections(Order),
    /// Every section, on a machine of GCE with so much memory.
    Gce { memory: u64, early_accept: bool },
}

/// As stated, or by the VMM: QEMU 8 with Intel's patches adds all pages before it extends any.
fn form(machine: &Machine) -> Result<Form> {
    let vmm = &machine.vmm;
    let patched = vmm.name == "qemu" && !vmm.before(&[8, 0]) && vmm.before(&[9, 0]);
    let early_accept = match machine.text(FORM.name) {
        None if patched => return Ok(Form::Sections(Order::TwoPass)),
        Some("two-pass") => return Ok(Form::Sections(Order::TwoPass)),
        Some("all-sections") => false,
        Some("all-sections-early-accept") => true,
        _ => return Ok(Form::Sections(Order::SinglePass)),
    };
    let memory = machine.memory.filter(|_| vmm.name == "gce").ok_or_else(|| Error::Missing {
        tee: TDX.name,
        what: "--vmm gce and --memory for this form of MRTD",
        why: "GCE measured the hand-off blocks too, and they tell the size of memory".to_string(),
    })?;
    Ok(Form::Gce { memory, early_accept })
}

/// MRTD in each of `forms`, computed once for each that differs.
fn mrtds(sections: &[Section<'_>], forms: &[Form]) -> Result<Vec<Sha384>> {
    let mut known: Vec<(Form, Sha384)> = Vec::new();
    let one = |form: &Form| {
        if let Some((_, digest)) = known.iter().find(|(known, _)| known == form) {
            return Ok(*digest);
        }
        let digest = digest_of(sections, *form)?;
        known.push((*form, digest));
        Ok(digest)
    };
    forms.iter().map(one).collect()
}

/// Refuses memory that ends before what the firmware uses of it from the start.
fn has_room(sections: &[Section<'_>], machine: &Machine) -> Result<()> {
    let Some(memory) = machine.memory else { return Ok(()) };
    let used = sections.iter().filter(|s| matches!(s.kind, Part::TdHob | Part::TempMem));
    let end = used.map(|section| section.address.saturating_add(section.size)).max();
    match end.filter(|end| *end <= 1 << 31 && *end > memory) {
        Some(end) => Err(Error::Unsupported {
            what: format!("a TD with {memory} bytes of memory"),
            why: format!("the firmware's own sections of it reach up to {end:#x}"),
        }),
        None => Ok(()),
    }
}

/// MRTD in a form.
fn digest_of(sections: &[Section<'_>], form: Form) -> Result<Sha384> {
    match form {
        Form::Sections(order) => mrtd(sections, order),
        Form::Gce { memory, early_accept } => {
            let blocks = gce::hand_off(sections, memory, early_accept);
            mrtd(&gce::measured(sections, &blocks), Order::SinglePass)
        }
    }
}

/// The RTMRs of a boot on `machine`.
fn run_time(
    boot: &mut Boot<'_>,
    sections: &[Section<'_>],
    machine: &Machine,
    found: &mut Measurement,
) -> Result<()> {
    let mut steps = first(sections, machine);
    steps.extend(boot.steps(machine)?);
    let epoch = boot.firmware.epoch;
    found.epoch = Some(boot.firmware.epoch_name());
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

/// What stands behind a register (`docs/measure/tdx.md`). `fw_cfg`: the firmware measures it, as no
/// log of a TD that was compared does.
fn behind(register: &str, form: Form, fw_cfg: bool) -> Confidence {
    match register {
        "mrtd" if matches!(form, Form::Gce { .. }) => Confidence::Source,
        "rtmr0" if fw_cfg => Confidence::Source,
        "rtmr0" | "rtmr3" => Confidence::Hardware,
        "rtmr1" | "rtmr2" => Confidence::VtpmBoot,
        _ => Confidence::ToolsAgree,
    }
}

/// Where the firmware does not tell its release: what both give is a register, what differs is a
/// candidate under each release's name.
fn candidates(steps: &[Step], epoch: Epoch, found: &mut Measurement) {
    let with = |in_rtmr1| fold(steps, &Epoch { separator_in_rtmr1: Some(in_rtmr1), ..epoch });
    let (before, since) = (with(false), with(true));
    let candidate = |register: Register, when: &str| Candidate {
        register: register.name,
        when: when.to_string(),
        value: register.value,
    };
    for (old, new) in before.registers.into_iter().zip(since.registers) {
        if old == new {
            found.registers.push(new);
            continue;
        }
        found.warnings.push(format!(
            "{} depends on whether the firmware is of edk2-stable202411 or later, which its volumes \
             do not show; both values are candidates; state the release with --firmware-epoch",
            new.name,
        ));
        found.candidates.push(candidate(old, "edk2 before 202411"));
        found.candidates.push(candidate(new, "edk2 202411 or later"));
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
        let bound = match setting.name {
            name @ "mrconfigid" => initdata::field(guest, name, WIDTH)?,
            _ => None,
        };
        let register = match (stated.transpose()?, bound) {
            (Some(_), Some(_)) => {
                let what = "mrconfigid beside initdata".to_string();
                let why = "initdata is what MRCONFIGID is bound to: give one of them".to_string();
                return Err(Error::Unsupported { what, why });
            }
            (Some(value), None) => Register::new(setting.name, value),
            (None, Some(register)) => register,
            (None, None) => continue,
        };
        found.push(register);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_release_cannot_be_told_both_values_are_candidates() {
        let banks = Banks::new(alloc::vec![Algorithm::Sha384]);
        let steps: Vec<_> =
            (0..8).map(|pcr| banks.step(pcr, EV_SEPARATOR, "separator", &[0; 4])).collect();
        let epoch =
            Epoch { separator_in_rtmr1: None, ..Epoch::of_release("202302").expect("known") };
        let mut found = Measurement::default();
        candidates(&steps, epoch, &mut found);
        let names: Vec<_> = found.registers.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["rtmr2", "rtmr3"]);
        let candidates: Vec<_> =
            found.candidates.iter().map(|c| (c.register.as_str(), c.when.as_str())).collect();
        let (before, since) = ("edk2 before 202411", "edk2 202411 or later");
        let expected = [("rtmr0", before), ("rtmr0", since), ("rtmr1", before), ("rtmr1", since)];
        assert_eq!(candidates, expected);
        // Two separators in RTMR0 and none in RTMR1 before, one in each since.
        let separator = Sha384::of(&[0; 4]);
        let one = Sha384::of_parts([&[0; 48][..], &separator.0]);
        let two = Sha384::of_parts([&one.0[..], &separator.0]);
        let values: Vec<_> = found.candidates.iter().map(|c| &c.value[..]).collect();
        assert_eq!(values, [&two.0[..], &one.0, &[0; 48], &one.0]);
        assert_eq!(found.warnings.len(), 2);
    }
}
