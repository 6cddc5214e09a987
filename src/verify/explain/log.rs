//! With a log: the first event that is not the expected one, and the input that it speaks of.

use serde::Serialize;

use super::deviation::Deviation;
use crate::digest::{hex, unhex};
use crate::format::eventlog::{self, Algorithm, Log, Record};
use crate::reference::compare::Registers;
use crate::reference::{Event, Machine};

/// How an event of the log departs from what is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The register.
    pub register: String,
    /// Place of the event among those of its register, from 0.
    pub position: usize,
    /// What is expected there; nothing if the event is one too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Event>,
    /// What the log has there; nothing if the event is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Event>,
    /// The input that the event measures.
    pub input: &'static str,
    /// What is otherwise about the input, where a computation shows it: it gives just the digest that
    /// was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Deviation>,
    /// Another machine of the reference values that expects just what was found, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_by: Option<String>,
}

/// What a log tells about the registers of the evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogAnswer {
    /// Registers of the evidence that the log gives: its events can be trusted for these.
    pub confirmed: Vec<String>,
    /// Registers that it doesn't give, with what that means.
    pub unconfirmed: Vec<String>,
    /// Differences to the expected events, in order.
    pub differences: Vec<Difference>,
}

/// Compares `log` with what `machine` expects; `reported` are the registers of the evidence, and
/// `others` all machines of the reference values.
pub(super) fn compare(
    log: &Log,
    machine: &Machine,
    reported: &Registers,
    others: &[Machine],
) -> LogAnswer {
    let mut answer = LogAnswer::default();
    let logged = |name: &str| name.starts_with("rtmr") || name.starts_with("pcr");
    for (register, value) in reported.iter().filter(|(name, _)| logged(name)) {
        let events = events_of(log, register, value.len());
        if events.is_empty() && value.iter().all(|byte| *byte == 0) {
            continue;
        }
        match confirms(&events, value) {
            Ok(()) => answer.confirmed.push(register.clone()),
            Err(why) => {
                answer.unconfirmed.push(format!("{register}: {why}"));
                continue;
            }
        }
        let expected: Vec<_> = machine.events.iter().filter(|e| e.register == *register).collect();
        if expected.is_empty() {
            continue;
        }
        let mut found = align(register, &expected, &events);
        found.iter_mut().for_each(|difference| {
            difference.expected_by = expected_by(difference, others).map(Machine::label);
        });
        answer.differences.extend(found);
    }
    answer
}

/// Events of the log that extend `register`, by the bank that is as wide.
fn events_of(log: &Log, register: &str, width: usize) -> Vec<Event> {
    let names = log.registers();
    let bank = log.banks().into_iter().find(|bank| bank.width() == width);
    let of = |record: &&Record| {
        names.name(record.index) == register && record.kind != eventlog::EV_NO_ACTION
    };
    let event = |record: &Record| {
        let digest = bank.and_then(|bank| record.digest(bank)).map(hex).unwrap_or_default();
        let (register, kind) = (register.to_string(), eventlog::kind_name(record.kind));
        Event { register, kind, digest, what: eventlog::describe(record) }
    };
    log.records.iter().filter(of).map(event).collect()
}

/// That the events give `value`; else what they give instead.
fn confirms(events: &[Event], value: &[u8]) -> Result<(), String> {
    let bank =
        [Algorithm::Sha256, Algorithm::Sha384].into_iter().find(|b| b.width() == value.len());
    let Some(bank) = bank else { return Err("its width is unknown".to_string()) };
    let mut register = vec![0; value.len()];
    for (number, event) in events.iter().enumerate() {
        let Ok(digest) = unhex(&event.digest) else {
            return Err(format!("event {number} has no digest of this width"));
        };
        register = bank.extend(&register, &digest);
        if register == value && number + 1 < events.len() {
            let rest = events.len() - number - 1;
            return Err(format!("the last {rest} events of the log came after the report"));
        }
    }
    match register == value {
        true => Ok(()),
        false => Err(format!(
            "its {} events give {}…, not what is reported: the log is of another launch, was \
             altered, or lacks events (IMA measures into no firmware log)",
            events.len(),
            hex(register.get(..8).unwrap_or_default())
        )),
    }
}

/// Differences of one register that are told; more say no more.
const MANY: usize = 256;

