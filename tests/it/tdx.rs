//! TDX and vTPM on real firmware: published values, and inputs that are not what they should be.

use std::fs;
use std::path::{Path, PathBuf};

use guestsmith::store::entries;
use serde_json::Value;

use crate::command::run;
use crate::inputs;

fn at(name: &str) -> String {
    inputs::path(name).display().to_string()
}

/// The one machine that `measure` answers with.
fn measured(arguments: &[&str]) -> Value {
    let all = [&["measure", "--json"], arguments].concat();
    let (code, stdout, stderr) = run(&all);
    assert_eq!(code, 0, "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).expect("JSON");
    answer["machines"][0].clone()
}

#[test]
fn registers_of_debians_tdvf_are_those_that_others_published() {
    let (firmware, kernel) = (at("sid-OVMF.inteltdx.ms.fd"), at("trixie-vmlinuz-cloud"));
    let mrtd = |vmm| measured(&["--tee", "tdx", "--vmm", vmm, "--firmware", &firmware]);
    // tdx-measure, dstack-mr, confos, calculate-tdx-mrs and td-shim's script agree on both.
    let single = "a7a1f751abc454f9cbab198ca8d2edb2821935df525c74182b5e776cb0929e8c59aefecce725b0d08a5e9d3d3183bd08";
    let two = "b90b236113eb4c0d4df4ef590568c14e6028a3a31d7e8ac63dee9845df5008d3ebf82d4f5974e933798f65d7a279b9a9";
    assert_eq!(mrtd("qemu@11.1")["registers"]["mrtd"], single);
    assert_eq!(mrtd("qemu@8.2")["registers"]["mrtd"], two);
    let common = ["--tee", "tdx", "--vmm", "qemu@11.1", "--firmware", &firmware];
    let boot = ["--kernel", &kernel, "--cmdline", "quiet", "--memory", "2GiB"];
    let machine = measured(&[&common[..], &boot].concat());
    let rtmr1 = machine["registers"]["rtmr1"].as_str().expect("a value");
    assert!(rtmr1.starts_with("ea270327"), "{rtmr1}");
    assert_eq!(machine["epoch"], "202508 or later");
    assert_eq!(machine["stronger"]["rtmr1"], "vtpm-boot");
    let older = measured(&[&common[..], &boot, &["--firmware-epoch", "202408"]].concat());
    assert_eq!(older["epoch"], "202408 (stated)");
    assert_ne!(older["registers"]["rtmr1"], machine["registers"]["rtmr1"]);
}

#[test]
fn what_the_store_knows_of_a_firmware_changes_no_register() {
    let (firmware, kernel) = (at("sid-OVMF.inteltdx.ms.fd"), at("trixie-vmlinuz-cloud"));
    let dir = tempfile::tempdir().expect("a directory");
    let measured = |store: &Path| {
        let guest = ["--tee", "tdx", "--firmware", &firmware, "--kernel", &kernel];
        let store = store.display().to_string();
        measured(&[&guest[..], &["--memory", "2GiB", "--store", &store]].concat())
    };
    let first = measured(dir.path());
    let kept = entries::sorted(&dir.path().join("results")).expect("results");
    assert_eq!(kept.len(), 1);
    assert_eq!(measured(dir.path()), first, "from the store");
    assert_eq!(measured(Path::new("/dev/null/store")), first, "without one");
}

#[test]
fn pcr_0_of_older_firmware_has_what_its_core_wrote_into_it() {
    // The guest's own PCR 0 after boots of Debian's 2025.02 under QEMU 7.2, 10.0 and 11.1.
    let known = "5f6f9472e953d7f49e3ce38e89976e7e5d96fdba53d2b3392870a57f85ace3d2e4574c45b3795fb1810ac689a4f08818";
    let (firmware, kernel) = (at("trixie-OVMF_CODE_4M.fd"), at("trixie-vmlinuz-cloud"));
    let common = ["--tee", "vtpm", "--bank", "sha384", "--firmware", &firmware];
    let machine = measured(&[&common[..], &["--kernel", &kernel, "--memory", "2GiB"]].concat());
    assert_eq!(machine["registers"]["pcr0"], known);
}

#[test]
fn what_a_kernel_measures_is_what_guests_had_in_their_logs() {
    let (code, vars) = (at("sid-OVMF_CODE_4M.fd"), at("sid-OVMF_VARS_4M.fd"));
    let kernel = at("trixie-vmlinuz-cloud");
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).expect("written");
        dir.path().join(name).display().to_string()
    };
    let (none, zeros) = (file("none", &[]), file("zeros", &[0; 5000]));
    let common = ["--tee", "vtpm", "--firmware", &code, "--vars", &vars, "--kernel", &kernel];
    let pcr9 = |more: &[&str]| -> Vec<String> {
        let machine = measured(&[&common[..], &["--memory", "512MiB"], more].concat());
        let events = machine["events"].as_array().expect("events").clone();
        let of_9 = events.iter().filter(|event| event["register"] == "pcr9");
        of_9.map(|event| event["digest"].as_str().expect("hexadecimal").to_string()).collect()
    };
    // Digests out of the logs of guests under QEMU 7.2 with this firmware, read from their memory.
    assert_eq!(pcr9(&[]), [""; 0]);
    let quiet = "2d7d7381227937c3ac164a2f36c1e8e8268e91eb28814d8a75ba4c72c2be0155";
    assert_eq!(pcr9(&["--cmdline", "quiet", "--initrd", &none]), [quiet]);
    let named = "6bd0e07e52dbab52c7357a917548667163c36253f9f9548e90cb00eae7aed625";
    let initrd = "7ca5bd879f393d9dd05b14f38add9c0fc6b67928f7f2d261b2e47a32ee8219e3";
    let both = pcr9(&["--cmdline", "quiet name=Größe", "--initrd", &zeros]);
    assert_eq!(both, [named, initrd]);
}

