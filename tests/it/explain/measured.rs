//! Seeded faults of measured boots with their log: a UKI in a TD, Secure Boot, the machine's tables.

use guestsmith::format::eventlog::Algorithm;
use guestsmith::format::{efi, fw_cfg};
use guestsmith::measure::{self, Guest, Machine, Measurement};
use guestsmith::reference::{self, Document};
use guestsmith::verify::evidence::Evidence;
use guestsmith::verify::explain::{Expectation, LogAnswer, Stated, explain};
use guestsmith::verify::signature::Means;

use super::{Rates, launched, log_of};
use crate::inputs;

/// A boot, by all that is measured of it.
#[derive(Clone)]
struct Boot {
    firmware: Vec<u8>,
    vars: Option<Vec<u8>>,
    /// Version of the stub, and the sections behind it.
    stub: &'static str,
    sections: Vec<(&'static str, Vec<u8>)>,
    /// Certificates that the signature of the image names.
    signature: Vec<u8>,
    /// A kernel that is started directly, with these, instead of the UKI.
    direct: Option<(Vec<u8>, Vec<u8>, String)>,
    tables: Vec<(&'static str, Vec<u8>)>,
    settings: Vec<(&'static str, &'static str)>,
}

impl Boot {
    fn section(&mut self, name: &str) -> &mut Vec<u8> {
        let found = self.sections.iter_mut().find(|(known, _)| *known == name);
        &mut found.expect("a section").1
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value));
    }
}

/// A unified kernel image: a stub that tells its version, sections, a signature.
fn uki(boot: &Boot) -> Vec<u8> {
    const ALIGNED: usize = 512;
    let stub = format!("#### LoaderInfo: systemd-stub {} ####", boot.stub);
    let mut sections = vec![(".text", vec![0xcc; 64]), (".sdmagic", stub.into_bytes())];
    sections.extend(boot.sections.iter().cloned());
    let mut headers = vec![0; 0x80];
    headers[..2].copy_from_slice(b"MZ");
    headers[0x3c] = 0x80;
    let number = |n: usize| u32::try_from(n).expect("short").to_le_bytes();
    headers.extend([&b"PE\0\0\x64\x86"[..], &number(sections.len())[..2], &[0; 12]].concat());
    headers.extend([240, 0, 0x2e, 2]);
    let optional = headers.len();
    headers.resize(optional + 240, 0);
    headers[optional..optional + 2].copy_from_slice(&[0x0b, 0x02]);
    headers[optional + 108] = 16;
    let size = (headers.len() + 40 * sections.len()).next_multiple_of(ALIGNED);
    headers[optional + 60..optional + 64].copy_from_slice(&number(size));
    let (mut contents, mut address) = (Vec::new(), 0x1000);
    for (name, data) in &sections {
        let mut entry = [0; 40];
        entry[..name.len()].copy_from_slice(name.as_bytes());
        let raw = data.len().next_multiple_of(ALIGNED);
        let fields = [(8, data.len()), (12, address), (16, raw), (20, size + contents.len())];
        fields.iter().for_each(|(at, n)| entry[*at..at + 4].copy_from_slice(&number(*n)));
        headers.extend(entry);
        contents.extend(data);
        contents.resize(contents.len().next_multiple_of(ALIGNED), 0);
        address += data.len().next_multiple_of(0x1000);
    }
    headers.resize(size, 0);
    if !boot.signature.is_empty() {
        let (at, length) = (size + contents.len(), boot.signature.len().next_multiple_of(8));
        headers[optional + 144..optional + 148].copy_from_slice(&number(at));
        headers[optional + 148..optional + 152].copy_from_slice(&number(length));
        contents.extend(&boot.signature);
        contents.resize(contents.len().next_multiple_of(8), 0);
    }
    [headers, contents].concat()
}

fn ordinary_uki() -> Boot {
    let text = |text: &str| text.as_bytes().to_vec();
    Boot {
        firmware: inputs::read("sid-OVMF.fd"),
        vars: None,
        stub: "262",
        sections: vec![
            (".osrel", text("ID=guest\nVERSION_ID=1\n")),
            (".cmdline", text("console=ttyS0 quiet panic=-1")),
            (".initrd", text("an initrd")),
            (".uname", text("6.12.0")),
            (".linux", inputs::read("trixie-vmlinuz-cloud")),
        ],
        signature: Vec::new(),
        direct: None,
        tables: tables(),
        settings: vec![("memory", "2GiB"), ("vcpus", "1"), ("firmware-epoch", "202608")],
    }
}

