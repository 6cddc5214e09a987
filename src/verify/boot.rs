//! Boots a boot set under QEMU and waits for the agent's line.
//!
//! A boot proves that the parts fit together and what the guest itself sees; it proves nothing
//! about a TEE, since QEMU alone is none.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::format::ovmf;
use crate::measure::kernel_hashes::HashTable;
use crate::measure::uefi::Firmware;
use crate::measure::{Guest, Vmm, linux};
use crate::recipe::Arch;
use crate::sandbox::host::{Command, Host, Process};

/// What the agent's line begins with (`agent/src/main.rs`).
const LINE: &str = "guest-agent: ";

/// A guest that has reported gets this long to power off.
const POWER_OFF: Duration = Duration::from_secs(30);

/// What QEMU prints when KVM cannot go on with a guest; it then waits for a debugger.
const DEAD: &[&str] = &["KVM internal error", "KVM: entry failed"];

/// Bytes of console output that are kept: what a kernel prints, many times over.
const CONSOLE_LIMIT: usize = 4 << 20;

/// A boot set on disk, and the machine to boot it on.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Architecture of the guest.
    pub arch: Arch,
    /// Firmware image; without one QEMU's own is used.
    pub firmware: Option<PathBuf>,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: String,
    /// Guest memory in MiB.
    pub memory_mib: u64,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Files to put at guest-physical addresses before the first instruction.
    pub loaded: Vec<(PathBuf, u64)>,
}

/// What QEMU loads beside the firmware.
struct Parts<'a> {
    kernel: &'a [u8],
    initrd: Option<&'a [u8]>,
}

/// How QEMU executes the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's virtualisation.
    Kvm,
    /// Emulation: slow, and works everywhere.
    Tcg,
}

