//! Seeded faults: evidence of launches in which one input was changed, or two, and the cause that
//! is named for each. `ci/differential explain` prints the table.
#![expect(clippy::print_stdout, reason = "the table of rates is this test's answer")]

mod amd;
mod measured;

use guestsmith::digest::unhex;
use guestsmith::format::eventlog::{self, Algorithm, Log, Record, Tail};
use guestsmith::measure::{self, Guest, Machine, Measurement};
use guestsmith::reference::{self, Document};
use guestsmith::verify::evidence::Evidence;
use guestsmith::verify::explain::{Expectation, Explanation, Stated, explain};
use guestsmith::verify::inspect::Facts;
use guestsmith::verify::signature::{Means, Signed};

use crate::inputs;

/// Files of a launch.
#[derive(Clone)]
struct Files {
    firmware: Vec<u8>,
    kernel: Vec<u8>,
    initrd: Option<Vec<u8>>,
    cmdline: String,
}

impl Files {
    fn guest(&self) -> Guest<'_> {
        Guest {
            firmware: Some(&self.firmware),
            kernel: Some(&self.kernel[..]).filter(|kernel| !kernel.is_empty()),
            initrd: self.initrd.as_deref(),
            cmdline: Some(&self.cmdline),
            ..Guest::default()
        }
    }
}

fn ordinary() -> Files {
    Files {
        firmware: inputs::read("sid-OVMF.fd"),
        kernel: inputs::read("trixie-vmlinuz-cloud"),
        initrd: Some(b"an initrd".to_vec()),
        cmdline: "console=ttyS0 quiet panic=-1".to_string(),
    }
}

fn machine(settings: &[(&str, &str)]) -> Machine {
    let usual = [("firmware-epoch", "202608"), ("memory", "2GiB"), ("vcpus", "1")];
    let settings = usual.iter().chain(settings);
    let texts = settings.map(|(n, v)| ((*n).to_string(), vec![(*v).to_string()]));
    let tee = measure::tee("tdx").expect("a row");
    measure::machines(tee, &texts.collect()).expect("settings").remove(0)
}

fn measured(files: &Files, machine: &Machine) -> Measurement {
    let tee = measure::tee("tdx").expect("a row");
    (tee.expect)(&files.guest(), std::slice::from_ref(machine)).expect("a measurement").remove(0)
}

/// What a TD would report and log, as far as it was computed.
fn launched(measurement: &Measurement) -> Evidence {
    let registers = measurement.registers.iter().map(|r| (r.name.clone(), r.value.clone()));
    Evidence {
        tee: "tdx",
        form: "computed evidence",
        registers: registers.collect(),
        facts: Facts::default(),
        warnings: Vec::new(),
        log: Some(log_of(measurement, Algorithm::Sha384)),
        signed: Signed::Unsigned("computed"),
    }
}

/// The events of a measurement as firmware logs them: RTMR n has index n + 1, a PCR its own.
fn log_of(measurement: &Measurement, bank: Algorithm) -> Log {
    let kinds = 0u32..0x20;
    let kinds: Vec<u32> = kinds.clone().chain(kinds.map(|n| 0x8000_0000 + n)).collect();
    let kinds = kinds.into_iter().chain([0x8000_00e0, 0x8000_00e1, 0x8000_00e2]);
    let kinds: Vec<_> = kinds.map(|kind| (eventlog::kind_name(kind), kind)).collect();
    let record = |event: &measure::event::Event| {
        let number = event.register.trim_start_matches("rtmr").trim_start_matches("pcr");
        let number: u32 = number.parse().expect("a number");
        let index = number + u32::from(event.register.starts_with("rtmr"));
        let kind = kinds.iter().find(|(name, _)| *name == event.kind).expect("a type").1;
        let digests = vec![(bank.id(), event.digest.clone())];
        Record { index, kind, digests, data: told(&event.what).into_bytes() }
    };
    Log {
        algorithms: vec![(bank.id(), u16::try_from(bank.width()).expect("narrow"))],
        platform: [0; 8],
        vendor: Vec::new(),
        records: measurement.events.iter().map(record).collect(),
        tail: Tail::End,
    }
}

/// What a log says of an event: of load options that there are some, not which.
fn told(what: &str) -> String {
    match what.starts_with("load options") {
        true => "LOADED_IMAGE::LoadOptions".to_string(),
        false => what.to_string(),
    }
}

fn explained(expected: &Measurement, found: &Measurement) -> Explanation {
    asked(expected, &launched(found))
}

/// What is said of `evidence` where `expected` was, without its files.
fn asked(expected: &Measurement, evidence: &Evidence) -> Explanation {
    let machine = reference::Machine::new("tdx", &machine(&[]), expected);
    let document = Document::of_machines(vec![machine]);
    let nothing = |_: &reference::Machine| None;
    let expectation = Expectation {
        document: &document,
        guest: &nothing,
        others: &[],
        stated: Stated::default(),
    };
    explain(evidence, &expectation, &Means::default()).expect("an explanation")
}

/// What a fault is called, what it does, and words of the input that must be named.
type Fault = (&'static str, fn(&mut Files), &'static str);

