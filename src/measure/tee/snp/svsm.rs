//! A raw `svsm.bin` of coconut-svsm beside an OVMF. Its releases are IGVM files; this launch is that
//! of coconut's own QEMU before them.

use alloc::collections::BTreeMap;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use super::{Chain, GUEST_FEATURES, Seed, TEE, cpu, vcpus};
use crate::digest::Sha384;
use crate::measure::machine::Kind;
use crate::measure::page::{Action, PAGE_SIZE, Step};
use crate::measure::vmm::sev::{Launch, bytes, pages_from};
use crate::measure::vmm::svsm::Svsm;
use crate::measure::{Error, File, Guest, Machine, Measurement, Register, Result, Setting, ovmf};

/// The SVSM itself.
pub const SVSM: File = File { name: "svsm", about: "Raw svsm.bin of coconut-svsm" };

/// Between firmware and SVSM lies the variable store.
pub const VARS_SIZE: Setting = Setting {
    name: "vars-size",
    about: "Size in bytes of the variable store below the firmware of an --svsm",
    kind: Kind::Number,
};

/// What `sev-snp-measure` 0.0.13 computes for an SVSM, and no machine reports.
pub const BUG_COMPATIBLE: Setting = Setting {
    name: "bug-compatible",
    about: "For an --svsm: as sev-snp-measure 0.0.13, x87 control word 0 and SEV features 0x1",
    kind: Kind::Flag,
};

/// Measurements of machines that start in an SVSM.
pub(super) fn expect(
    guest: &Guest<'_>,
    image: &[u8],
    machines: &[Machine],
) -> Result<Vec<Measurement>> {
    let firmware = ovmf::image(TEE.name, guest)?;
    let mut digests: BTreeMap<u64, Sha384> = BTreeMap::new();
    let one = |machine: &Machine| {
        let svsm = place(guest, image, firmware, machine)?;
        let before = match digests.get(&svsm.gpa) {
            Some(before) => *before,
            None => before_vmsas(firmware, &svsm)?,
        };
        digests.insert(svsm.gpa, before);
        let launch = ovmf::launch(TEE.name, machine)?;
        let gpa = (launch.vmsa_gpa)(machine.cpu.as_ref());
        let vmsa = Sha384::of(&vmsa(&svsm, launch, machine)?);
        let seed = Seed { before, first: vmsa, other: vmsa, gpa };
        Ok(measurement(guest, machine, seed, seed.digest(vcpus(TEE.name, machine)?)))
    };
    machines.iter().map(one).collect()
}

/// The SVSM where `machine` puts it.
fn place<'a>(
    guest: &Guest<'_>,
    image: &'a [u8],
    firmware: &[u8],
    machine: &Machine,
) -> Result<Svsm<'a>> {
    if machine.vmm.name != "qemu" {
        return Err(Error::Unsupported {
            what: alloc::format!("a raw SVSM under `{}`", machine.vmm),
            why: "only QEMU (coconut-svsm's own) loads one".to_string(),
        });
    }
    let stated = machine.number(VARS_SIZE.name);
    let vars = stated.or_else(|| guest.vars.map(|vars| vars.len() as u64));
    let vars = vars.ok_or_else(|| Error::Missing {
        tee: TEE.name,
        what: "the size of the variable store",
        why: "an SVSM lies below it; give --vars OVMF_VARS.fd or --vars-size BYTES".to_string(),
    })?;
    Svsm::below(image, firmware.len() as u64, vars)
}

fn before_vmsas(firmware: &[u8], svsm: &Svsm<'_>) -> Result<Sha384> {
    let mut chain = Chain::new(Sha384::ZERO);
    Launch::firmware(firmware).for_each(|step| chain.launch(step));
    let pages = svsm.image.chunks(PAGE_SIZE).zip(pages_from(svsm.gpa));
    let step =
        |(page, gpa)| Step { gpa, action: Action::Normal(alloc::borrow::Cow::Borrowed(page)) };
    pages.map(step).for_each(|step| chain.launch(step));
    svsm.sections()?.into_iter().for_each(|step| chain.launch(step));
    Ok(chain.digest())
}

/// The VMSA of every vCPU of `machine`, of which there is one form.
fn vmsa(svsm: &Svsm<'_>, launch: &Launch, machine: &Machine) -> Result<Vec<u8>> {
    let cpu = cpu(TEE.name, launch, machine)?;
    let bugs = machine.flag(BUG_COMPATIBLE.name);
    let features = machine.number(GUEST_FEATURES.name).filter(|_| !bugs).unwrap_or(1);
    let mut vmsa = svsm.vmsa(launch, features, cpu);
    if bugs {
        vmsa.x87_fcw = 0.into();
    }
    Ok(bytes(&vmsa))
}

/// As [`super::vmsas`], for an SVSM.
pub(super) fn vmsas(guest: &Guest<'_>, image: &[u8], machine: &Machine) -> Result<Vec<Vec<u8>>> {
    let svsm = place(guest, image, ovmf::image(TEE.name, guest)?, machine)?;
    let vmsa = vmsa(&svsm, ovmf::launch(TEE.name, machine)?, machine)?;
    Ok(vec![vmsa; vcpus(TEE.name, machine)? as usize])
}

fn measurement(guest: &Guest<'_>, machine: &Machine, seed: Seed, digest: Sha384) -> Measurement {
    let mut warnings = ovmf::machine_doubts(machine);
    if machine.flag(BUG_COMPATIBLE.name) {
        warnings.push(
            "bug-compatible with sev-snp-measure 0.0.13: no machine reports this digest".into(),
        );
    }
    if guest.kernel.or(guest.initrd).is_some() || guest.cmdline.is_some() {
        warnings.push("an SVSM measures no kernel: kernel, initrd and cmdline are left out".into());
    }
    Measurement {
        registers: vec![Register::new("measurement", digest)],
        parts: seed.parts(),
        warnings,
        ..Measurement::default()
    }
}
