//! Seeded faults on a TEE of the tests' own: what is searched is found, and nothing else is told.

use super::search::{Question, Search, search};
use super::*;
use crate::digest::Sha384;
use crate::measure::guest::{CMDLINE, FIRMWARE, INITRD, KERNEL};
use crate::measure::machine::{CPU, Kind, VCPUS};
use crate::measure::{Machine as Launched, Measurement, Register, Setting, Tee};
use crate::reference::compare::Registers;

const FEATURES: Setting = Setting { name: "guest-features", about: "features", kind: Kind::Number };

/// A TEE whose register is the digest of all that a launch is made of.
static TEST: Tee = Tee {
    name: "sev-snp",
    about: "the tests' own",
    vmms: &["qemu", "other"],
    takes: &[VCPUS, CPU, FEATURES],
    reads: &[FIRMWARE, KERNEL, INITRD, CMDLINE],
    registers: &["measurement"],
    expect,
};

fn expect(guest: &Guest<'_>, machines: &[Launched]) -> measure::Result<Vec<Measurement>> {
    // One VMM refuses many vCPUs: a candidate that fails must not hide others.
    if machines.iter().any(|m| m.vmm.name == "other" && m.vcpus > Some(100)) {
        let (what, why) = ("many vCPUs".to_string(), "of the test".to_string());
        return Err(measure::Error::Unsupported { what, why });
    }
    let one = |machine: &Launched| {
        let state = format!(
            "{} {:?} {:?} {:?} {:?}",
            machine.vmm.name,
            machine.vcpus,
            machine.cpu.as_ref().map(|cpu| cpu.signature),
            machine.number("guest-features"),
            guest.cmdline,
        );
        let files = [guest.firmware, guest.kernel, guest.initrd];
        let files = files.map(Option::unwrap_or_default);
        let digest = Sha384::of_parts(files.into_iter().chain([state.as_bytes()]));
        Measurement { registers: vec![Register::new("measurement", digest)], ..Default::default() }
    };
    Ok(machines.iter().map(one).collect())
}

fn ordinary_guest() -> Guest<'static> {
    Guest {
        firmware: Some(b"firmware"),
        kernel: Some(b"kernel"),
        initrd: Some(b"initrd"),
        cmdline: Some("console=ttyS0 quiet panic=1"),
        ..Guest::default()
    }
}

fn launched(vmm: &str, vcpus: u32, cpu: &str, features: &str) -> Launched {
    let texts = [("vmm", vmm), ("vcpus", &vcpus.to_string()), ("cpu", cpu)];
    let texts = texts.into_iter().chain([("guest-features", features)]);
    let texts = texts.map(|(name, text)| (name.to_string(), text.to_string())).collect();
    machines::machine(&TEST, &texts).expect("a machine")
}

fn ordinary() -> Launched {
    launched("qemu", 4, "EPYC-Milan", "0x1")
}

/// What is found for a launch that was expected to be ordinary.
fn asked(guest: &Guest<'_>, machine: &Launched, others: &[Other]) -> Search {
    let expected = expect(&ordinary_guest(), &[ordinary()]).expect("a measurement");
    let expected = Machine::new("sev-snp", &ordinary(), &expected[0]);
    let register = &expect(guest, std::slice::from_ref(machine)).expect("one")[0].registers[0];
    let wanted: Registers = [("measurement".to_string(), register.value.clone())].into();
    let guest = Some(ordinary_guest());
    search(&Question { tee: &TEST, guest, machine: &expected, others, wanted })
}

fn told(search: &Search) -> Vec<Vec<String>> {
    let words = |found: &'_ Found| found.deviations.iter().map(|d| d.what.clone()).collect();
    search.found.iter().map(words).collect()
}

#[test]
fn single_faults_are_named() {
    let machine = ordinary();
    let with = |cmdline| Guest { cmdline: Some(cmdline), ..ordinary_guest() };
    for (guest, machine, expected) in [
        (ordinary_guest(), launched("qemu", 2, "EPYC-Milan", "0x1"), "vcpus 2 instead of 4"),
        (ordinary_guest(), launched("qemu", 240, "EPYC-Milan", "0x1"), "vcpus 240 instead of 4"),
        (
            ordinary_guest(),
            launched("qemu", 4, "EPYC-Genoa-v2", "0x1"),
            "cpu EPYC-Genoa (signature 0xa10f10) instead of EPYC-Milan",
        ),
        (
            ordinary_guest(),
            launched("qemu", 4, "EPYC-Milan", "0x21"),
            "guest-features 0x21 instead of 0x1",
        ),
        (ordinary_guest(), launched("other", 4, "EPYC-Milan", "0x1"), "vmm other instead of qemu"),
        (
            with("console=ttyS0 quiet panic=1\n"),
            machine.clone(),
            "command line with a line end behind it",
        ),
        (with("console=ttyS0 panic=1"), machine.clone(), "command line without `quiet`"),
        (Guest { initrd: None, ..ordinary_guest() }, machine.clone(), "initrd is not given"),
    ] {
        assert_eq!(told(&asked(&guest, &machine, &[])), [[expected]]);
    }
}

#[test]
fn two_faults_are_named_together() {
    let machine = launched("qemu", 2, "EPYC-Milan", "0x21");
    let found = asked(&ordinary_guest(), &machine, &[]);
    assert_eq!(told(&found), [["vcpus 2 instead of 4", "guest-features 0x21 instead of 0x1"]]);
    let guest = Guest { cmdline: Some("console=ttyS0 quiet"), ..ordinary_guest() };
    let found = asked(&guest, &launched("qemu", 8, "EPYC-Milan", "0x1"), &[]);
    assert_eq!(told(&found), [["command line without `panic=1`", "vcpus 8 instead of 4"]]);
}

#[test]
fn other_files_are_tried() {
    let other = Other {
        input: "firmware".to_string(),
        name: "another flavour".to_string(),
        bytes: b"another".to_vec(),
    };
    let guest = Guest { firmware: Some(b"another"), ..ordinary_guest() };
    let found = asked(&guest, &ordinary(), &[other]);
    assert_eq!(told(&found), [["firmware is another flavour"]]);
    let packed = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"contents").expect("memory");
        encoder.finish().expect("memory")
    };
    let changes =
        guests::Alternatives::new(Some(&Guest { initrd: Some(&packed), ..ordinary_guest() }), &[]);
    let variants = changes.guests(&ordinary_guest(), &TEST);
    assert!(variants.iter().any(|variant| variant.guest.initrd == Some(b"contents")));
}

#[test]
fn what_is_not_searched_is_not_explained() {
    let guest = Guest { kernel: Some(b"a kernel that nobody knows"), ..ordinary_guest() };
    let search = asked(&guest, &ordinary(), &[]);
    assert_eq!(search.found, []);
    assert!(search.candidates > 10_000, "{}", search.candidates);
}