const FAULTS: &[Fault] = &[
    ("kernel", |f| f.kernel[0x2000] ^= 1, "kernel or boot loader"),
    ("line end", |f| f.cmdline.push('\n'), "kernel command line"),
    ("word missing", |f| f.cmdline = f.cmdline.replace(" quiet", ""), "kernel command line"),
    ("word too many", |f| f.cmdline.push_str(" debug"), "kernel command line"),
    ("order", |f| f.cmdline = "quiet console=ttyS0 panic=-1".to_string(), "kernel command line"),
    ("initrd", |f| f.initrd = Some(b"another initrd".to_vec()), "initrd"),
    ("no initrd", |f| f.initrd = None, "initrd"),
];

/// What became of seeded faults, by how many were made together.
#[derive(Default)]
struct Rates {
    named: [usize; 2],
    wrong: [Vec<String>; 2],
}

impl Rates {
    /// Whether the `faults` (one or two) made together, called `name`, were `named`.
    fn add(&mut self, faults: usize, name: String, named: bool) {
        match named {
            true => self.named[faults - 1] += 1,
            false => self.wrong[faults - 1].push(name),
        }
    }

    /// Prints a row of the table that `ci/differential explain` shows, and returns what was not
    /// named.
    fn told(self, what: &str) -> Vec<String> {
        for (faults, (named, wrong)) in
            ["single", "double"].iter().zip(self.named.iter().zip(&self.wrong))
        {
            let all = named + wrong.len();
            if all > 0 {
                println!("{what}, {faults} faults: {named} of {all} named");
            }
        }
        self.wrong.concat()
    }
}

/// Inputs that the explanation names.
fn named(explanation: &Explanation) -> Vec<&'static str> {
    let log = explanation.log.as_ref().expect("a log");
    log.differences.iter().map(|difference| difference.input).collect()
}

#[test]
fn a_tdx_launch_as_expected_matches() {
    let measured = measured(&ordinary(), &machine(&[]));
    let explanation = explained(&measured, &measured);
    assert!(explanation.is_match(), "{:?}", explanation.registers);
    assert_eq!(named(&explanation), Vec::<&str>::new());
}

#[test]
fn seeded_faults_of_tdx_are_named() {
    let expected = measured(&ordinary(), &machine(&[]));
    let mut rates = Rates::default();
    for (index, (name, break_it, input)) in FAULTS.iter().enumerate() {
        let mut files = ordinary();
        break_it(&mut files);
        let single = named(&explained(&expected, &measured(&files, &machine(&[]))));
        println!("tdx, log: {name}: {}", single.join(", "));
        let has = single.iter().any(|named| named.contains(input));
        rates.add(1, (*name).to_string(), has);
        for (other, break_too, too) in FAULTS.iter().skip(index + 1).filter(|f| f.2 != *input) {
            let mut files = files.clone();
            break_too(&mut files);
            let both = named(&explained(&expected, &measured(&files, &machine(&[]))));
            println!("tdx, log: {name} and {other}: {}", both.join(", "));
            let has = |input: &str| both.iter().any(|named| named.contains(input));
            rates.add(2, format!("{name} and {other}"), has(input) && has(too));
        }
    }
    assert_eq!(rates.told("tdx, with a log"), Vec::<String>::new());
}

#[test]
fn a_field_of_the_host_is_compared_as_a_register() {
    let expected = measured(&ordinary(), &machine(&[("mrconfigid", "00aa")]));
    let found = measured(&ordinary(), &machine(&[("mrconfigid", "00ff")]));
    let explanation = explained(&expected, &found);
    let differ =
        |c: &&reference::compare::Compared| c.verdict == reference::compare::Verdict::Differ;
    let differing: Vec<_> = explanation.registers.iter().filter(differ).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0].register, "mrconfigid");
    let value = differing[0].found.as_deref().and_then(|text| unhex(text).ok());
    assert!(value.is_some_and(|value| value.starts_with(&[0x00, 0xff, 0x00])));
}

#[test]
fn doubts_about_the_expected_values_are_told_where_they_differ() {
    let mut expected = measured(&ordinary(), &machine(&[("mrconfigid", "00aa")]));
    expected.warnings = vec!["the firmware may not start this kernel".to_string()];
    let doubt = "of the expected values: the firmware may not start this kernel";
    let found = measured(&ordinary(), &machine(&[("mrconfigid", "00ff")]));
    assert_eq!(explained(&expected, &found).warnings, [doubt]);
    assert_eq!(explained(&expected, &expected).warnings, Vec::<String>::new());
}

/// Without the log, what the expected chain of RTMR2 holds is enough to find a command line.
#[test]
fn a_td_without_its_log_is_explained_as_well() {
    let expected = measured(&ordinary(), &machine(&[]));
    let mut files = ordinary();
    files.cmdline = "console=ttyS0 panic=-1".to_string();
    let evidence = Evidence { log: None, ..launched(&measured(&files, &machine(&[]))) };
    let search = asked(&expected, &evidence).search.expect("a search");
    assert_eq!(search.found.len(), 1, "{search:?}");
    assert_eq!(search.found[0].deviations[0].what, "command line without `quiet`");
    assert!(search.found[0].certain);
}
