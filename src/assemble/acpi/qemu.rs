//! fw_cfg files out of a stock QEMU, over its qtest protocol: no guest code, no KVM, no patches
//! (QEMU `docs/devel/testing/qtest.rst`, `docs/specs/fw_cfg.rst`).
//!
//! QEMU makes its ACPI tables when the firmware first asks for them, and by then the firmware has
//! set up the chipset. So the same few registers are written here before the files are read. What
//! the firmware gives to devices is not imitated: tables that tell it (the window of 64-bit PCI
//! memory, where a device has such a BAR) differ from the guest's.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::KNOWN;
use crate::digest::{Sha256, unhex};
use crate::format::{Reader, fw_cfg};
use crate::sandbox::host::{Command, Host, Process};
use crate::store::Store;

/// PCI configuration as OVMF leaves it (edk2 `OvmfPkg/Library/PlatformInitLib/Platform.c`): address
/// for port 0xcf8, value, and whether it is a byte.
const CHIPSET: [(u32, u32, bool); 3] = [
    (0x8000_0060, 0xe000_0001, false), // PCIEXBAR of the host bridge
    (0x8000_f840, 0x600, false),       // PMBASE of the ISA bridge
    (0x8000_f844, 0x80, true),         // ACPI_CNTL of the ISA bridge
];

/// Key of the directory of files, and control bits of fw_cfg's DMA (big-endian).
const DIRECTORY: u16 = 0x19;
const READ: u32 = 0x02;
const SELECT: u32 = 0x08;

/// Guest memory that serves as buffer: the request, and what is read.
const REQUEST: u64 = 0x8_0000;
const BUFFER: u64 = 0x10_0000;

/// A fw_cfg file larger than this is not one of those that are read.
const MAX_FILE: usize = 4 << 20;

/// How the machine is started beside its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The QEMU to run.
    pub qemu: PathBuf,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// It has a TPM (`tpm-tis`), which adds a table and a log area.
    pub tpm: bool,
    /// Everything else that shapes it: `-machine …`, `-device …`, as given to QEMU.
    pub arguments: Vec<String>,
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
        let key = key(machine)?;
        let bundle = match store.result(&key)? {
            Some(known) => known,
            None => {
                let fresh = fresh(host, machine)?;
                store.put_result(&key, &fresh)?;
                fresh
            }
        };
        let found = fw_cfg::files(&bundle, &shape)?;
        files.extend(
            found.into_iter().map(|(name, bytes)| (format!("{shape}/{name}"), bytes.to_vec())),
        );
    }
    Ok(fw_cfg::write(files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]))))
}

/// What decides the files: the program, byte for byte, and every argument.
fn key(machine: &Machine) -> Result<Sha256> {
    let program = fs::read(&machine.qemu);
    let program = program.with_context(|| format!("cannot read {}", machine.qemu.display()))?;
    let text = format!("fw_cfg 1\n{}\n{:?}\n", Sha256::of(&program), arguments(machine));
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
    if machine.tpm {
        arguments.extend(["-device".to_string(), "tpm-tis,tpmdev=tpm0".to_string()]);
    }
    arguments.extend(machine.arguments.iter().cloned());
    arguments
}

/// Reads the files of one machine. The qtest accelerator is the quick way; builds that lack it
/// start a guest that never runs.
fn fresh(host: &Host, machine: &Machine) -> Result<Vec<u8>> {
    let quick = Session::start(host, machine, "qtest").and_then(|mut session| session.files());
    let files = match quick {
        Ok(files) => files,
        Err(_) => Session::start(host, machine, "tcg")?.files()?,
    };
    Ok(fw_cfg::write(files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]))))
}

/// A running QEMU that is spoken to over qtest.
struct Session {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    process: Process,
    _tpm: Option<Tpm>,
}

impl Session {
    fn start(host: &Host, machine: &Machine, accelerator: &str) -> Result<Self> {
        let tpm = machine.tpm.then(|| Tpm::start(host)).transpose()?;
        let mut command: Command = host.command(&machine.qemu);
        command.args(["-accel", accelerator, "-S", "-qtest", "stdio", "-qtest-log", "none"]);
        if let Some(tpm) = &tpm {
            let socket = tpm.dir.path().join("socket");
            command.arg("-chardev").arg(format!("socket,id=tpm,path={}", socket.display()));
            command.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm"]);
        }
        let mut process = command.args(arguments(machine)).spawn()?;
        let child = process.child();
        let input = child.stdin.take().context("QEMU's input")?;
        let output = BufReader::new(child.stdout.take().context("QEMU's output")?);
        Ok(Self { input, output, process, _tpm: tpm })
    }