/// fw_cfg files of a machine: ACPI by a loader script of one command, and memory that is 2 GiB.
fn tables() -> Vec<(&'static str, Vec<u8>)> {
    let mut script = vec![0; 128];
    script[0] = 1; // allocate
    script[4..20].copy_from_slice(b"etc/acpi/tables\0");
    // A baseboard, strings that nobody looks into, and the end mark.
    let smbios = b"\x02\x08\0\x02\x01\0\0\0QEMU\0\0\x7f\x04\0\x7f\0\0".to_vec();
    vec![
        ("etc/table-loader", script),
        ("etc/acpi/tables", b"APIC of one CPU".to_vec()),
        ("etc/smbios/smbios-tables", smbios),
    ]
}

fn measured(tee: &str, boot: &Boot) -> Measurement {
    let image = boot.direct.as_ref().map_or_else(|| uki(boot), |(kernel, ..)| kernel.clone());
    let bundle = fw_cfg::write(boot.tables.iter().map(|(name, bytes)| (*name, &bytes[..])));
    let guest = Guest {
        firmware: Some(&boot.firmware),
        vars: boot.vars.as_deref(),
        kernel: Some(&image),
        initrd: boot.direct.as_ref().map(|(_, initrd, _)| &initrd[..]),
        cmdline: boot.direct.as_ref().map(|(.., cmdline)| &cmdline[..]),
        others: vec![("acpi", &bundle)],
        ..Guest::default()
    };
    let machine = machine(tee, boot);
    let tee = measure::tee(tee).expect("a row");
    (tee.expect)(&guest, &[machine]).expect("a measurement").remove(0)
}

fn machine(tee: &str, boot: &Boot) -> Machine {
    let texts = boot.settings.iter().map(|(n, v)| ((*n).to_string(), vec![(*v).to_string()]));
    let tee = measure::tee(tee).expect("a row");
    measure::machines(tee, &texts.collect()).expect("settings").remove(0)
}

/// The reference values of a boot.
fn document(tee: &str, boot: &Boot) -> Document {
    let machine = reference::Machine::new(tee, &machine(tee, boot), &measured(tee, boot));
    Document::of_machines(vec![machine])
}

/// What the log of `found` says where `expected` was, whose reference values `document` has.
fn asked(tee: &'static str, document: &Document, expected: &Boot, found: &Boot) -> LogAnswer {
    let bank = if tee == "tdx" { Algorithm::Sha384 } else { Algorithm::Sha256 };
    let image =
        expected.direct.as_ref().map_or_else(|| uki(expected), |(kernel, ..)| kernel.clone());
    let direct = expected.direct.as_ref();
    let guest = |_: &reference::Machine| {
        Some(Guest {
            firmware: Some(&expected.firmware),
            kernel: Some(&image),
            initrd: direct.map(|(_, initrd, _)| &initrd[..]),
            cmdline: direct.map(|(.., cmdline)| &cmdline[..]),
            ..Guest::default()
        })
    };
    let found = measured(tee, found);
    let evidence = Evidence { tee, log: Some(log_of(&found, bank)), ..launched(&found) };
    let expectation =
        Expectation { document, guest: &guest, others: &[], stated: Stated::default() };
    let explanation = explain(&evidence, &expectation, &Means::default());
    explanation.expect("an explanation").log.expect("a log")
}

/// A fault: its name, what it does, and words of the causes that must be named, each once; others
/// than these may follow from them.
struct Fault {
    name: &'static str,
    make: fn(&mut Boot),
    words: &'static [&'static str],
    follows: &'static [&'static str],
}

const fn fault(
    name: &'static str,
    make: fn(&mut Boot),
    words: &'static [&'static str],
    follows: &'static [&'static str],
) -> Fault {
    Fault { name, make, words, follows }
}

/// A part of a UKI is a part of the image, whose digest moves as well.
const IMAGE: &[&str] = &["the image itself"];
const CMDLINE: &[&str] = &["the image itself", "kernel command line"];

