//! Seeded faults: evidence of launches in which one input was changed, or two, and the cause that
//! is named for each. `ci/differential explain` prints the table.
#![expect(clippy::print_stdout, reason = "the table of rates is this test's answer")]

use guestsmith::digest::unhex;
use guestsmith::format::eventlog::{self, Algorithm, Log, Record, Tail};
use guestsmith::measure::{self, Guest, Machine, Measurement};
use guestsmith::reference::{self, Document};
use guestsmith::verify::evidence::Evidence;
use guestsmith::verify::explain::{Expectation, Explanation, Other, explain};
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
            kernel: Some(&self.kernel),
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
    let kinds = 0u32..0x20;
    let kinds: Vec<u32> = kinds.clone().chain(kinds.map(|n| 0x8000_0000 + n)).collect();
    let kinds = kinds.into_iter().chain([0x8000_00e0, 0x8000_00e1, 0x8000_00e2]);
    let kinds: Vec<_> = kinds.map(|kind| (eventlog::kind_name(kind), kind)).collect();
    let record = |event: &measure::event::Event| {
        let index: u32 = event.register.trim_start_matches("rtmr").parse().expect("a number");
        let kind = kinds.iter().find(|(name, _)| *name == event.kind).expect("a type").1;
        let digests = vec![(Algorithm::Sha384.id(), event.digest.clone())];
        Record { index: index + 1, kind, digests, data: event.what.clone().into_bytes() }
    };
    let log = Log {
        algorithms: vec![(Algorithm::Sha384.id(), 48)],
        platform: [0; 8],
        vendor: Vec::new(),
        records: measurement.events.iter().map(record).collect(),
        tail: Tail::End,
    };
    let registers = measurement.registers.iter().map(|r| (r.name.clone(), r.value.clone()));
    Evidence {
        tee: "tdx",
        form: "TDX quote",
        registers: registers.collect(),
        facts: Facts::default(),
        warnings: Vec::new(),
        log: Some(log),
        signed: Signed::Unsigned("computed"),
    }
}

fn explained(expected: &Measurement, found: &Measurement) -> Explanation {
    let machine = reference::Machine::new("tdx", &machine(&[]), expected);
    let document = Document::of_machines(vec![machine]);
    let nothing = |_: &reference::Machine| None;
    let expectation = Expectation { document: &document, guest: &nothing, others: &[] };
    explain(&launched(found), &expectation, &Means::default()).expect("an explanation")
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
    let (mut right, mut wrong) = (0, Vec::new());
    for (index, (name, break_it, input)) in FAULTS.iter().enumerate() {
        let mut files = ordinary();
        break_it(&mut files);
        let single = named(&explained(&expected, &measured(&files, &machine(&[]))));
        println!("tdx, log: {name}: {}", single.join(", "));
        match single.iter().any(|named| named.contains(input)) {
            true => right += 1,
            false => wrong.push((*name).to_string()),
        }
        for (other, break_too, too) in FAULTS.iter().skip(index + 1).filter(|f| f.2 != *input) {
            let mut files = files.clone();
            break_too(&mut files);
            let both = named(&explained(&expected, &measured(&files, &machine(&[]))));
            println!("tdx, log: {name} and {other}: {}", both.join(", "));
            let has = |input: &str| both.iter().any(|named| named.contains(input));
            match has(input) && has(too) {
                true => right += 1,
                false => wrong.push(format!("{name} and {other}")),
            }
        }
    }
    println!("tdx, log: {right} of {} faults named", right + wrong.len());
    assert_eq!(wrong, Vec::<String>::new());
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

/// A launch of SEV-SNP: settings otherwise than usual, and what is done to the files.
struct Launch {
    settings: &'static [(&'static str, &'static str)],
    files: fn(&mut Files),
    /// Words that must all be in one explanation.
    words: &'static [&'static str],
}

const fn with(
    settings: &'static [(&'static str, &'static str)],
    words: &'static [&'static str],
) -> Launch {
    Launch { settings, files: |_| (), words }
}

