//! An IGVM file carries the whole launch, firmware included.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::{Chain, TEE};
use crate::digest::Sha384;
use crate::format::igvm::{Action as Header, File, PlatformType};
use crate::measure::page::{Action, Step};
use crate::measure::vmm::{Effect, igvm};
use crate::measure::{Confidence, Error, Guest, Machine, Measurement, Register, Result, ovmf};

/// The measurement of the guest in `file` on `machine`.
pub(super) fn expect(guest: &Guest<'_>, file: &[u8], machine: &Machine) -> Result<Measurement> {
    let mut chain = Chain::new(Sha384::ZERO);
    steps(file, machine)?.into_iter().for_each(|step| chain.launch(step));
    let beside = guest.firmware.or(guest.kernel).or(guest.initrd).is_some();
    let warning =
        "firmware, kernel and initrd beside an IGVM file are not measured: they are left out";
    let mut warnings: Vec<_> = beside.then(|| warning.to_string()).into_iter().collect();
    warnings.extend(file_doubts(file, chain.digest()));
    Ok(Measurement {
        registers: vec![Register::new("measurement", chain.digest())],
        warnings,
        confidence: confidence(machine),
        ..Measurement::default()
    })
}

/// Cloud Hypervisor's loader has been read; nothing else computes its digests.
fn confidence(machine: &Machine) -> Confidence {
    match machine.vmm.name.starts_with("cloud-hypervisor") {
        true => Confidence::Source,
        false => Confidence::ToolsAgree,
    }
}

fn steps<'a>(file: &'a [u8], machine: &Machine) -> Result<Vec<Step<'a>>> {
    let profile = ovmf::profile_of(machine)?;
    if let Some(epoch) = profile.lacks(TEE.name, machine, Effect::Igvm) {
        return Err(ovmf::too_early(TEE.name, machine, epoch));
    }
    let rules = profile.igvm.ok_or_else(|| Error::Unsupported {
        what: format!("an IGVM file under `{}`", machine.vmm),
        why: "how it loads one is not known".to_string(),
    })?;
    igvm::steps(rules, file, machine)
}

/// The VMSAs among the steps of the launch.
pub(super) fn vmsas(file: &[u8], machine: &Machine) -> Result<Vec<Vec<u8>>> {
    let vmsa = |step: Step<'_>| match step.action {
        Action::Vmsa(page) => Some(Cow::into_owned(page)),
        _ => None,
    };
    Ok(steps(file, machine)?.into_iter().filter_map(vmsa).collect())
}

/// What a person should know about a file that launches as `digest`.
fn file_doubts(file: &[u8], digest: Sha384) -> Vec<String> {
    let Ok(file) = File::parse(file) else { return Vec::new() };
    let mask = file.mask(PlatformType::SEV_SNP).unwrap_or_default();
    let ours: Vec<_> = file.directives.iter().filter(|d| d.mask & mask != 0).collect();
    let mut doubts = Vec::new();
    for directive in &ours {
        if let Header::IdBlock(wanted) = directive.action
            && Sha384(wanted) != digest
        {
            doubts.push(format!(
                "the file's ID block is for the launch digest {}: SNP firmware refuses this launch",
                Sha384(wanted)
            ));
        }
    }
    if !ours.iter().any(|directive| matches!(directive.action, Header::Policy(_))) {
        doubts.push("the file states no guest policy: Hyper-V refuses to load it".into());
    }
    doubts
}