const UKI: &[Fault] = &[
    fault(
        "UKI: a word of its command line is missing",
        |b| *b.section(".cmdline") = b"console=ttyS0 panic=-1".to_vec(),
        &["without `quiet`"],
        CMDLINE,
    ),
    fault(
        "UKI: a line end behind its command line",
        |b| b.section(".cmdline").push(b'\n'),
        &["kernel command line"],
        IMAGE,
    ),
    fault("UKI: initrd", |b| b.section(".initrd").push(1), &["initrd"], IMAGE),
    fault(
        "UKI: kernel",
        |b| b.section(".linux")[0x4000] ^= 1,
        &["kernel within the unified kernel image"],
        IMAGE,
    ),
    fault(
        "UKI: release",
        |b| b.section(".osrel").push(b'#'),
        &["unified kernel image (its sections)"],
        // Newer stubs put the release into an initrd of their own.
        &["the image itself", "initrd"],
    ),
    fault(
        "UKI: one section more",
        |b| b.sections.push((".sbat", b"sbat,1\n".to_vec())),
        &["unified kernel image (its sections)"],
        IMAGE,
    ),
    fault("UKI: stub version", |b| b.stub = "257", &["the image itself"], &["initrd", "kernel"]),
];

const TABLES: &[Fault] = &[
    fault(
        "ACPI of another number of vCPUs",
        |b| b.tables[1].1 = b"APIC of two CPUs".to_vec(),
        &["ACPI tables"],
        &[],
    ),
    fault("memory size", |b| b.set("memory", "4GiB"), &["memory"], &[]),
];

/// A header that QEMU patches tells no more of the memory than where the RAM disk lies.
const PATCHED: &[Fault] = &[fault(
    "memory of a patched header",
    |b| b.set("memory", "8GiB"),
    &["for 2048, 3072, … or 524288 MiB of memory"],
    &["memory map"],
)];

const DIRECT: &[Fault] = &[
    fault(
        "place of initrd= by firmware epoch",
        |b| b.set("firmware-epoch", "202408"),
        &["`initrd=initrd` stands behind"],
        &["firmware", "ACPI", "memory", "boot entries", "patched"],
    ),
    fault(
        "word replaced",
        |b| b.direct.as_mut().expect("direct").2 = "console=hvc0 quiet panic=-1".into(),
        &["`console=hvc0` instead of `console=ttyS0`"],
        &["patched"],
    ),
    fault(
        "words moved",
        |b| b.direct.as_mut().expect("direct").2 = "quiet console=ttyS0 panic=-1".into(),
        &["with `console=ttyS0` behind `quiet`"],
        &[],
    ),
    fault(
        "header patched by an older QEMU",
        |b| b.set("vmm", "qemu@9.2"),
        &["the kernel's header is patched by QEMU (before 10.0 it always is)"],
        &[],
    ),
    fault(
        "initrd in a direct boot",
        |b| b.direct.as_mut().expect("direct").1.push(0),
        &["initrd"],
        &["patched"],
    ),
    fault(
        "kernel in a direct boot",
        |b| b.direct.as_mut().expect("direct").0[0x4000] ^= 1,
        &["the image itself"],
        &[],
    ),
];

const SECURE_BOOT: &[Fault] = &[
    fault(
        "Secure Boot: no keys in the store",
        |b| b.vars = Some(inputs::read("sid-OVMF_VARS_4M.fd")),
        &["Secure Boot is off", "no platform key (PK) is in the variable store"],
        &["certificate", "boot entries", "no KEK", "no db", "Secure Boot variables"],
    ),
    fault(
        "Secure Boot: other keys in the store",
        |b| b.vars = Some(inputs::read("trixie-OVMF_VARS_4M.ms.fd")),
        &["Secure Boot variables"],
        &["certificate"],
    ),
    fault(
        "Secure Boot: another forbidden signature",
        |b| with_other_dbx(b.vars.as_mut().expect("variables")),
        &["Secure Boot variables"],
        &[],
    ),
    fault(
        "Secure Boot: signed by another certificate",
        |b| b.signature = certificate(b.vars.as_deref().expect("variables"), 1),
        &["certificate that the image was verified by"],
        IMAGE,
    ),
];

/// The certificate that stands in `db` at `place`.
fn certificate(vars: &[u8], place: usize) -> Vec<u8> {
    let variables = efi::variables(vars).expect("variables");
    let db = efi::value(&variables, efi::IMAGE_SECURITY_DATABASE, "db").expect("db");
    let all = efi::signatures(db).expect("signatures");
    all.iter().filter(|one| one.kind == efi::CERT_X509).nth(place).expect("it").data().to_vec()
}

