//! First stage: new namespaces, of which the next process is PID 1.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use super::STAGE;
use super::spec::Report;

/// This program, whatever its name is by now (proc(5)).
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

/// Unshares, waits for the specification (the map of users is then written), and hands over.
pub(super) fn enter() -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    unshare().context("new namespaces were refused")?;
    Report::Ready.send();
    let mut spec = Vec::new();
    std::io::stdin().read_to_end(&mut spec).context("reading what to run")?;
    let mut inner = start_inner()?;
    if let Some(mut pipe) = inner.stdin.take() {
        pipe.write_all(&spec).context("telling PID 1 what to run")?;
    }
    let status = inner.wait().context("waiting for PID 1")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

#[expect(deprecated, reason = "unsafe only with UnshareFlags::FILES, which is not asked for")]
fn unshare() -> rustix::io::Result<()> {
    rustix::thread::unshare(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWCGROUP,
    )
}

#[expect(clippy::disallowed_methods, reason = "this module starts the next stage of itself")]
fn start_inner() -> Result<std::process::Child> {
    let mut inner = std::process::Command::new(Path::new(THIS_PROGRAM));
    inner.args([STAGE, "inner"]).env_clear().stdin(Stdio::piped());
    inner.spawn().context("starting PID 1 of the new namespaces")
}
