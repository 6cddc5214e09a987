//! The machines of the matrix: QEMU, swtpm and firmware of a suite, and a guest that runs on them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guestsmith::measure::Vmm;
use guestsmith::sandbox::host::{Host, Process};

use crate::inputs;

/// Where programs and firmware come from: this machine, or a suite of Debian, unpacked by
/// `ci/differential boots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suite {
    Machine,
    /// Firmware that `ci/differential stack` has built, on this machine.
    Built,
    Bookworm,
    Trixie,
    Sid,
}

impl Suite {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Built => "built",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    pub(super) fn root(self) -> PathBuf {
        inputs::path(&format!("qemu-{}", self.name()))
    }

    pub(super) fn host(self) -> Host {
        let system = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
        let path = match self {
            Self::Machine | Self::Built => system.to_vec(),
            _ => [&[self.root().join("run")][..], &system].concat(),
        };
        Host { path, variables: BTreeMap::new() }
    }

    pub(super) fn program(self, name: &str) -> PathBuf {
        let found =
            self.host().path.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        found.unwrap_or_else(|| panic!("{name} is not installed; run ci/setup"))
    }

    /// The QEMU, with its version.
    pub(super) fn vmm(self) -> Vmm {
        let mut command = self.host().tool("qemu-system-x86_64", "run ci/setup").expect("QEMU");
        let output = command.arg("--version").run().expect("a version");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split_whitespace().nth(3).expect("a number");
        Vmm::parse(&format!("qemu@{number}")).expect("a version")
    }

    /// A firmware file of the suite's package; this machine's tests read those of the inputs.
    pub(super) fn firmware(self, name: &str) -> PathBuf {
        match self {
            Self::Machine => inputs::path(&format!("sid-{name}")),
            Self::Built => inputs::path(&format!("built-{name}")),
            _ => self.root().join("usr/share/OVMF").join(name),
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_string).collect()
}

fn tpm(suite: Suite, dir: &Path) -> Process {
    let mut command = suite.host().tool("swtpm", "run ci/setup").expect("swtpm");
    let socket = dir.join("socket");
    command.args(words("socket --tpm2 --flags startup-clear,not-need-init --tpmstate"));
    command.arg(format!("dir={}", dir.display()));
    command.arg("--ctrl").arg(format!("type=unixio,path={}", socket.display()));
    let process = command.spawn().expect("swtpm");
    let mut waits = 0..500;
    while !socket.exists() {
        waits.next().expect("swtpm starts within ten seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

/// Boots a machine of `shape` and `boot` arguments in `dir`, and returns what the guest wrote between
/// the marks of its script.
pub(super) fn boot(suite: Suite, dir: &Path, shape: &[String], boot: &[String]) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    let _tpm = tpm(suite, dir);
    let mut qemu = suite.host().tool("qemu-system-x86_64", "run ci/setup").expect("QEMU");
    qemu.args(words("-accel tcg -nodefaults -display none -no-reboot"));
    qemu.args(["-serial", &format!("file:{}", path("console"))]);
    qemu.args(["-serial", &format!("file:{}", path("log"))]);
    qemu.args(["-chardev", &format!("socket,id=tpm,path={}", path("socket"))]);
    qemu.args(words("-tpmdev emulator,id=tpm0,chardev=tpm"));
    if !shape.iter().any(|word| word.starts_with("tpm-")) {
        qemu.args(words("-device tpm-tis,tpmdev=tpm0"));
    }
    let mut guest = qemu.args(shape).args(boot).spawn().expect("QEMU");
    let ended = guest.ends_within(Duration::from_secs(900)).expect("QEMU");
    let console = || fs::read_to_string(path("console")).unwrap_or_default();
    assert!(ended, "the guest is not off after 15 minutes:\n{}", console());
    // The firmware writes to this port too, before the guest does.
    let text = fs::read(path("log")).expect("the guest's log");
    let text = String::from_utf8_lossy(&text).into_owned();
    let rest = text.split_once("LOG-BEGINS").map(|(_, rest)| rest.to_string());
    let rest = rest.unwrap_or_else(|| panic!("the guest did not reach its script:\n{}", console()));
    let (text, _) = rest.split_once("LOG-ENDS").expect("a whole log");
    text.to_string()
}