#[test]
fn a_kernel_that_cannot_measure_in_a_td_leaves_rtmr2_alone() {
    // Linux 6.9 taught the stub the protocol of confidential guests; before, its GUID is in no kernel.
    let mut kernel = inputs::read("trixie-vmlinuz-cloud");
    let half = guestsmith::digest::unhex("3d1a7596f472a641").expect("digits");
    while let Some(place) = memchr::memmem::find(&kernel, &half) {
        kernel[place..place + 8].fill(0);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("kernel").display().to_string();
    fs::write(&path, kernel).expect("written");
    let firmware = at("sid-OVMF.inteltdx.ms.fd");
    let common = ["--tee", "tdx", "--firmware", &firmware, "--kernel", &path, "--cmdline", "quiet"];
    let machine = measured(&[&common[..], &["--memory", "2GiB"]].concat());
    assert_eq!(machine["registers"]["rtmr2"], "0".repeat(96));
    let doubts = machine["warnings"].to_string();
    let doubt = "this kernel measures neither command line nor initrd: RTMR2 says nothing of it";
    assert!(doubts.contains(doubt), "{doubts}");
}

#[test]
fn what_a_boot_loader_measures_is_left_open() {
    let firmware = at("sid-OVMF_CODE_4M.fd");
    let stub = fs::read(inputs::path("trixie-vmlinuz-cloud")).expect("a kernel");
    let mut loader = stub;
    loader[0x202..0x206].fill(0); // an EFI application, but not Linux
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("loader").display().to_string();
    fs::write(&path, loader).expect("written");
    let machine = measured(&["--tee", "vtpm", "--firmware", &firmware, "--kernel", &path]);
    let registers = machine["registers"].as_object().expect("registers");
    let left: Vec<_> = [4, 5, 7, 8, 9, 11, 12, 13, 14].map(|n| format!("pcr{n}")).to_vec();
    assert!(left.iter().all(|name| !registers.contains_key(name)), "{registers:?}");
    assert!(registers.contains_key("pcr2"));
}

#[test]
fn initdata_lands_in_the_field_of_each_tee() {
    // Digests by sha256sum and Python's hashlib.
    let digest = "c875e0fcb6036144402adc87cf6a1891ade73f6d02133dcf7d1e57baf8340118";
    let pcr8 = "5dae57706322756c42d2c6f88c7c970764daa5fc9cf63634fa7214b0dd0c31d7";
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let text = b"algorithm = \"sha256\"\nversion = \"0.1.0\"\n\n[data]\n\"aa.toml\" = \"x\"\n";
    let (initdata, code) = (write("initdata.toml", text), write("code", &[0xf4]));
    let (tdvf, snp) = (at("sid-OVMF.inteltdx.ms.fd"), at("sid-OVMF.amdsev.fd"));
    let (ovmf, kernel) = (at("sid-OVMF_CODE_4M.fd"), at("trixie-vmlinuz-cloud"));
    let field = |given: &str, register: &str| {
        let words: Vec<_> = given.split(' ').chain(["--initdata", &initdata]).collect();
        measured(&words)["registers"][register].as_str().expect("a register").to_string()
    };
    let padded = |width: usize| format!("{digest:0<width$}", width = 2 * width);
    assert_eq!(field(&format!("--tee tdx --firmware {tdvf}"), "mrconfigid"), padded(48));
    let snp = format!("--tee sev-snp --firmware {snp} --vcpus 1 --cpu EPYC-Milan");
    assert_eq!(field(&snp, "host_data"), digest);
    assert_eq!(field(&format!("--tee sgx --code {code}"), "configid"), padded(64));
    let vtpm = format!("--tee vtpm --firmware {ovmf} --kernel {kernel} --memory 1GiB");
    assert_eq!(field(&vtpm, "pcr8"), pcr8);
    assert_eq!(field(&format!("{vtpm} --bank sha384"), "pcr8"), "0".repeat(96));
    let (code, _, stderr) = run(&["measure", "--tee", "se", "--initdata", &initdata]);
    assert!(code == 2 && stderr.contains("se reads no --initdata"), "{stderr}");
}

/// A directory with broken inputs, and the error of a `measure` with some of them.
struct Broken(tempfile::TempDir);

impl Broken {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    fn error(&self, given: &[(&str, &Path)]) -> String {
        let mut arguments = vec!["measure".to_string()];
        for (flag, value) in given {
            arguments.extend([(*flag).to_string(), value.display().to_string()]);
        }
        let words: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (code, stdout, stderr) = run(&words);
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}: {stderr}");
        stderr
    }
}

