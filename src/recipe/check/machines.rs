//! What to measure: which TEE takes which settings stands in its row of [`TEES`].

use super::{Check, Place};
use crate::measure::{TEES, Tee};
use crate::recipe::error::suggest;
use crate::recipe::path::Fault;
use crate::recipe::{MachineSpec, machine};

pub(super) fn check(check: &mut Check<'_>, place: &Place<'_>) {
    for (index, entry) in check.recipe.machines.iter().enumerate() {
        let place = place.item(index);
        if entry.len() != 1 {
            let what = format!("an entry names one TEE, this one {}", entry.len());
            check.fail(&place, what, "as in {sev-snp: {vcpus: [1, 2]}}");
        }
        for (name, spec) in entry {
            let known: Vec<_> = TEES.iter().map(|tee| tee.name).collect();
            match TEES.iter().find(|tee| tee.name == name) {
                Some(tee) => machine(check, &place.key(name), tee, spec),
                None => check.unknown(&place.name(name), "TEE", name, &known),
            }
        }
    }
}

fn machine(check: &mut Check<'_>, place: &Place<'_>, tee: &Tee, spec: &MachineSpec) {
    for entry in place.node.map_or(&[][..], |node| node.entries()) {
        if entry.key != "vmm" && !tee.takes.contains(&entry.key.as_str()) {
            let hint = format!("its settings: vmm, {}", tee.takes.join(", "));
            check.fail(
                &place.name(&entry.key),
                format!("{} has no `{}`", tee.name, entry.key),
                &hint,
            );
        }
    }
    if let Some(vmm) = &spec.vmm {
        check.holds(&place.key("vmm"), vmm_name(tee, vmm));
    }
    if let Some(firmware) = &spec.firmware {
        let known: Vec<_> = check.recipe.firmware.keys().map(String::as_str).collect();
        if !known.contains(&firmware.as_str()) {
            check.unknown(&place.key("firmware"), "firmware", firmware, &known);
        }
    }
    for (index, vcpus) in spec.vcpus.iter().enumerate() {
        if !(1..=4096).contains(vcpus) {
            let what = format!("{vcpus} vCPUs");
            check.fail(&place.key("vcpus").item(index), what, "a machine has 1 to 4096");
        }
    }
    check.texts(&place.key("memory"), &spec.memory, |text| machine::memory(text).map(drop));
    if let Some(features) = &spec.guest_features {
        check.holds(&place.key("guest-features"), machine::features(features).map(drop));
    }
}

fn vmm_name(tee: &Tee, vmm: &str) -> Result<(), Fault> {
    let (name, version) = vmm.split_once('@').map_or((vmm, None), |(n, v)| (n, Some(v)));
    if !tee.vmms.contains(&name) {
        let hint = suggest(name, tee.vmms).unwrap_or_default();
        return Err(Fault::new(format!("{} has no VMM `{name}`", tee.name), &hint));
    }
    let number = |part: &str| part.parse::<u32>().is_ok();
    match version.is_none_or(|version| version.split('.').all(number)) {
        true => Ok(()),
        false => Err(Fault::new(format!("{vmm:?} has no version of numbers"), "as in qemu@10.1")),
    }
}