/// Differences between two chains: the common start and end are cut off, what is between is paired
/// by longest common subsequence.
fn align(register: &str, expected: &[&Event], found: &[Event]) -> Vec<Difference> {
    let common = common(expected, found);
    let mut differences = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (next_i, next_j) in common.into_iter().chain([(expected.len(), found.len())]) {
        while (i < next_i || j < next_j) && differences.len() < MANY {
            let replaced = i < next_i && j < next_j;
            let e = (i < next_i).then(|| expected[i]);
            let f = (j < next_j).then(|| &found[j]);
            // Of an insertion and a replacement side by side, the kinds tell which is which.
            let (e, f) = match (e, f) {
                (Some(a), Some(b)) if replaced && a.kind != b.kind => {
                    match expected[i..next_i].iter().any(|later| later.kind == b.kind) {
                        true => (Some(a), None),
                        false => (None, Some(b)),
                    }
                }
                both => both,
            };
            differences.push(Difference {
                register: register.to_string(),
                position: j,
                expected: e.cloned(),
                found: f.cloned(),
                input: input(e.or(f)),
                cause: None,
                expected_by: None,
            });
            (i, j) = (i + usize::from(e.is_some()), j + usize::from(f.is_some()));
        }
        (i, j) = (next_i + 1, next_j + 1);
    }
    differences
}

/// Longest common subsequence of the digests, as pairs of positions. Beyond a size that no boot
/// reaches only the common start counts.
fn common(expected: &[&Event], found: &[Event]) -> Vec<(usize, usize)> {
    let (n, m) = (expected.len(), found.len());
    if n.saturating_mul(m) > 1 << 22 {
        let same = |(a, b): &(&&Event, &Event)| a.digest == b.digest;
        let start = expected.iter().zip(found).take_while(same).count();
        return (0..start).map(|i| (i, i)).collect();
    }
    let mut length = vec![vec![0u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            length[i][j] = match expected[i].digest == found[j].digest {
                true => length[i + 1][j + 1] + 1,
                false => length[i + 1][j].max(length[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < n && j < m {
        if expected[i].digest == found[j].digest {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if length[i + 1][j] >= length[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// The machine that expects the found digest in the same place of the same register.
fn expected_by<'a>(difference: &Difference, others: &'a [Machine]) -> Option<&'a Machine> {
    let found = difference.found.as_ref()?;
    let expects = |machine: &&Machine| {
        let mut events = machine.events.iter().filter(|event| event.register == found.register);
        events.any(|event| event.digest == found.digest)
    };
    others.iter().find(expects)
}

/// Which input of a launch an event measures.
fn input(event: Option<&Event>) -> &'static str {
    let Some(Event { kind, what, .. }) = event else { return "unknown" };
    let what = what.as_str();
    match kind.as_str() {
        "EV_EFI_HANDOFF_TABLES" | "EV_EFI_HANDOFF_TABLES2" if what.contains("SMBIOS") => {
            "SMBIOS tables (VMM and its version, firmware)"
        }
        "EV_EFI_HANDOFF_TABLES" | "EV_EFI_HANDOFF_TABLES2" => {
            "memory map that the VMM hands over (memory size) or SMBIOS"
        }
        "EV_EFI_PLATFORM_FIRMWARE_BLOB"
        | "EV_EFI_PLATFORM_FIRMWARE_BLOB2"
        | "EV_S_CRTM_VERSION" => "firmware",
        "EV_EFI_VARIABLE_DRIVER_CONFIG" => "Secure Boot variables (keys in the variable store)",
        "EV_EFI_VARIABLE_AUTHORITY" => "certificate that the image was verified by (its signature)",
        "EV_EFI_VARIABLE_BOOT" | "EV_EFI_VARIABLE_BOOT2" => "boot entries",
        "EV_PLATFORM_CONFIG_FLAGS" | "EV_TABLE_OF_DEVICES" => {
            "ACPI tables (VMM, its version, number of vCPUs, memory, devices)"
        }
        "EV_EFI_BOOT_SERVICES_APPLICATION" => {
            "kernel or boot loader (the image itself; of a unified kernel image any part)"
        }
        "EV_EFI_GPT_EVENT" | "EV_EFI_GPT_EVENT2" => "partition table of the disk",
        "EV_EFI_ACTION" | "EV_SEPARATOR" => "firmware (which events it logs)",
        // A command line may speak of the initrd, so it is asked for first.
        "EV_EVENT_TAG" | "EV_IPL" if names_cmdline(what) => "kernel command line",
        "EV_EVENT_TAG" | "EV_IPL" if what.contains("initrd") => "initrd",
        "EV_IPL" if what.contains(".linux") => "kernel within the unified kernel image",
        "EV_EVENT_TAG" | "EV_IPL" => "boot loader, stub or unified kernel image (its sections)",
        _ => "unknown",
    }
}

fn names_cmdline(what: &str) -> bool {
    ["LoadOptions", "load options", "cmdline", "command line"]
        .iter()
        .any(|word| what.contains(word))
}

#[cfg(test)]
mod tests;
