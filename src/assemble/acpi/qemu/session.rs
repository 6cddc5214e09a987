//! A QEMU that is spoken to over qtest, its TPM, and its monitor.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::super::KNOWN;
use super::{Machine, arguments, flash};
use crate::digest::unhex;
use crate::format::Reader;
use crate::sandbox::host::{Command, Host, Process};

/// Key of the directory of files, and control bits of fw_cfg's DMA (big-endian).
const DIRECTORY: u16 = 0x19;
const READ: u32 = 0x02;
const SELECT: u32 = 0x08;

/// Guest memory that serves as buffer: the request, and what is read.
const REQUEST: u64 = 0x8_0000;
const BUFFER: u64 = 0x10_0000;

/// A fw_cfg file larger than this is not one of those that are read.
const MAX_FILE: usize = 4 << 20;

/// A running QEMU that is spoken to over qtest.
pub(super) struct Session {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    process: Process,
    monitor: Option<Monitor>,
    _tpm: Option<Tpm>,
}

impl Session {
    /// A machine that never runs.
    pub(super) fn start(host: &Host, machine: &Machine, accelerator: &str) -> Result<Self> {
        Self::launch(host, machine, &["-accel", accelerator, "-S"], &[])
    }

    /// A machine whose firmware runs, by emulation.
    pub(super) fn run(host: &Host, machine: &Machine) -> Result<Self> {
        let dir = tempfile::tempdir().context("a directory for the monitor")?;
        let socket = dir.path().join("monitor");
        let option = format!("unix:{},server=on,wait=off", socket.display());
        let mut session =
            Self::launch(host, machine, &["-accel", "tcg", "-qmp", &option], &flash(machine))?;
        match Monitor::connect(&socket) {
            Ok(monitor) => session.monitor = Some(monitor),
            Err(error) => bail!("{error:#}\n{}", last_words(&mut session.process).trim_end()),
        }
        Ok(session)
    }

    fn launch(host: &Host, machine: &Machine, how: &[&str], more: &[String]) -> Result<Self> {
        let tpm = machine.tpm.then(|| Tpm::start(host)).transpose()?;
        let mut command: Command = host.command(&machine.qemu);
        command.args(how).args(["-qtest", "stdio", "-qtest-log", "none"]).args(more);
        if let Some(tpm) = &tpm {
            let socket = tpm.dir.path().join("socket");
            command.arg("-chardev").arg(format!("socket,id=tpm,path={}", socket.display()));
            command.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm"]);
        }
        let mut process = command.args(arguments(machine)).spawn()?;
        let child = process.child();
        let input = child.stdin.take().context("QEMU's input")?;
        let output = BufReader::new(child.stdout.take().context("QEMU's output")?);
        Ok(Self { input, output, process, monitor: None, _tpm: tpm })
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

    /// Writes a register of PCI configuration: address for port 0xcf8, value, whether it is a byte.
    pub(super) fn write_config(&mut self, address: u32, value: u32, byte: bool) -> Result<()> {
        self.ask(&format!("outl 0xcf8 {address:#x}"))?;
        let write = if byte { "outb" } else { "outl" };
        self.ask(&format!("{write} 0xcfc {value:#x}")).map(drop)
    }

    /// Reads four bytes of PCI configuration.
    pub(super) fn read_config(&mut self, address: u32) -> Result<u32> {
        self.ask(&format!("outl 0xcf8 {address:#x}"))?;
        let answer = self.ask("inl 0xcfc")?;
        let digits = answer.trim_start_matches("0x");
        u32::from_str_radix(digits, 16).with_context(|| format!("QEMU's answer `{answer}`"))
    }

    /// Lets the guest run for a while; it stands still afterwards, with port 0xcf8 as it had it.
    pub(super) fn let_run(&mut self, time: Duration, saved: &mut Option<String>) -> Result<()> {
        if let Some(address) = saved.take() {
            self.ask(&format!("outl 0xcf8 {address}"))?;
            self.monitor()?.execute("cont")?;
        }
        std::thread::sleep(time);
        self.monitor()?.execute("stop")?;
        *saved = Some(self.ask("inl 0xcf8")?);
        Ok(())
    }

    fn monitor(&mut self) -> Result<&mut Monitor> {
        self.monitor.as_mut().context("a machine that runs has a monitor")
    }

    /// The file `name`; nothing where QEMU has none.
    pub(super) fn file(&mut self, name: &str) -> Result<Vec<u8>> {
        let found = self.directory()?.into_iter().find(|(known, ..)| known == name);
        found.map_or(Ok(Vec::new()), |(_, key, size)| self.read(key, size.min(MAX_FILE)))
    }

    /// The known files.
    pub(super) fn files(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
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
        self.memory(BUFFER, size)
    }

    /// `size` bytes of what the guest has at `address`.
    pub(super) fn memory(&mut self, address: u64, size: usize) -> Result<Vec<u8>> {
        let answer = self.ask(&format!("read {address:#x} {size}"))?;
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

/// QEMU's machine protocol (QEMU `docs/interop/qmp-spec.rst`), as far as stopping and going on.
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn connect(socket: &Path) -> Result<Self> {
        for _ in 0..250 {
            if let Ok(stream) = UnixStream::connect(socket) {
                stream.set_read_timeout(Some(Duration::from_secs(60))).context("the monitor")?;
                let mut monitor = Self(BufReader::new(stream));
                monitor.execute("qmp_capabilities")?;
                return Ok(monitor);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("QEMU does not open its monitor");
    }

    /// Executes a command without arguments; events in between are passed over.
    fn execute(&mut self, command: &str) -> Result<()> {
        writeln!(self.0.get_mut(), "{{\"execute\": \"{command}\"}}").context("QEMU's monitor")?;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).context("QEMU's monitor")? == 0 {
                bail!("QEMU ended before it answered `{command}`");
            }
            if line.starts_with("{\"return\"") {
                return Ok(());
            }
            if line.starts_with("{\"error\"") {
                bail!("QEMU refused `{command}`: {}", line.trim_end());
            }
        }
    }
}
