//! Chains with an event changed, missing or too many.

use super::*;
use crate::digest::Sha384;
use crate::format::eventlog::Tail;

/// Type and content of the events of a boot.
const BOOT: &[(u32, &str)] = &[
    (eventlog::EV_EFI_BOOT_SERVICES_APPLICATION, "kernel"),
    (eventlog::EV_EFI_ACTION, "Calling EFI Application from Boot Option"),
    (eventlog::EV_SEPARATOR, "separator"),
    (eventlog::EV_EFI_ACTION, "Exit Boot Services Invocation"),
    (eventlog::EV_EFI_ACTION, "Exit Boot Services Returned with Success"),
];

fn records(boot: &[(u32, &str)]) -> Vec<Record> {
    let record = |(kind, text): &(u32, &str)| Record {
        index: 2,
        kind: *kind,
        digests: vec![(Algorithm::Sha384.id(), Sha384::of(text.as_bytes()).0.to_vec())],
        data: text.as_bytes().to_vec(),
    };
    boot.iter().map(record).collect()
}

fn log(boot: &[(u32, &str)]) -> Log {
    let algorithms = vec![(Algorithm::Sha384.id(), 48)];
    let (platform, vendor) = ([0; 8], Vec::new());
    Log { algorithms, platform, vendor, records: records(boot), tail: Tail::End }
}

fn machine(boot: &[(u32, &str)]) -> Machine {
    let measurement = crate::measure::Measurement::default();
    let mut machine = Machine::new("tdx", &crate::measure::Machine::default(), &measurement);
    machine.events = events_of(&log(boot), "rtmr1", 48);
    machine
}

fn reported(boot: &[(u32, &str)]) -> Registers {
    let replayed = log(boot).replay(Algorithm::Sha384).expect("digests");
    [("rtmr1".to_string(), replayed[&2].clone())].into()
}

/// `BOOT` with what `change` does to it, compared with `BOOT`.
fn differences(change: impl Fn(&mut Vec<(u32, &'static str)>)) -> Vec<Difference> {
    let mut boot = BOOT.to_vec();
    change(&mut boot);
    let answer = compare(&log(&boot), &machine(BOOT), &reported(&boot), &[]);
    assert_eq!(answer.confirmed, ["rtmr1"], "{answer:?}");
    answer.differences
}

#[test]
fn the_same_boot_has_no_differences() {
    assert_eq!(differences(|_| ()), []);
}

#[test]
fn a_changed_event_is_named_with_its_input() {
    let found = differences(|boot| boot[0].1 = "another kernel");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].position, 0);
    assert_eq!(
        found[0].input,
        "kernel or boot loader (the image itself; of a unified kernel image any part)"
    );
    let digest = Sha384::of(b"another kernel").to_string();
    assert_eq!(found[0].found.as_ref().map(|event| event.digest.clone()), Some(digest));
}

#[test]
fn two_changed_events_are_both_named() {
    let found = differences(|boot| {
        boot[0].1 = "another kernel";
        boot[3].1 = "another action";
    });
    let places: Vec<_> = found.iter().map(|difference| difference.position).collect();
    assert_eq!(places, [0, 3]);
}

#[test]
fn an_event_too_many_and_a_missing_one() {
    let found = differences(|boot| boot.insert(1, (eventlog::EV_EFI_GPT_EVENT, "GPT")));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].position, found[0].expected.is_none()), (1, true));
    assert_eq!(found[0].input, "partition table of the disk");
    let found = differences(|boot| {
        boot.remove(2);
    });
    assert_eq!(found.len(), 1);
    assert!(found[0].found.is_none());
}

#[test]
fn the_machine_that_expects_what_was_found_is_named() {
    let mut boot = BOOT.to_vec();
    boot[0].1 = "the kernel of two vCPUs";
    let mut other = machine(&boot);
    other.vcpus = Some(2);
    let answer = compare(&log(&boot), &machine(BOOT), &reported(&boot), &[other.clone()]);
    assert_eq!(answer.differences[0].expected_by, Some(other.label()));
}

#[test]
fn a_log_that_does_not_give_the_report_confirms_nothing() {
    let mut boot = BOOT.to_vec();
    boot[4].1 = "altered";
    let answer = compare(&log(&boot), &machine(BOOT), &reported(BOOT), &[]);
    assert!(answer.confirmed.is_empty() && answer.differences.is_empty());
    assert!(answer.unconfirmed[0].contains("not what is reported"), "{answer:?}");
    let mut later = BOOT.to_vec();
    later.push((eventlog::EV_EVENT_TAG, "later"));
    let answer = compare(&log(&later), &machine(BOOT), &reported(BOOT), &[]);
    assert!(answer.unconfirmed[0].contains("the last 1 events"), "{answer:?}");
}