const fn files(files: fn(&mut Files), words: &'static [&'static str]) -> Launch {
    Launch { settings: &[], files, words }
}

const fn both(
    settings: &'static [(&'static str, &'static str)],
    files: fn(&mut Files),
    words: &'static [&'static str],
) -> Launch {
    Launch { settings, files, words }
}

const SINGLE: &[Launch] = &[
    with(&[("vcpus", "1")], &["vcpus 1 instead of 4"]),
    with(&[("vcpus", "2")], &["vcpus 2 instead of 4"]),
    with(&[("vcpus", "8")], &["vcpus 8 instead of 4"]),
    with(&[("vcpus", "61")], &["vcpus 61 instead of 4"]),
    with(&[("vcpus", "96")], &["vcpus 96 instead of 4"]),
    with(&[("vcpus", "240")], &["vcpus 240 instead of 4"]),
    with(&[("cpu", "EPYC-v4")], &["signature 0x800f12"]),
    with(&[("cpu", "EPYC-Rome-v3")], &["signature 0x830f10"]),
    with(&[("cpu", "EPYC-Genoa-v2")], &["signature 0xa10f10"]),
    with(&[("cpu", "EPYC-Turin")], &["signature 0xb00f00"]),
    with(&[("guest-features", "0x21")], &["guest-features 0x21"]),
    with(&[("guest-features", "0x0")], &["guest-features 0x0"]),
    with(&[("guest-features", "0x201")], &["guest-features 0x201"]),
    with(&[("vmm", "qemu-legacy-vm")], &["vmm qemu-legacy-vm"]),
    with(&[("vmm", "ec2")], &["vmm ec2 "]),
    with(&[("vmm", "ec2-legacy")], &["vmm ec2-legacy"]),
    with(&[("vmm", "gce")], &["vmm gce"]),
    files(|f| f.cmdline.push('\n'), &["with a line end"]),
    files(|f| f.cmdline.push(' '), &["with a space behind"]),
    files(|f| f.cmdline.push('\0'), &["second NUL"]),
    files(|f| f.cmdline.clear(), &["command line empty"]),
    files(|f| f.cmdline = f.cmdline.replace(" quiet", ""), &["without `quiet`"]),
    files(|f| f.cmdline.push_str(" debug"), &["with `debug` behind it"]),
    files(|f| f.cmdline.push_str(" agent.log=debug"), &["with `agent.log=debug` behind"]),
    files(|f| f.cmdline = f.cmdline.replace("ttyS0", "hvc0"), &["`console=hvc0` instead of"]),
    files(|f| f.cmdline = "quiet console=ttyS0 panic=-1".to_string(), &["`console=ttyS0` behind"]),
    files(|f| f.initrd = None, &["initrd is not given"]),
    files(|f| f.initrd = Some(b"contents of the initrd".to_vec()), &["initrd is not compressed"]),
    files(|f| f.firmware = inputs::read("sid-OVMF.fd"), &["firmware is the generic flavour"]),
];

const DOUBLE: &[Launch] = &[
    with(&[("vcpus", "2"), ("cpu", "EPYC-Genoa")], &["vcpus 2 ", "0xa10f10"]),
    with(&[("vcpus", "2"), ("guest-features", "0x21")], &["vcpus 2 ", "features 0x21"]),
    with(&[("cpu", "EPYC-v4"), ("guest-features", "0x21")], &["0x800f12", "features 0x21"]),
    with(&[("vcpus", "16"), ("vmm", "gce")], &["vcpus 16 ", "vmm gce"]),
    with(&[("vcpus", "64"), ("vmm", "ec2")], &["vcpus 64 ", "vmm ec2 "]),
    with(&[("vmm", "qemu-legacy-vm"), ("cpu", "EPYC-Rome")], &["qemu-legacy-vm", "0x830f10"]),
    both(&[("vcpus", "2")], |f| f.cmdline.push('\n'), &["vcpus 2 ", "line end"]),
    both(&[("vcpus", "8")], |f| f.initrd = None, &["vcpus 8 ", "initrd is not given"]),
    both(&[("cpu", "EPYC-Genoa")], |f| f.cmdline.push('\n'), &["0xa10f10", "line end"]),
    both(
        &[("guest-features", "0x21")],
        |f| f.cmdline = f.cmdline.replace(" quiet", ""),
        &["features 0x21", "without `quiet`"],
    ),
    both(
        &[("vcpus", "2")],
        |f| f.firmware = inputs::read("sid-OVMF.fd"),
        &["vcpus 2 ", "generic flavour"],
    ),
    files(
        |f| {
            f.cmdline.push('\n');
            f.initrd = None;
        },
        &["line end", "initrd is not given"],
    ),
    files(
        |f| {
            f.cmdline = f.cmdline.replace(" quiet", "");
            f.initrd = Some(b"contents of the initrd".to_vec());
        },
        &["without `quiet`", "initrd is not compressed"],
    ),
];