const TDX: (&str, &str) = ("--tee", "tdx");
const VTPM: (&str, &str) = ("--tee", "vtpm");

#[test]
fn every_broken_input_gets_a_precise_error() {
    let broken = Broken(tempfile::tempdir().expect("a directory"));
    let (tdvf, code) =
        (inputs::read("sid-OVMF.inteltdx.ms.fd"), inputs::path("sid-OVMF_CODE_4M.fd"));
    let kernel = inputs::read("trixie-vmlinuz-cloud");
    let says = |given: &[(&str, &Path)], words: &str| {
        let error = broken.error(given);
        assert!(error.contains(words), "expected `{words}` in\n{error}");
    };
    let tee = |(flag, name): (&'static str, &'static str)| (flag, Path::new(name));

    let cut = broken.file("cut", &tdvf[..tdvf.len() / 2]);
    says(&[tee(TDX), ("--firmware", &cut)], "firmware: no TDX metadata found");
    let whole = inputs::path("sid-OVMF.inteltdx.ms.fd");
    let memory = |text| [tee(TDX), ("--firmware", whole.as_path()), ("--memory", Path::new(text))];
    says(&memory("8MiB"), "the firmware's own sections of it reach up to 0x820000");
    says(&memory("18014398509481983KiB"), "memory: expected a size with its unit");
    let zeros = broken.file("zeros", &vec![0; 1 << 16]);
    says(&[tee(TDX), ("--firmware", &zeros)], "or the file was cut");
    let boot = |kernel: &[u8]| {
        let kernel = broken.file("kernel", kernel);
        broken.error(&[
            tee(VTPM),
            ("--firmware", &code),
            ("--kernel", &kernel),
            ("--memory", Path::new("1GiB")),
        ])
    };
    let pe = usize::from(kernel[0x3c]);
    let table = pe + 24 + usize::from(u16::from_le_bytes([kernel[pe + 20], kernel[pe + 21]]));
    let changed = |at: usize, bytes: &[u8]| {
        let mut kernel = kernel.clone();
        kernel[at..at + bytes.len()].copy_from_slice(bytes);
        boot(&kernel)
    };
    let error = changed(0, b"\xea\x05");
    assert!(error.contains("kernel without EFI stub is not supported"), "{error}");
    let error = changed(table + 16, &[0xff, 0xff, 0xff, 0x7f]);
    assert!(
        error.contains("section data at byte offset") && error.contains("inside the file"),
        "{error}"
    );
    let error = changed(table + 20, &[0x10, 0, 0, 0]);
    assert!(error.contains("`.setup` in the headers"), "{error}");
    let error = changed(table, b".linux\0\0");
    assert!(error.contains("a UKI without section `.cmdline` is not supported"), "{error}");
}

