//! The truth: a guest boots under QEMU with OVMF and swtpm, and its own event log is compared,
//! event by event, with what was predicted before the boot.
//!
//! One boot runs with the ordinary tests; the others are `ignored` and run by
//! `ci/differential boots`. Whatever QEMU the machine has is used, and its version stated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use guestsmith::assemble::acpi::qemu;
use guestsmith::format::eventlog::{Algorithm, EV_NO_ACTION, Log, describe};
use guestsmith::measure::{self, Guest, Machine, Vmm};
use guestsmith::sandbox::host::Host;
use guestsmith::store::Store;

use crate::inputs;

const MEMORY: u64 = 1 << 30;
const CMDLINE: &str = "console=ttyS0 quiet panic=-1";

/// What the guest does: the log to the second serial port, and off.
const INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mount -t securityfs sec /sys/kernel/security
exec >/dev/ttyS1
$b echo LOG-BEGINS
$b od -An -v -tx1 /sys/kernel/security/tpm0/binary_bios_measurements
$b echo LOG-ENDS
$b poweroff -f
";

/// A boot: firmware and variables among the inputs, and what differs from one to the other.
struct Cell {
    firmware: &'static str,
    vars: &'static str,
    /// Events that are not predicted, by register; their names are part of the expectation.
    unknown: &'static [&'static str],
}

