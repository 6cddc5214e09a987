//! Registers of guests that kata starts: the build measured again, with the command line and the
//! machine of the runtime.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::cmdline::{Root, assembled};
use super::{Files, HandOver};
use crate::measure::{self, Guest};
use crate::reference::{Document, Machine};

/// The canonical document of the build, with kata's machines instead of the recipe's.
pub(super) fn document(
    document: &Document,
    files: &Files,
    overs: &[HandOver<'_>],
) -> Result<Document> {
    let mut predicted = document.clone();
    predicted.machines.clear();
    for over in overs {
        let machines = machines(files, over);
        predicted.machines.extend(machines.with_context(|| over.shim.name)?);
    }
    Ok(predicted)
}

fn machines(files: &Files, over: &HandOver<'_>) -> Result<Vec<Machine>> {
    let mut found = Vec::new();
    // `default_vcpus` is 1 where the recipe says nothing.
    let vcpus = if over.vcpus.is_empty() { &[1][..] } else { &over.vcpus };
    for vcpus in vcpus {
        found.extend(with_vcpus(files, over, *vcpus)?);
    }
    Ok(found)
}

fn with_vcpus(files: &Files, over: &HandOver<'_>, vcpus: u32) -> Result<Vec<Machine>> {
    let tee = measure::tee(over.shim.tee)?;
    let mut given = BTreeMap::from([
        ("vmm".to_string(), vec![over.runtime.vmm.to_string()]),
        ("vcpus".to_string(), vec![vcpus.to_string()]),
    ]);
    if let Some(cpu) = over.shim.cpu {
        given.insert("cpu".to_string(), vec![cpu.to_string()]);
    }
    if !over.memory.is_empty() && tee.setting("memory").is_some() {
        let sizes = over.memory.iter().map(|bytes| format!("{}KiB", bytes >> 10)).collect();
        given.insert("memory".to_string(), sizes);
    }
    let machines = measure::machines(tee, &given)?;
    let cmdline = assembled(over, vcpus);
    let guest = Guest {
        firmware: Some(files.firmware(&over.firmware)?),
        kernel: Some(&files.kernel),
        initrd: files.initrd.as_deref().filter(|_| over.root == Root::Initrd),
        cmdline: Some(&cmdline),
        ..Guest::default()
    };
    let measured = (tee.expect)(&guest, &machines)?;
    let entry = |(machine, measurement): (_, _)| {
        let mut entry = Machine::new(tee.name, machine, measurement);
        let firmware = over.firmware.strip_prefix("firmware-");
        entry.firmware = firmware.and_then(|name| name.strip_suffix(".fd")).map(str::to_string);
        entry.settings.insert("kata".to_string(), over.runtime.version.to_string());
        entry
    };
    Ok(machines.iter().zip(&measured).map(entry).collect())
}