/// Changes the last of the forbidden signatures.
fn with_other_dbx(vars: &mut [u8]) {
    let variables = efi::variables(vars).expect("variables");
    let data = efi::value(&variables, efi::IMAGE_SECURITY_DATABASE, "dbx").expect("dbx");
    let last = data[data.len() - 48..].to_vec();
    let at = vars.windows(last.len()).position(|window| window == last).expect("within");
    vars[at + 47] ^= 1;
}

fn secure() -> Boot {
    let vars = inputs::read("sid-OVMF_VARS_4M.ms.fd");
    let signature = certificate(&vars, 0);
    let firmware = inputs::read("sid-OVMF.inteltdx.ms.fd");
    Boot { firmware, vars: Some(vars), signature, ..ordinary_uki() }
}

fn direct() -> Boot {
    let kernel = inputs::read("trixie-vmlinuz-cloud");
    let cmdline = "console=ttyS0 quiet panic=-1".to_string();
    Boot { direct: Some((kernel, b"an initrd".to_vec(), cmdline)), ..ordinary_uki() }
}

/// What is named: the cause in words where a computation shows it, else the input.
fn named(answer: &LogAnswer) -> Vec<String> {
    let one = |difference: &guestsmith::verify::explain::Difference| {
        let cause = difference.cause.as_ref().map(|cause| cause.what.clone());
        cause.unwrap_or_else(|| difference.input.to_string())
    };
    answer.differences.iter().map(one).collect()
}

fn judged(name: &str, told: &[String], words: &[&str], follows: &[&str]) -> bool {
    println!("  {name}: {}", told.join("; "));
    let within = |all: &[&str], text: &String| all.iter().any(|word| text.contains(word));
    let stray: Vec<_> =
        told.iter().filter(|text| !within(words, text) && !within(follows, text)).collect();
    assert!(stray.is_empty(), "{name}: a wrong cause is told: {stray:?}");
    words.iter().all(|word| told.iter().any(|text| text.contains(word)))
}

/// Every fault by itself, and the pairs of those that can be together.
fn rate(
    tee: &'static str,
    usual: &Boot,
    faults: &[Fault],
    pairs: &[(usize, usize)],
) -> Vec<String> {
    let document = document(tee, usual);
    let mut rates = Rates::default();
    assert_eq!(asked(tee, &document, usual, usual).differences, []);
    let single = (0..faults.len()).map(|one| vec![&faults[one]]);
    let double = pairs.iter().map(|(one, other)| vec![&faults[*one], &faults[*other]]);
    for together in single.chain(double) {
        let mut boot = usual.clone();
        together.iter().for_each(|fault| (fault.make)(&mut boot));
        let names: Vec<_> = together.iter().map(|fault| fault.name).collect();
        let words: Vec<_> = together.iter().flat_map(|fault| fault.words).copied().collect();
        let follows: Vec<_> = together.iter().flat_map(|fault| fault.follows).copied().collect();
        let name = names.join(", and ");
        let named = judged(&name, &named(&asked(tee, &document, usual, &boot)), &words, &follows);
        rates.add(together.len(), name, named);
    }
    rates.told(&format!("{tee}, with a log"))
}

#[test]
fn faults_of_a_uki_are_named() {
    assert_eq!(
        rate(
            "tdx",
            &ordinary_uki(),
            UKI,
            &[(0, 2), (0, 3), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
        ),
        Vec::<String>::new()
    );
}

#[test]
fn faults_of_the_machine_are_named() {
    assert_eq!(rate("tdx", &direct(), TABLES, &[(0, 1)]), Vec::<String>::new());
}

#[test]
fn faults_of_a_patched_header_are_named() {
    let mut usual = direct();
    usual.set("vmm", "qemu@9.2");
    usual.set("memory", "1GiB");
    assert_eq!(rate("tdx", &usual, PATCHED, &[]), Vec::<String>::new());
}

#[test]
fn faults_of_a_direct_boot_are_named_in_words() {
    assert_eq!(
        rate("tdx", &direct(), DIRECT, &[(0, 1), (0, 4), (1, 4), (2, 5), (4, 5), (2, 3)]),
        Vec::<String>::new()
    );
}

#[test]
fn faults_of_secure_boot_are_named() {
    assert_eq!(rate("vtpm", &secure(), SECURE_BOOT, &[(2, 3), (1, 3)]), Vec::<String>::new());
}