/// Ends its process with itself.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the test plays the machine that runs a guest")]
fn start(program: &str, arguments: &[String]) -> Running {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    Running(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run ci/setup")))
}

fn host() -> Host {
    let path = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec();
    Host { path, variables: BTreeMap::new() }
}

fn program(name: &str) -> PathBuf {
    let found = host().path.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; run ci/setup"))
}

/// A newc archive of busybox and the script.
fn initrd() -> Vec<u8> {
    let busybox = fs::read(program("busybox")).expect("busybox");
    let files: [(&str, u32, &[u8]); 3] = [
        ("bin", 0o040_755, &[]),
        ("bin/busybox", 0o100_755, &busybox),
        ("init", 0o100_755, INIT.as_bytes()),
    ];
    let mut archive = Vec::new();
    let end: [(&str, u32, &[u8]); 1] = [("TRAILER!!!", 0, &[])];
    for (number, (name, mode, data)) in files.into_iter().chain(end).enumerate() {
        let (size, name_size) = (data.len(), name.len() + 1);
        archive.extend(
            format!("070701{number:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}", 0, 0, 1, 0)
                .bytes(),
        );
        archive.extend(format!("{:032x}{name_size:08x}{:08x}{name}\0", 0, 0).bytes());
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// Version of the QEMU that runs the guest.
fn version() -> Vec<u32> {
    let mut command = host().tool("qemu-system-x86_64", "run ci/setup").expect("QEMU");
    let output = command.arg("--version").run().expect("a version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(3).expect("a number");
    number.split('.').map(|part| part.parse().expect("a number")).collect()
}

/// What the machine is made of, the same for the prediction and the boot.
fn shape() -> qemu::Machine {
    let arguments = ["-serial", "null", "-serial", "null"].map(str::to_string).to_vec();
    let qemu = program("qemu-system-x86_64");
    qemu::Machine { qemu, vcpus: 1, memory: MEMORY, tpm: true, arguments }
}

/// Events by register: digest and what it was.
type Events = BTreeMap<String, Vec<(String, String)>>;

fn predicted(cell: &Cell, kernel: &[u8], initrd: &[u8]) -> Events {
    let store = tempfile::tempdir().expect("a directory");
    let store = Store::open(store.path()).expect("a store");
    let bundle = qemu::read(&host(), &store, &[shape()]).expect("fw_cfg files");
    let (firmware, vars) = (inputs::read(cell.firmware), inputs::read(cell.vars));
    let guest = Guest {
        firmware: Some(&firmware),
        vars: Some(&vars),
        kernel: Some(kernel),
        initrd: Some(initrd),
        cmdline: Some(CMDLINE),
        others: vec![("acpi", &bundle)],
        ..Guest::default()
    };
    let vmm = Vmm { name: "qemu".to_string(), version: Some(version()) };
    let machine = Machine { vmm, vcpus: Some(1), memory: Some(MEMORY), ..Machine::default() };
    let vtpm = measure::tee("vtpm").expect("a row");
    let found = (vtpm.expect)(&guest, &[machine]).expect("a prediction").remove(0);
    let left_out: Vec<_> = found
        .warnings
        .iter()
        .filter_map(|w| w.split_once(" is left out").map(|(pcr, _)| pcr))
        .collect();
    assert_eq!(left_out, cell.unknown, "{:?}", found.warnings);
    let mut events = Events::new();
    for event in found.events {
        let digest = guestsmith::digest::hex(&event.digest);
        events.entry(event.register).or_default().push((digest, event.what));
    }
    events
}

fn booted(cell: &Cell, dir: &Path, kernel: &Path, initrd: &Path) -> Events {
    let path = |name: &str| dir.join(name).display().to_string();
    fs::copy(inputs::path(cell.vars), dir.join("vars")).expect("variables");
    let words = |text: String| text.split(' ').map(str::to_string).collect::<Vec<_>>();
    let _tpm = start(
        "swtpm",
        &words(format!(
            "socket --tpm2 --flags startup-clear,not-need-init --tpmstate dir={} --ctrl type=unixio,path={}",
            dir.display(),
            path("socket"),
        )),
    );
    let mut waits = 0..250;
    while !dir.join("socket").exists() {
        waits.next().expect("swtpm starts within five seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut arguments = words(format!(
        "-accel tcg -machine q35 -m {} -smp 1 -nodefaults -display none -no-reboot -serial file:{} \
         -serial file:{} -chardev socket,id=tpm,path={} -tpmdev emulator,id=tpm0,chardev=tpm -device \
         tpm-tis,tpmdev=tpm0 -drive if=pflash,format=raw,unit=0,readonly=on,file={} -drive \
         if=pflash,format=raw,unit=1,file={} -kernel {} -initrd {} -append",
        MEMORY >> 20,
        path("console"),
        path("log"),
        path("socket"),
        inputs::path(cell.firmware).display(),
        path("vars"),
        kernel.display(),
        initrd.display(),
    ));
    arguments.push(CMDLINE.to_string());
    let mut guest = start("qemu-system-x86_64", &arguments);
    let mut waits = 0..900;
    while guest.0.try_wait().expect("QEMU").is_none() {
        let console = || fs::read_to_string(dir.join("console")).unwrap_or_default();
        waits
            .next()
            .unwrap_or_else(|| panic!("the guest is not off after 15 minutes:\n{}", console()));
        std::thread::sleep(Duration::from_secs(1));
    }
    // The firmware writes to this port too, before the guest does.
    let text = fs::read(dir.join("log")).expect("the guest's log");
    let text = String::from_utf8_lossy(&text).into_owned();
    let (_, rest) = text.split_once("LOG-BEGINS").expect("a guest that reached its script");
    let (text, _) = rest.split_once("LOG-ENDS").expect("a whole log");
    let digits: String = text.split_whitespace().collect();
    let bytes = guestsmith::digest::unhex(&digits).expect("hexadecimal digits");
    let log = Log::parse(&bytes).expect("an event log");
    let mut events = Events::new();
    for record in log.records.iter().filter(|record| record.kind != EV_NO_ACTION) {
        let digest = record.digest(Algorithm::Sha256).expect("a SHA-256 bank");
        let event = (guestsmith::digest::hex(digest), describe(record));
        events.entry(format!("pcr{}", record.index)).or_default().push(event);
    }
    events
}

/// Boots a cell and compares every event of every register that was predicted.
fn compare(cell: &Cell) {
    let dir = tempfile::tempdir().expect("a directory");
    let kernel = inputs::path("trixie-vmlinuz-cloud");
    let initrd_path = dir.path().join("initrd");
    fs::write(&initrd_path, initrd()).expect("initrd");
    let kernel_bytes = fs::read(&kernel).expect("the kernel among the inputs");
    let predicted = predicted(cell, &kernel_bytes, &initrd());
    let booted = booted(cell, dir.path(), &kernel, &initrd_path);
    let mut compared = 0;
    for (register, events) in &booted {
        if cell.unknown.contains(&register.as_str()) {
            continue;
        }
        let ours = predicted.get(register).cloned().unwrap_or_default();
        for (number, (digest, what)) in events.iter().enumerate() {
            let known = ours.get(number);
            assert_eq!(
                known.map(|(d, _)| d),
                Some(digest),
                "{register} #{number} {what}: {known:?}"
            );
        }
        assert_eq!(ours.len(), events.len(), "{register}: more is predicted than happens");
        compared += events.len();
    }
    assert!(compared >= 20, "only {compared} events");
}

#[test]
fn a_direct_boot_measures_what_was_predicted() {
    compare(&Cell { firmware: "sid-OVMF_CODE_4M.fd", vars: "sid-OVMF_VARS_4M.fd", unknown: &[] });
}

#[test]
#[ignore = "one of several boots: ci/differential boots"]
fn older_firmware_measures_what_was_predicted() {
    compare(&Cell {
        firmware: "trixie-OVMF_CODE_4M.fd",
        vars: "trixie-OVMF_VARS_4M.fd",
        unknown: &["pcr0"],
    });
}

#[test]
#[ignore = "one of several boots: ci/differential boots"]
fn firmware_before_acpi_was_measured_does_what_was_predicted() {
    compare(&Cell {
        firmware: "bookworm-OVMF_CODE_4M.fd",
        vars: "bookworm-OVMF_VARS_4M.fd",
        unknown: &["pcr0"],
    });
}

#[test]
#[ignore = "boots what ci/differential stack builds"]
fn firmware_built_from_source_measures_what_was_predicted() {
    compare(&Cell {
        firmware: "built-OVMF_CODE_4M.fd",
        vars: "built-OVMF_VARS_4M.fd",
        unknown: &["pcr0"],
    });
}