    /// Sends a command and returns what follows `OK`.
    fn ask(&mut self, command: &str) -> Result<String> {
        let sent = writeln!(self.input, "{command}").and_then(|()| self.input.flush());
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).context("reading QEMU's answer")?;
            if read == 0 || sent.is_err() {
                bail!(
                    "QEMU ended before it answered:\n{}",
                    last_words(&mut self.process).trim_end()
                );
            }
            if let Some(answer) = line.strip_prefix("OK") {
                return Ok(answer.trim().to_string());
            }
            if line.starts_with("FAIL") || line.starts_with("ERR") {
                bail!("QEMU refused `{command}`: {}", line.trim_end());
            }
        }
    }

    /// The known files, with the chipset as the firmware sets it up.
    fn files(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        for (address, value, byte) in CHIPSET {
            self.ask(&format!("outl 0xcf8 {address:#x}"))?;
            let write = if byte { "outb" } else { "outl" };
            self.ask(&format!("{write} 0xcfc {value:#x}"))?;
        }
        let mut files = Vec::new();
        for (name, key, size) in self.directory()? {
            if KNOWN.contains(&name.as_str()) && size <= MAX_FILE {
                files.push((name, self.read(key, size)?));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Name, key and size of every file.
    fn directory(&mut self) -> Result<Vec<(String, u16, usize)>> {
        let count = self.read(DIRECTORY, 4)?;
        let count = u32::from_be_bytes(Reader::new(&count).array("number of fw_cfg files")?);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(1024);
        let bytes = self.read(DIRECTORY, 4 + 64 * count)?;
        let entries = bytes.get(4..).unwrap_or_default().chunks_exact(64);
        let mut files = Vec::new();
        for entry in entries {
            let mut reader = Reader::new(entry);
            let size = u32::from_be_bytes(reader.array("size of a fw_cfg file")?);
            let key = u16::from_be_bytes(reader.array("key of a fw_cfg file")?);
            let name = entry[8..].split(|byte| *byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            files.push((name, key, usize::try_from(size).unwrap_or(usize::MAX)));
        }
        Ok(files)
    }

    /// The first `size` bytes behind `key`, by DMA into guest memory.
    fn read(&mut self, key: u16, size: usize) -> Result<Vec<u8>> {
        if size == 0 {
            return Ok(Vec::new());
        }
        let control = u32::from(key) << 16 | SELECT | READ;
        let length = u32::try_from(size).context("size of a fw_cfg file")?;
        let request = [&control.to_be_bytes()[..], &length.to_be_bytes(), &BUFFER.to_be_bytes()];
        let request = crate::digest::hex(&request.concat());
        self.ask(&format!("write {REQUEST:#x} 16 0x{request}"))?;
        let low = u32::try_from(REQUEST).context("address of the request")?;
        self.ask("outl 0x514 0")?;
        self.ask(&format!("outl 0x518 {:#x}", low.swap_bytes()))?;
        let answer = self.ask(&format!("read {BUFFER:#x} {size}"))?;
        let bytes = unhex(answer.trim_start_matches("0x")).context("QEMU's answer to a read")?;
        match bytes.len() == size {
            true => Ok(bytes),
            false => bail!("QEMU gave {} bytes of {size}", bytes.len()),
        }
    }
}

/// A TPM beside the machine; it ends with it.
struct Tpm {
    dir: tempfile::TempDir,
    _process: Process,
}

impl Tpm {
    fn start(host: &Host) -> Result<Self> {
        let dir = tempfile::tempdir().context("a directory for the TPM")?;
        let mut command = host.tool("swtpm", "install it (Debian: swtpm)")?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        command.args(["socket", "--tpm2", "--flags", "startup-clear,not-need-init"]);
        command.arg("--tpmstate").arg(format!("dir={}", dir.path().display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", path("socket")));
        let mut process = command.spawn()?;
        for _ in 0..250 {
            if dir.path().join("socket").exists() {
                return Ok(Self { dir, _process: process });
            }
            if process.ends_within(Duration::from_millis(20))? {
                break;
            }
        }
        bail!("swtpm did not start:\n{}", last_words(&mut process).trim_end())
    }
}

/// Ends `process` and returns what it said on its error output.
fn last_words(process: &mut Process) -> String {
    let mut text = String::new();
    let _ = process.child().kill(); // it may have ended by itself
    if let Some(mut stderr) = process.child().stderr.take() {
        let _ = stderr.read_to_string(&mut text); // what came before an error is shown
    }
    text
}
