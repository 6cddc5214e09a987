//! What to measure: which TEE takes which settings stands in its row of [`TEES`].

use super::{Check, Place};
use crate::measure::guest::FIRMWARE;
use crate::measure::{Setting, TEES, Tee};
use crate::recipe::error::suggest;
use crate::recipe::path::Fault;
use crate::recipe::{MachineSpec, Values};

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
    if let Some(vmm) = &spec.vmm {
        check.holds(&place.key("vmm"), vmm_name(tee, vmm));
    }
    if let Some(firmware) = &spec.firmware {
        let known: Vec<_> = check.recipe.firmware.keys().map(String::as_str).collect();
        if !known.contains(&firmware.as_str()) {
            check.unknown(&place.key("firmware"), "firmware", firmware, &known);
        }
    }
    if spec.firmware.is_some() && !tee.reads.contains(&FIRMWARE) {
        let what = format!("{} has no `firmware`", tee.name);
        check.fail(&place.name("firmware"), what, "leave it out");
    }
    for (name, values) in &spec.settings {
        match tee.setting(name) {
            Some(setting) => texts(check, &place.key(name), setting, values),
            None => {
                let hint = format!("its settings: {}", tee.settings());
                check.fail(&place.name(name), format!("{} has no `{name}`", tee.name), &hint);
            }
        }
    }
}

fn texts(check: &mut Check<'_>, place: &Place<'_>, setting: &Setting, values: &Values) {
    let readable = |text: &str| {
        let wrong = |_| Fault::new(format!("`{text}` is not {}", setting.kind), setting.about);
        setting.parse(text).map(drop).map_err(wrong)
    };
    match values {
        Values::One(value) => check.holds(place, readable(&value.to_string())),
        Values::Many(_) => check.texts(place, &values.texts(), readable),
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
