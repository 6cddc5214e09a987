//! fw_cfg files out of a stock QEMU, over its qtest protocol: no guest code, no KVM, no patches
//! (QEMU `docs/devel/testing/qtest.rst`, `docs/specs/fw_cfg.rst`).
//!
//! QEMU makes its ACPI tables when the firmware first asks for them, and by then the firmware has
//! set up the chipset. So the same few registers are written here before the files are read. What
//! the firmware gives to devices is not imitated: where the tables tell it (the window of 64-bit PCI
//! memory, of a device that has such a BAR; what its management mode can do), the firmware itself runs
//! until it has placed them.

mod pci;
mod session;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::digest::Sha256;
use crate::format::fw_cfg::{self, OPTION_ROMS};
use crate::measure::uefi::Facts;
use crate::sandbox::host::Host;
use crate::store::Store;
use session::Session;

/// PCI configuration as OVMF leaves it (edk2 `OvmfPkg/Library/PlatformInitLib/Platform.c`): address
/// for port 0xcf8, value, and whether it is a byte.
const CHIPSET: [(u32, u32, bool); 3] = [
    (0x8000_0060, 0xe000_0001, false), // PCIEXBAR of the host bridge
    (0x8000_f840, 0x600, false),       // PMBASE of the ISA bridge
    (0x8000_f844, 0x80, true),         // ACPI_CNTL of the ISA bridge
];

/// How the machine is started beside its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The QEMU to run.
    pub qemu: PathBuf,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// It has a TPM, which adds a table and a log area: `tpm-tis`, or the one that is among the
    /// arguments, for the back end `tpm0`.
    pub tpm: bool,
    /// Everything else that shapes it: `-machine …`, `-device …`, as given to QEMU.
    pub arguments: Vec<String>,
    /// The firmware, which places devices with 64-bit BARs.
    pub firmware: Option<PathBuf>,
    /// Its variable store, where that is a file of its own.
    pub vars: Option<PathBuf>,
}

/// A bundle of the fw_cfg files of `machines`, each read once and then kept in `store` by QEMU's
/// digest and the machine's shape.
///
/// # Errors
/// QEMU (or swtpm) cannot be run, or does not answer as the protocol says.
pub fn read(host: &Host, store: &Store, machines: &[Machine]) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    for machine in machines {
        let shape = fw_cfg::shape(machine.vcpus, machine.memory);
        let bundle = kept(host, store, machine)?;
        let found = fw_cfg::files(&bundle, &shape)?;
        files.extend(
            found.into_iter().map(|(name, bytes)| (format!("{shape}/{name}"), bytes.to_vec())),
        );
    }
    Ok(fw_cfg::write(files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]))))
}

/// The files of `machine`, as kept, or read and then kept.
fn kept(host: &Host, store: &Store, machine: &Machine) -> Result<Vec<u8>> {
    let alone = key(machine, &[])?;
    if let Some(known) = store.result(&alone)? {
        return Ok(known);
    }
    let firmware: Vec<_> = machine.firmware.iter().chain(&machine.vars).collect();
    let placed = key(machine, &firmware)?;
    if let Some(known) = store.result(&placed)? {
        return Ok(known);
    }
    let (fresh, by_firmware) = fresh(host, machine)?;
    store.put_result(if by_firmware { &placed } else { &alone }, &fresh)?;
    Ok(fresh)
}

/// What decides the files: the program, byte for byte, and every argument; and the firmware, where
/// it has a say.
fn key(machine: &Machine, firmware: &[&PathBuf]) -> Result<Sha256> {
    let mut text = format!("fw_cfg 3\n{:?}\n", arguments(machine));
    for file in [&machine.qemu].iter().chain(firmware) {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        text.push_str(&format!("{}\n", Sha256::of(&bytes)));
    }
    Ok(Sha256::of(text.as_bytes()))
}

/// Arguments that shape the machine.
fn arguments(machine: &Machine) -> Vec<String> {
    let memory = format!("{}k", machine.memory >> 10);
    let mut arguments = Vec::new();
    if !machine.arguments.iter().any(|word| word == "-machine" || word == "-M") {
        arguments.extend(["-machine".to_string(), "q35".to_string()]);
    }
    for word in ["-nodefaults", "-display", "none", "-m", &memory, "-smp"] {
        arguments.push(word.to_string());
    }
    arguments.push(machine.vcpus.to_string());
    if machine.tpm && !machine.arguments.iter().any(|word| word.starts_with("tpm-")) {
        arguments.extend(["-device".to_string(), "tpm-tis,tpmdev=tpm0".to_string()]);
    }
    arguments.extend(machine.arguments.iter().cloned());
    arguments
}

/// Arguments that put the firmware into the machine: in flash where it has a store beside it.
fn flash(machine: &Machine) -> Vec<String> {
    let Some(firmware) = &machine.firmware else { return Vec::new() };
    let escaped = |file: &PathBuf| file.display().to_string().replace(',', ",,"); // QEMU's own escape
    let drive = |unit, file, mode| {
        let drive = format!("if=pflash,format=raw,unit={unit},{mode}=on,file={}", escaped(file));
        ["-drive".to_string(), drive]
    };
    match &machine.vars {
        Some(vars) => [drive(0, firmware, "readonly"), drive(1, vars, "snapshot")].concat(),
        None => vec!["-bios".to_string(), firmware.display().to_string()],
    }
}

/// Reads the files of one machine, and whether the firmware had a say in them. The qtest accelerator
/// is the quick way; builds that lack it start a guest that never runs.
fn fresh(host: &Host, machine: &Machine) -> Result<(Vec<u8>, bool)> {
    let mut session = match Session::start(host, machine, "qtest").and_then(prepared) {
        Ok(session) => session,
        Err(_) => prepared(Session::start(host, machine, "tcg")?)?,
    };
    let roots = pci::roots(&mut session)?;
    let device = match negotiates(machine)? {
        true => Some("firmware with management mode tells QEMU what it can do".to_string()),
        false => pci::depends_on_firmware(&mut session, &roots)?,
    };
    let by_firmware = device.is_some();
    let (mut files, roms) = match device {
        None => (session.files()?, pci::option_roms(&mut session, &roots)?),
        Some(device) if machine.firmware.is_none() => {
            bail!("{device}: where the firmware places it shows in the tables; give the firmware")
        }
        Some(_) => {
            drop(session);
            let mut session = Session::run(host, machine)?;
            pci::wait_until_placed(&mut session, &roots)?;
            (session.files()?, pci::option_roms(&mut session, &roots)?)
        }
    };
    let bundle = |files: &[(String, Vec<u8>)]| {
        fw_cfg::write(files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])))
    };
    if !roms.is_empty() {
        files.push((OPTION_ROMS.to_string(), bundle(&roms)));
    }
    Ok((bundle(&files), by_firmware))
}

/// True when the firmware has a management mode: what it can do there (to plug processors) shows in
/// the tables (QEMU `hw/isa/lpc_ich9.c`, `etc/smi/features-ok`; `hw/i386/acpi-build.c`).
fn negotiates(machine: &Machine) -> Result<bool> {
    let Some(file) = &machine.firmware else { return Ok(false) };
    if machine.arguments.iter().any(|word| word.contains("smm=off")) {
        return Ok(false);
    }
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Facts::read(&bytes).is_ok_and(|facts| facts.smm))
}

/// A session whose chipset is as the firmware leaves it.
fn prepared(mut session: Session) -> Result<Session> {
    for (address, value, byte) in CHIPSET {
        session.write_config(address, value, byte)?;
    }
    Ok(session)
}