fn snp_files() -> Files {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"contents of the initrd").expect("memory");
    Files {
        firmware: inputs::read("sid-OVMF.amdsev.fd"),
        kernel: b"a kernel".to_vec(),
        initrd: Some(encoder.finish().expect("memory")),
        cmdline: "console=ttyS0 quiet panic=-1".to_string(),
    }
}

fn amd_measured(tee: &str, files: &Files, settings: &[(&str, &str)]) -> (Machine, Measurement) {
    let features = if tee == "sev-snp" { "0x1" } else { "0x0" };
    let tee = measure::tee(tee).expect("a row");
    let usual =
        [("vmm", "qemu"), ("vcpus", "4"), ("cpu", "EPYC-Milan"), ("guest-features", features)];
    let texts = usual.iter().chain(settings);
    let texts = texts.map(|(n, v)| ((*n).to_string(), vec![(*v).to_string()])).collect();
    let machine = measure::machines(tee, &texts).expect("settings").remove(0);
    let measured = (tee.expect)(&files.guest(), std::slice::from_ref(&machine));
    (machine, measured.expect("a measurement").remove(0))
}

/// What the search says of a launch, one text an explanation, and how many candidates it took.
fn searched(tee: &'static str, launch: &Launch) -> (Vec<String>, usize) {
    let expected_files = snp_files();
    let (machine, measurement) = amd_measured(tee, &expected_files, &[]);
    let machine = reference::Machine::new(tee, &machine, &measurement);
    let document = Document::of_machines(vec![machine]);
    let mut found = snp_files();
    (launch.files)(&mut found);
    let (_, found) = amd_measured(tee, &found, launch.settings);
    let evidence = Evidence { tee, log: None, ..launched(&found) };
    let other = Other {
        input: "firmware".to_string(),
        name: "the generic flavour".to_string(),
        bytes: inputs::read("sid-OVMF.fd"),
    };
    let guest = |_: &reference::Machine| Some(expected_files.guest());
    let others = [other];
    let expectation = Expectation { document: &document, guest: &guest, others: &others };
    let found = explain(&evidence, &expectation, &Means::default());
    let search = found.expect("an explanation").search;
    let search = search.expect("a search");
    let words = |found: &guestsmith::verify::explain::Found| {
        let words: Vec<_> = found.deviations.iter().map(|d| d.what.clone()).collect();
        words.join(", and ")
    };
    (search.found.iter().map(words).collect(), search.candidates)
}

fn rate(tee: &'static str, name: &str, launches: &[Launch]) -> (usize, Vec<String>) {
    let (mut right, mut wrong) = (0, Vec::new());
    for launch in launches {
        let (found, candidates) = searched(tee, launch);
        println!("{tee}, {name}: {} ({candidates} candidates)", found.join("\n    or "));
        let explains = |text: &String| launch.words.iter().all(|word| text.contains(word));
        // One explanation alone is told as certain: it must then be the right one.
        match found.iter().any(explains) {
            true => right += 1,
            false if found.len() == 1 => {
                panic!("certain, and wrong: {:?}: {found:?}", launch.words)
            }
            false => wrong.push(format!("{:?}: {found:?}", launch.words)),
        }
    }
    println!("{tee}, {name}: {right} of {} named", launches.len());
    (right, wrong)
}

