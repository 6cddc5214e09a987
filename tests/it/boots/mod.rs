//! The truth: a guest boots under QEMU with OVMF and swtpm, and its own event log is compared,
//! event by event, with what was predicted before the boot.
//!
//! One boot, under the machine's own QEMU, runs with the ordinary tests; the others are `ignored` and
//! run by `ci/differential boots`.

mod machine;
mod media;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use guestsmith::assemble::acpi::qemu;
use guestsmith::digest::{hex, unhex};
use guestsmith::format::eventlog::{Algorithm, EV_NO_ACTION, Log, describe};
use guestsmith::measure::{self, Guest, Machine, Value};
use guestsmith::store::Store;

use crate::inputs;
use machine::Suite::{self, Bookworm, Sid, Trixie};

// Without `no_timer_check` a kernel on a busy machine may take emulation's late ticks for broken ones.
// The firmware widens a command line byte by byte, a stub decodes its own: `ö` shows which is which.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check name=Größe";

/// A command line from outside, with what a stub settles: a space at its end.
const APPENDED: &str = "console=ttyS0 quiet panic=-1 no_timer_check name=Größe from=outside ";

/// What a first call of ExitBootServices leaves behind that came too late for its memory map; Linux
/// calls again, so the pair may come any number of times.
const RETRY: [&str; 2] =
    ["Exit Boot Services Returned with Failure", "Exit Boot Services Invocation"];

/// What boots, and how the firmware comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Direct,
    UkiByKernel,
    /// With a command line of QEMU's, which the stub prefers to its own.
    UkiAppended,
    UkiOnDisk,
    /// A UKI by `-kernel`, signed with the key that Debian's OVMF comes with.
    SecureBoot,
}

/// A boot: where QEMU, firmware and systemd-stub come from, and what differs from one to the other.
#[derive(Debug, Clone, Copy)]
struct Cell {
    qemu: Suite,
    ovmf: Suite,
    mode: Mode,
    vcpus: u32,
    memory: u64,
    /// More devices, as QEMU's arguments.
    devices: &'static str,
}

/// A cell with its files in `dir`.
struct Prepared {
    cell: Cell,
    dir: PathBuf,
    image: Vec<u8>,
    initrd: Vec<u8>,
    firmware: PathBuf,
    vars: PathBuf,
}

/// Events by bank and register: digest and what it was.
type Events = BTreeMap<(Algorithm, String), Vec<(String, String)>>;