#[test]
fn variables_that_do_not_parse_and_tables_of_another_machine_are_refused() {
    let broken = Broken(tempfile::tempdir().expect("a directory"));
    let (code, kernel) =
        (inputs::path("sid-OVMF_CODE_4M.fd"), inputs::path("trixie-vmlinuz-cloud"));
    let says = |flag, file: &Path, words: &str| {
        let error = broken.error(&[
            ("--tee", Path::new("vtpm")),
            ("--firmware", &code),
            ("--kernel", &kernel),
            ("--memory", Path::new("1GiB")),
            (flag, file),
        ]);
        assert!(error.contains(words), "expected `{words}` in\n{error}");
    };
    let mut vars = inputs::read("sid-OVMF_VARS_4M.ms.fd");
    vars[0x48..0x58].fill(0x11);
    let vars = broken.file("vars", &vars);
    says("--vars", &vars, "vars: signature of the variable store at byte offset 0x48");
    let acpi = broken.0.path().join("acpi");
    fs::create_dir(&acpi).expect("made");
    fs::write(
        acpi.join("etc_e820"),
        [[0; 8].as_slice(), &[0, 0, 0, 0x80, 0, 0, 0, 0], &[1, 0, 0, 0]].concat(),
    )
    .expect("written");
    let words =
        "acpi: memory in `etc/e820` at byte offset 0x0: expected 1073741824, as the machine has";
    says("--acpi", &acpi, words);
}

#[test]
fn a_log_with_an_unknown_algorithm_is_refused_where_it_stands() {
    let header = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &[33, 0, 0, 0]].concat();
    let spec = [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2], &[1, 0, 0, 0]].concat();
    let event = [&[1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0x99, 0][..], &[7; 48], &[0; 4]].concat();
    let log = [header, spec, vec![0x0c, 0, 48, 0, 0], event].concat();
    let broken = Broken(tempfile::tempdir().expect("a directory"));
    let file = broken.file("log", &log);
    let (code, stdout, stderr) = run(&["inspect", file.to_str().expect("UTF-8")]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    let words = "algorithm of an event's digest at byte offset 0x4d: expected one of the header's, found 0x0099";
    assert!(stderr.contains(words), "{stderr}");
}

#[test]
fn evidence_in_json_is_replayed_and_an_altered_one_is_refused() {
    let mut quote = vec![0; 1024];
    quote[..6].copy_from_slice(&[4, 0, 2, 0, 0x81, 0]);
    let intel = "939a7233f79c4ca9940a0db3957f0607"; // vendor of the quoting enclave
    quote[12..28].copy_from_slice(&guestsmith::digest::unhex(intel).expect("hexadecimal"));
    let header = 48;
    // RTMR3 after one event of dstack's guest, by Python's hashlib.
    let rtmr3 = guestsmith::digest::unhex(DSTACK_RTMR3).expect("hexadecimal");
    let at = header + 328 + 3 * 48;
    quote[at..at + 48].copy_from_slice(&rtmr3);
    let json = |payload: &str| {
        let event = serde_json::json!([{
            "imr": 3, "event_type": 0x0800_0001, "digest": "", "event": "app-id", "event_payload": payload,
        }]);
        let quote = guestsmith::digest::hex(&quote);
        serde_json::json!({ "quote": quote, "event_log": event.to_string() }).to_string()
    };
    let broken = Broken(tempfile::tempdir().expect("a directory"));
    let check = |payload| {
        let file = broken.file("evidence.json", json(payload).as_bytes());
        let (code, stdout, stderr) = run(&["inspect", "--json", file.to_str().expect("UTF-8")]);
        let answer: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
        (code, answer["facts"]["replay"][3]["verdict"].clone())
    };
    assert_eq!(check("0102"), (0, "as reported".into()));
    let (code, verdict) = check("0103");
    assert_eq!(code, 1);
    assert!(verdict.as_str().expect("words").starts_with("differs: the log leads to"), "{verdict}");
}

/// SHA-384 of 48 zero bytes and SHA-384 of `01 00 00 08 : app-id : 01 02`.
const DSTACK_RTMR3: &str = "536bc025b5d0b0ac6328cb1ce49786a3e9ad1e259a9676ef56fb47e6e7cbe705aff0fbc615d856392d9efa51c66e6d60";