#[test]
#[ignore = "takes minutes without optimisation; ci/differential explain"]
fn single_faults_of_snp_are_named() {
    let (right, wrong) = rate("sev-snp", "single fault", SINGLE);
    assert!(right * 100 >= SINGLE.len() * 95, "{wrong:#?}");
}

#[test]
#[ignore = "takes minutes without optimisation; ci/differential explain"]
fn double_faults_of_snp_are_named() {
    let (right, wrong) = rate("sev-snp", "double fault", DOUBLE);
    assert!(right * 100 >= DOUBLE.len() * 80, "{wrong:#?}");
}

const ES_SINGLE: &[Launch] = &[
    with(&[("vcpus", "2")], &["vcpus 2 instead of 4"]),
    with(&[("vcpus", "96")], &["vcpus 96 instead of 4"]),
    with(&[("cpu", "EPYC-Genoa-v2")], &["signature 0xa10f10"]),
    with(&[("guest-features", "0x20")], &["guest-features 0x20"]),
    with(&[("vmm", "qemu-legacy-vm")], &["vmm qemu-legacy-vm"]),
    files(|f| f.cmdline.push('\n'), &["with a line end"]),
    files(|f| f.cmdline = f.cmdline.replace(" quiet", ""), &["without `quiet`"]),
    files(|f| f.initrd = None, &["initrd is not given"]),
    files(|f| f.firmware = inputs::read("sid-OVMF.fd"), &["firmware is the generic flavour"]),
];

const ES_DOUBLE: &[Launch] = &[
    with(&[("vcpus", "2"), ("cpu", "EPYC-Genoa")], &["vcpus 2 ", "0xa10f10"]),
    with(&[("vcpus", "8"), ("guest-features", "0x20")], &["vcpus 8 ", "features 0x20"]),
    both(&[("vcpus", "2")], |f| f.cmdline.push('\n'), &["vcpus 2 ", "line end"]),
];

#[test]
#[ignore = "takes minutes without optimisation; ci/differential explain"]
fn faults_of_sev_es_are_named() {
    let (right, wrong) = rate("sev-es", "single fault", ES_SINGLE);
    assert!(right * 100 >= ES_SINGLE.len() * 95, "{wrong:#?}");
    let (right, wrong) = rate("sev-es", "double fault", ES_DOUBLE);
    assert!(right * 100 >= ES_DOUBLE.len() * 80, "{wrong:#?}");
}

/// Without the log, what the expected chain of RTMR2 holds is enough to find a command line.
#[test]
fn a_td_without_its_log_is_explained_as_well() {
    let expected = measured(&ordinary(), &machine(&[]));
    let document =
        Document::of_machines(vec![reference::Machine::new("tdx", &machine(&[]), &expected)]);
    let nothing = |_: &reference::Machine| None;
    let expectation = Expectation { document: &document, guest: &nothing, others: &[] };
    let mut files = ordinary();
    files.cmdline = "console=ttyS0 panic=-1".to_string();
    let evidence = Evidence { log: None, ..launched(&measured(&files, &machine(&[]))) };
    let found = explain(&evidence, &expectation, &Means::default()).expect("an explanation");
    let search = found.search.expect("a search");
    assert_eq!(search.found.len(), 1, "{search:?}");
    assert_eq!(search.found[0].deviations[0].what, "command line without `quiet`");
    assert!(search.found[0].certain);
}

#[test]
fn what_nobody_knows_is_not_explained() {
    let launch = files(|f| f.kernel = b"a kernel that nobody knows".to_vec(), &[]);
    let (found, candidates) = searched("sev-snp", &launch);
    assert_eq!(found, Vec::<String>::new());
    assert!(candidates > 10_000, "{candidates}");
}