impl Accelerator {
    /// QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// How a boot ended.
#[derive(Debug)]
pub struct Outcome {
    /// The agent's report, if its line came.
    pub report: Option<serde_json::Value>,
    /// Whether the guest powered off by itself afterwards.
    pub powered_off: bool,
    /// How QEMU executed it.
    pub accelerator: Accelerator,
    /// Everything that the guest printed on its console, and QEMU on its error output.
    pub console: String,
}

impl Outcome {
    /// The guest reported and powered off.
    pub fn passed(&self) -> bool {
        self.report.is_some() && self.powered_off
    }
}

/// Boots `setup`: with KVM if it is there and carries the guest to the agent's line, else with TCG.
///
/// A KVM that opens is not always one that works: nested in another machine it may end the guest.
///
/// # Errors
/// QEMU is missing or cannot be started.
pub fn boot(host: &Host, setup: &Setup, limit: Duration) -> Result<Outcome> {
    if kvm_is_usable(setup.arch) {
        let outcome = boot_with(host, setup, Accelerator::Kvm, limit)?;
        if outcome.passed() {
            return Ok(outcome);
        }
    }
    boot_with(host, setup, Accelerator::Tcg, limit)
}

fn kvm_is_usable(arch: Arch) -> bool {
    let native = match arch {
        Arch::X86_64 => cfg!(target_arch = "x86_64"),
        Arch::Aarch64 => cfg!(target_arch = "aarch64"),
        Arch::S390x => cfg!(target_arch = "s390x"),
    };
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    native && rustix::fs::access("/dev/kvm", access).is_ok()
}

/// Boots `setup` with one accelerator.
///
/// # Errors
/// QEMU is missing or cannot be started.
pub fn boot_with(host: &Host, setup: &Setup, how: Accelerator, limit: Duration) -> Result<Outcome> {
    let start = Instant::now();
    let mut process = qemu(host, setup, how)?.spawn()?;
    let output = process.child().stdout.take().context("QEMU's output is not piped")?;
    let errors = process.child().stderr.take().context("QEMU's error output is not piped")?;
    let (sender, chunks) = channel();
    follow(output, sender.clone());
    follow(errors, sender);
    let mut console = Console { chunks, text: Vec::new() };
    let report = console.wait_for_line(start + limit);
    let powered_off = report.is_some() && process.ends_within(POWER_OFF)?;
    Ok(Outcome { report, powered_off, accelerator: how, console: console.end(process) })
}

/// The table of kernel hashes that the firmware of `setup` compares the kernel with, and where it
/// looks for it; none if the firmware has no place for one.
///
/// # Errors
/// A file cannot be read, the firmware's tables are broken, or QEMU is missing.
pub fn kernel_hashes(host: &Host, setup: &Setup) -> Result<Option<(u64, HashTable)>> {
    let Some(firmware) = &setup.firmware else { return Ok(None) };
    let image = read(firmware)?;
    if !ovmf::has_table(&image) {
        return Ok(None);
    }
    let context = || format!("cannot read the tables of {}", firmware.display());
    // Not all of the metadata: that of a build for TDX would not do for an SEV launch, nor need it.
    let entries = ovmf::table(&image).with_context(context)?;
    let Some(area) = ovmf::hash_table(&image, &entries).with_context(context)? else {
        return Ok(None);
    };
    let initrd = setup.initrd.as_deref().map(read).transpose()?;
    let kernel = read(&setup.kernel)?;
    let parts = Parts { kernel: &kernel, initrd: initrd.as_deref() };
    let kernel = as_loaded(host, setup, &image, &parts)?;
    let guest = Guest {
        kernel: Some(&kernel),
        initrd: initrd.as_deref(),
        cmdline: Some(&setup.cmdline),
        ..Guest::default()
    };
    Ok(HashTable::of(&guest).map(|table| (u64::from(area.base), table)))
}

/// The kernel as `firmware` gets it from the QEMU that will run it.
fn as_loaded(host: &Host, setup: &Setup, firmware: &[u8], parts: &Parts<'_>) -> Result<Vec<u8>> {
    let epoch = Firmware::read(firmware, None, None).context("the firmware's volumes")?.epoch;
    let kernel = parts.kernel;
    if !linux::is_patched(&version(host, setup.arch)?, epoch.named_kernel, false) {
        return Ok(kernel.to_vec());
    }
    let (memory, initrd) = (setup.memory_mib << 20, parts.initrd.map_or(0, <[u8]>::len));
    let header = linux::patched_header(kernel, initrd, memory, &setup.cmdline).into_owned();
    let rest = kernel.get(header.len()..).unwrap_or_default();
    Ok([&header, rest].concat())
}

/// The QEMU that the host has.
fn version(host: &Host, arch: Arch) -> Result<Vmm> {
    let output = emulator(host, arch)?.arg("--version").run()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once("version ").and_then(|(_, rest)| rest.split([' ', '\n']).next());
    let vmm = version.and_then(|number| Vmm::parse(&format!("qemu@{number}")).ok());
    vmm.with_context(|| format!("QEMU does not tell its version: {}", text.trim()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The emulator of an architecture.
fn emulator(host: &Host, arch: Arch) -> Result<Command> {
    let (suffix, package) = match arch {
        Arch::X86_64 => ("x86_64", "qemu-system-x86"),
        Arch::Aarch64 => ("aarch64", "qemu-system-arm"),
        Arch::S390x => ("s390x", "qemu-system-misc"),
    };
    let remedy = format!("booting needs QEMU; on Debian and Ubuntu it is in `{package}`");
    host.tool(&format!("qemu-system-{suffix}"), &remedy)
}

/// The emulator with the machine of `setup`.
fn qemu(host: &Host, setup: &Setup, how: Accelerator) -> Result<Command> {
    let mut qemu = emulator(host, setup.arch)?;
    let machine = match setup.arch {
        Arch::X86_64 => "q35",
        Arch::Aarch64 => "virt",
        Arch::S390x => "s390-ccw-virtio",
    };
    let cpu = match (how, setup.arch) {
        (Accelerator::Tcg, Arch::S390x) => "qemu",
        (Accelerator::Tcg, _) => "max",
        (Accelerator::Kvm, _) => "host",
    };
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    qemu.args(["-serial", "stdio", "-machine", machine, "-accel", how.name(), "-cpu", cpu]);
    qemu.args(["-m", &setup.memory_mib.to_string(), "-smp", &setup.vcpus.to_string()]);
    qemu.arg("-kernel").arg(&setup.kernel).args(["-append", &setup.cmdline]);
    if let Some(initrd) = &setup.initrd {
        qemu.arg("-initrd").arg(initrd);
    }
    if let Some(firmware) = &setup.firmware {
        qemu.arg("-bios").arg(firmware);
    }
    for (file, address) in &setup.loaded {
        let file = file.display().to_string().replace(',', ",,"); // QEMU's own escape
        qemu.args(["-device", &format!("loader,file={file},addr={address:#x},force-raw=on")]);
    }
    Ok(qemu)
}

/// Reads `output` on a thread of its own, so that waiting for it can have a limit.
fn follow(mut output: impl Read + Send + 'static, sender: Sender<Vec<u8>>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 8192];
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                break; // nobody listens any more
            }
        }
    });
}

/// What came from the guest's console and QEMU's error output so far.
struct Console {
    chunks: Receiver<Vec<u8>>,
    text: Vec<u8>,
}

impl Console {
    /// The agent's report, if its line comes before `deadline` and the guest lives so long.
    fn wait_for_line(&mut self, deadline: Instant) -> Option<serde_json::Value> {
        loop {
            let text = String::from_utf8_lossy(&self.text);
            if let Some(report) = report_in(&text) {
                return Some(report);
            }
            if DEAD.iter().any(|sign| text.contains(sign)) {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) if self.text.len() < CONSOLE_LIMIT => self.text.extend(chunk),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Ends the emulator and returns all that was printed.
    fn end(mut self, process: Process) -> String {
        drop(process);
        let rest: Vec<_> = self.chunks.iter().collect();
        self.text.extend(rest.concat());
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// The report in the agent's line, if the whole line is there.
fn report_in(console: &str) -> Option<serde_json::Value> {
    let (_, rest) = console.split_once(LINE)?;
    let (line, _) = rest.split_once('\n')?;
    serde_json::from_str(line.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_is_a_report() {
        assert_eq!(report_in("[1.0] x\r\nguest-agent: {\"version\":1"), None);
        let report = report_in("x\r\nguest-agent: {\"version\":1}\r\n[2.0]").expect("a report");
        assert_eq!(report["version"], 1);
    }
}
