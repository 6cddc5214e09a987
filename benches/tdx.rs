//! TDX registers from bytes in memory: one shape, and a matrix of 16 vCPU counts and 8 memory sizes.
//!
//! `ci/bench` calls it; the inputs are those of the tests. What QEMU makes stands in for by files of
//! the same size, since time does not depend on what is in them. What the volumes of a firmware tell
//! is known, as it is to the command from the second run on, but where the line says otherwise.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use guestsmith::format::fw_cfg;
use guestsmith::measure::uefi::Facts;
use guestsmith::measure::{self, Guest, Keeper, Machine, Vmm};

const VCPUS: u32 = 16;
const MEMORIES: [u64; 8] = [1, 2, 3, 4, 8, 16, 32, 64];

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-inputs");
    let read = |name: &str| fs::read(dir.join(name)).expect("run ci/inputs first");
    let (firmware, kernel) = (read("sid-OVMF.inteltdx.ms.fd"), read("trixie-vmlinuz-cloud"));
    let plain = read("sid-OVMF.fd");
    let initrd = vec![0x5a; 1 << 20];
    let machines = machines();
    let bundle = bundle(&machines);
    let guest = Guest {
        kernel: Some(&kernel),
        initrd: Some(&initrd),
        cmdline: Some("console=ttyS0 quiet"),
        others: vec![("acpi", &bundle[..])],
        ..Guest::default()
    };
    let tdx = measure::tee("tdx").expect("a row");
    let timed = |what: &str, machines: &[Machine], firmware: &[u8], known: bool, most: u128| {
        let facts = Facts::read(firmware).expect("volumes");
        let tell = |_: &[u8]| Ok(facts.clone());
        let facts = known.then_some(Keeper(&tell));
        let guest = Guest { firmware: Some(firmware), facts, ..guest.clone() };
        let fastest = (0..7).map(|_| {
            let start = Instant::now();
            let found = (tdx.expect)(&guest, machines).expect("registers");
            assert_eq!(found.len(), machines.len());
            start.elapsed().as_micros()
        });
        let fastest = fastest.min().unwrap_or_default();
        println!("{what}: {}.{:03} ms (at most {most})", fastest / 1000, fastest % 1000);
    };
    let one = &machines[..1];
    timed("MRTD and RTMRs, 1 shape", one, &firmware, true, 30);
    timed("MRTD and RTMRs, 1 shape, firmware without keys", one, &plain, true, 30);
    timed("MRTD and RTMRs, 1 shape, firmware never seen", one, &firmware, false, 100);
    timed("MRTD and RTMRs, 16 vCPU counts x 8 memory sizes", &machines, &plain, false, 1000);
}

fn machines() -> Vec<Machine> {
    let one = |vcpus, gib: u64| Machine {
        vmm: Vmm { name: "qemu".to_string(), version: Some(vec![11, 1]) },
        vcpus: Some(vcpus),
        memory: Some(gib << 30),
        ..Machine::default()
    };
    (1..=VCPUS).flat_map(|vcpus| MEMORIES.map(|gib| one(vcpus, gib))).collect()
}

/// fw_cfg files of every machine: a loader script that fetches two files, and those.
fn bundle(machines: &[Machine]) -> Vec<u8> {
    let entry = |name: &str| {
        let mut entry = [&1u32.to_le_bytes()[..], name.as_bytes()].concat();
        entry.resize(128, 0);
        entry
    };
    let mut script = [entry("etc/acpi/rsdp"), entry("etc/acpi/tables")].concat();
    script.resize(4096, 0);
    let tables = vec![0x11; 128 << 10];
    let smbios = b"\x01\x1b\0\x01\x01\x02\0\0".iter().chain(&[0; 19]).chain(b"Q\0R\0\0");
    let smbios: Vec<u8> = smbios.chain(b"\x7f\x04\0\x7f\0\0").copied().collect();
    let files = [
        ("etc/table-loader", script),
        ("etc/acpi/rsdp", vec![0; 20]),
        ("etc/acpi/tables", tables),
        ("etc/smbios/smbios-tables", smbios),
    ];
    let mut all = Vec::new();
    for machine in machines {
        let shape = fw_cfg::shape(machine.vcpus.unwrap_or(1), machine.memory.unwrap_or(0));
        all.extend(files.iter().map(|(name, bytes)| (format!("{shape}/{name}"), &bytes[..])));
    }
    fw_cfg::write(all.iter().map(|(name, bytes)| (name.as_str(), *bytes)))
}