/// The banks that swtpm has active.
const BANKS: [Algorithm; 4] =
    [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

/// Registers that the guest's own programs do not extend; 10 is that of the kernel's IMA.
const REGISTERS: [u32; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

impl Mode {
    /// QEMU's `-append`.
    fn append(self) -> Option<&'static str> {
        match self {
            Self::Direct => Some(CMDLINE),
            Self::UkiAppended => Some(APPENDED),
            _ => None,
        }
    }
}

impl Cell {
    fn prepare(self, dir: &Path) -> Prepared {
        let (code, vars) = match self.mode {
            Mode::SecureBoot => ("OVMF_CODE_4M.snakeoil.fd", "OVMF_VARS_4M.snakeoil.fd"),
            _ => ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
        };
        let kernel = inputs::read("trixie-vmlinuz-cloud");
        let initrd = media::initrd();
        let image = match self.mode {
            Mode::Direct => kernel,
            _ => media::uki(
                self.ovmf,
                &[
                    (".osrel", b"ID=guest\nPRETTY_NAME=\"A guest\"\n"),
                    (".cmdline", CMDLINE.as_bytes()),
                    (".uname", b"6.12"),
                    (".initrd", &initrd),
                    (".linux", &kernel),
                ],
            ),
        };
        fs::write(dir.join("image"), &image).expect("the image");
        if self.mode == Mode::SecureBoot {
            media::sign(self.ovmf, &dir.join("image"));
        }
        let image = fs::read(dir.join("image")).expect("the image");
        fs::write(dir.join("initrd"), &initrd).expect("the initrd");
        if self.mode == Mode::UkiOnDisk {
            fs::write(dir.join("disk"), media::disk(&image)).expect("the disk");
        }
        let own = dir.join("vars");
        fs::write(&own, fs::read(self.ovmf.firmware(vars)).expect("variables")).expect("copied");
        let firmware = self.ovmf.firmware(code);
        Prepared { cell: self, dir: dir.to_path_buf(), image, initrd, firmware, vars: own }
    }
}

impl Prepared {
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// What shapes the machine beside vCPUs, memory, TPM and serial ports.
    fn shape(&self) -> Vec<String> {
        let text = match self.cell.mode {
            Mode::SecureBoot => {
                "-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on"
            }
            _ => "-machine q35",
        };
        let mut words: Vec<_> = text.split(' ').map(str::to_string).collect();
        if self.cell.mode == Mode::UkiOnDisk {
            words.extend([
                "-drive".into(),
                format!("if=none,id=disk,format=raw,file={}", self.path("disk")),
            ]);
            if !self.cell.devices.contains("drive=disk") {
                words.extend(["-device".into(), "virtio-blk-pci,drive=disk,bootindex=1".into()]);
            }
        }
        words.extend(self.cell.devices.split_whitespace().map(str::to_string));
        words
    }

    fn predicted(&self) -> (Events, Vec<String>) {
        let store = tempfile::tempdir().expect("a directory");
        let store = Store::open(store.path()).expect("a store");
        let Cell { qemu, mode, vcpus, memory, .. } = self.cell;
        let serial = ["-serial", "null", "-serial", "null"].map(str::to_string);
        let shape = qemu::Machine {
            qemu: qemu.program("qemu-system-x86_64"),
            vcpus,
            memory,
            tpm: true,
            arguments: [&self.shape()[..], &serial].concat(),
            firmware: Some(self.firmware.clone()),
            vars: Some(self.vars.clone()),
        };
        let bundle = qemu::read(&qemu.host(), &store, &[shape]).expect("fw_cfg files");
        let read = |path: &Path| fs::read(path).expect("a file");
        let (firmware, vars) = (read(&self.firmware), read(&self.vars));
        let disk = (mode == Mode::UkiOnDisk).then(|| read(&self.dir.join("disk")));
        let direct = mode == Mode::Direct;
        let guest = Guest {
            firmware: Some(&firmware),
            vars: Some(&vars),
            kernel: disk.is_none().then_some(&self.image),
            disk: disk.as_deref(),
            initrd: direct.then_some(&self.initrd),
            cmdline: mode.append(),
            others: vec![("acpi", &bundle)],
            ..Guest::default()
        };
        let vmm = qemu.vmm();
        let machine = |bank: Algorithm| Machine {
            vmm: vmm.clone(),
            vcpus: Some(vcpus),
            memory: Some(memory),
            settings: [("bank".to_string(), Value::Text(bank.name().to_string()))].into(),
            ..Machine::default()
        };
        let vtpm = measure::tee("vtpm").expect("a row");
        let found = (vtpm.expect)(&guest, &BANKS.map(machine)).expect("a prediction");
        let warnings = found[0].warnings.clone();
        let mut events = Events::new();
        for (bank, found) in BANKS.into_iter().zip(found) {
            for event in found.events {
                let event_of = events.entry((bank, event.register)).or_default();
                event_of.push((hex(&event.digest), event.what));
            }
        }
        (events, warnings)
    }

    fn booted(&self) -> Events {
        let Cell { qemu, mode, vcpus, memory, .. } = self.cell;
        let flash = |unit, file: &Path, more| {
            format!("if=pflash,format=raw,unit={unit}{more},file={}", file.display())
        };
        let mut arguments = vec!["-m".into(), (memory >> 20).to_string()];
        arguments.extend(["-smp".into(), vcpus.to_string()]);
        arguments.extend(["-drive".into(), flash(0, &self.firmware, ",readonly=on")]);
        arguments.extend(["-drive".into(), flash(1, &self.vars, "")]);
        if mode != Mode::UkiOnDisk {
            arguments.extend(["-kernel".into(), self.path("image")]);
        }
        if mode == Mode::Direct {
            arguments.extend(["-initrd".into(), self.path("initrd")]);
        }
        if let Some(text) = mode.append() {
            arguments.extend(["-append".into(), text.into()]);
        }
        let text = machine::boot(qemu, &self.dir, &self.shape(), &arguments);
        let (pcrs, digits) = text.split_once("EVENTS").expect("PCRs, then events");
        let digits: String = digits.split_whitespace().collect();
        let log = Log::parse(&unhex(&digits).expect("hexadecimal digits")).expect("an event log");
        for bank in BANKS {
            let replayed = log.replay(bank).expect("the log has the bank");
            for index in REGISTERS {
                let value = replayed.get(&index).cloned().unwrap_or(vec![0; bank.width()]);
                let line = format!("pcr-{}/{index} {}", bank.name(), hex(&value).to_uppercase());
                let as_replayed = pcrs.lines().any(|shown| shown.trim() == line);
                assert!(as_replayed, "the log replays to {line}, the guest has\n{pcrs}");
            }
        }
        let mut events = Events::new();
        for record in log.records.iter().filter(|record| record.kind != EV_NO_ACTION) {
            for bank in BANKS {
                let digest = record.digest(bank).expect("the log has the bank");
                let events_of = events.entry((bank, format!("pcr{}", record.index))).or_default();
                events_of.push((hex(digest), describe(record)));
            }
        }
        events
    }
}

/// Boots a cell and compares every event of every register; events that are left open must be those
/// `unknown`, by register.
#[expect(clippy::print_stdout, reason = "what a run of the named target shows")]
fn compare(cell: Cell, unknown: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    let prepared = cell.prepare(dir.path());
    let (predicted, warnings) = prepared.predicted();
    let left_out: Vec<_> =
        warnings.iter().filter_map(|w| Some(w.split_once(" is left out")?.0)).collect();
    assert_eq!(left_out, unknown, "{cell:?}: {warnings:?}");
    let booted = prepared.booted();
    let mut compared = 0;
    for ((bank, register), events) in &booted {
        if unknown.contains(&register.as_str()) {
            continue;
        }
        let of = (*bank, register.clone());
        let mut ours = predicted.get(&of).cloned().unwrap_or_default();
        let retries = events.iter().filter(|(_, what)| what == RETRY[0]).count();
        for _ in 0..retries {
            let pair = RETRY.map(|text| (hex(&bank.digest([text.as_bytes()])), text.to_string()));
            ours.splice(ours.len() - 1..ours.len() - 1, pair);
        }
        for (number, (digest, what)) in events.iter().enumerate() {
            let known = ours.get(number).map(|(d, _)| d);
            let all = || {
                format!(
                    "{cell:?}: {bank:?} {register} #{number} {what}:\nours {ours:#?}\nguest's {events:#?}"
                )
            };
            assert_eq!(known, Some(digest), "{}", all());
        }
        assert_eq!(
            ours.len(),
            events.len(),
            "{cell:?}: more of {register} is predicted than happens"
        );
        compared += events.len();
    }
    // An event that is predicted and does not happen shows in a register that the guest does extend,
    // or here.
    for (bank, register) in predicted.keys() {
        let happened = booted.contains_key(&(*bank, register.clone()));
        assert!(happened || unknown.contains(&register.as_str()), "{cell:?}: {register} is still");
    }
    let all: usize = booted.values().map(Vec::len).sum();
    let Cell { qemu, ovmf, mode, vcpus, memory, devices: _ } = cell;
    let (qemu, ovmf, memory) = (qemu.name(), ovmf.name(), memory >> 20);
    println!(
        "QEMU {qemu:<8} OVMF {ovmf:<8} {mode:?}, {vcpus} vCPU, {memory} MiB: {compared} of {all} digests equal, in {} banks; not predicted: {unknown:?}",
        BANKS.len(),
    );
    assert!(compared >= 20 * BANKS.len(), "only {compared} digests");
}

#[test]
fn a_direct_boot_measures_what_was_predicted() {
    let memory = 1 << 30;
    let (qemu, ovmf, mode) = (Suite::Machine, Suite::Machine, Mode::Direct);
    compare(Cell { qemu, ovmf, mode, vcpus: 1, memory, devices: "" }, &[]);
}

#[test]
#[ignore = "boots what ci/differential stack builds"]
fn firmware_built_from_source_measures_what_was_predicted() {
    let (qemu, ovmf, mode) = (Suite::Machine, Suite::Built, Mode::Direct);
    compare(Cell { qemu, ovmf, mode, vcpus: 1, memory: 1 << 30, devices: "" }, &[]);
}

/// A cell of the matrix, with `mib` of memory.
fn cell(qemu: Suite, ovmf: Suite, mode: Mode, (vcpus, mib): (u32, u64)) {
    // The volume of PCR 0 holds what the firmware finds out about the machine, before 202302, or what
    // it needs for management mode.
    let open = ovmf == Bookworm || mode == Mode::SecureBoot;
    let unknown = if open { &["pcr0"][..] } else { &[] };
    compare(Cell { qemu, ovmf, mode, vcpus, memory: mib << 20, devices: "" }, unknown);
}

/// Machines with more in them, under the newest firmware.
mod devices {
    use super::*;

    fn boot(qemu: Suite, mode: Mode, devices: &'static str, unknown: &[&str]) {
        let (vcpus, memory) = (2, 6 << 30);
        compare(Cell { qemu, ovmf: Sid, mode, vcpus, memory, devices }, unknown);
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn of_every_kind() {
        let devices = "-device VGA -device virtio-gpu-pci -device qemu-xhci -device usb-tablet \
                       -device virtio-scsi-pci -device virtio-serial-pci -device intel-iommu \
                       -netdev user,id=net -device virtio-net-pci,netdev=net,romfile=";
        boot(Sid, Mode::Direct, devices, &[]);
        boot(Sid, Mode::UkiOnDisk, devices, &[]);
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn on_another_root() {
        let devices = "-device pxb-pcie,id=other,bus_nr=40 \
                       -device pcie-root-port,id=there,bus=other,chassis=1 \
                       -device virtio-scsi-pci,bus=there -device pcie-root-port,id=here,chassis=2 \
                       -device virtio-gpu-pci,bus=here";
        boot(Sid, Mode::Direct, devices, &[]);
        boot(Trixie, Mode::Direct, devices, &[]);
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn of_which_a_disk_is_behind_a_bridge() {
        let devices = "-device pcie-root-port,id=there,chassis=1 \
                       -device virtio-blk-pci,drive=disk,bootindex=1,bus=there";
        boot(Trixie, Mode::UkiOnDisk, devices, &[]);
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn with_another_tpm() {
        boot(Sid, Mode::Direct, "-device tpm-crb,tpmdev=tpm0", &[]);
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn with_a_driver_in_their_rom() {
        let devices = "-netdev user,id=net -device virtio-net-pci,netdev=net";
        boot(Sid, Mode::Direct, devices, &[]);
        boot(Trixie, Mode::UkiByKernel, devices, &[]);
    }
}

/// Command lines from outside, to each systemd-stub.
mod from_outside {
    use super::*;

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn stub_252() {
        cell(Trixie, Bookworm, Mode::UkiAppended, (1, 1024));
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn stub_257() {
        cell(Trixie, Trixie, Mode::UkiAppended, (1, 1024));
    }

    #[test]
    #[ignore = "one of many boots: ci/differential boots"]
    fn stub_262() {
        cell(Sid, Sid, Mode::UkiAppended, (1, 1024));
    }
}

macro_rules! matrix {
    ($($name:ident: $qemu:ident, $ovmf:ident, $direct:expr, $kernel:expr, $disk:expr, $secure:expr;)+) => {
        $(
            mod $name {
                use super::*;

                #[test]
                #[ignore = "one of many boots: ci/differential boots"]
                fn direct() {
                    cell($qemu, $ovmf, Mode::Direct, $direct);
                }

                #[test]
                #[ignore = "one of many boots: ci/differential boots"]
                fn uki_by_kernel() {
                    cell($qemu, $ovmf, Mode::UkiByKernel, $kernel);
                }

                #[test]
                #[ignore = "one of many boots: ci/differential boots"]
                fn uki_on_disk() {
                    cell($qemu, $ovmf, Mode::UkiOnDisk, $disk);
                }

                #[test]
                #[ignore = "one of many boots: ci/differential boots"]
                fn secure_boot() {
                    cell($qemu, $ovmf, Mode::SecureBoot, $secure);
                }
            }
        )+
    };
}

// vCPUs and MiB of the direct boot, the UKI by -kernel, the UKI on a disk, and under Secure Boot.
matrix! {
    qemu_7_ovmf_2022: Bookworm, Bookworm, (1, 1024), (1, 1024), (2, 1024), (1, 1024);
    qemu_7_ovmf_2025: Bookworm, Trixie, (1, 1024), (1, 2048), (1, 1024), (2, 1024);
    qemu_7_ovmf_2026: Bookworm, Sid, (2, 2600), (1, 1024), (1, 2048), (1, 1024);
    qemu_10_ovmf_2022: Trixie, Bookworm, (1, 1024), (1, 1024), (1, 1024), (1, 1024);
    qemu_10_ovmf_2025: Trixie, Trixie, (4, 1024), (1, 1024), (1, 1024), (1, 2048);
    qemu_10_ovmf_2026: Trixie, Sid, (1, 3072), (1, 1024), (4, 3072), (1, 1024);
    qemu_11_ovmf_2022: Sid, Bookworm, (1, 1024), (1, 1024), (1, 1024), (1, 1024);
    qemu_11_ovmf_2025: Sid, Trixie, (1, 2048), (1, 1024), (2, 2048), (1, 1024);
    qemu_11_ovmf_2026: Sid, Sid, (1, 2048), (1, 1024), (1, 1024), (1, 1024);
}
