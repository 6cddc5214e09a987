//! Second stage, PID 1 of the new namespaces: makes the surroundings, gives up every privilege,
//! starts the command, and ends when it ends; the kernel then ends whatever else is running.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, set_parent_process_death_signal};

use super::spec::{Report, Spec};
use super::{mounts, walls};

/// How often memory is counted.
const COUNT: Duration = Duration::from_millis(100);

/// Does it all.
pub(super) fn enter() -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("reading what to run")?;
    let spec: Spec = serde_json::from_slice(&text).context("understanding what to run")?;
    surroundings(&spec)?;
    let command = start(&spec)?;
    let most = spec.limits.memory;
    std::thread::spawn(move || count_memory(most));
    wait_for(command)?.send();
    Ok(ExitCode::SUCCESS)
}

fn surroundings(spec: &Spec) -> Result<()> {
    rustix::system::sethostname(spec.host_name.as_bytes()).context("setting the host name")?;
    rustix::process::setsid().context("leaving the terminal")?;
    mounts::enter(spec)?;
    walls::drop_privileges(spec.user)?;
    // Changing the user has taken the signal back (prctl(2), PR_SET_PDEATHSIG).
    set_parent_process_death_signal(Some(Signal::KILL))?;
    walls::limit(spec)?;
    let bound = spec.binds.iter().filter(|bind| bind.writable).map(|bind| bind.at.as_str());
    walls::landlock(&bound.chain(["/tmp", "/dev/shm"]).collect::<Vec<_>>())
}

/// Starts the command: only the three standard descriptors are open in it, the first on
/// `/dev/null`, both others on the log.
#[expect(clippy::disallowed_methods, reason = "this module starts what runs in the sandbox")]
fn start(spec: &Spec) -> Result<Pid> {
    let log = || std::io::stderr().as_fd().try_clone_to_owned().context("the log");
    let (program, arguments) = spec.command.split_first().context("no command was given")?;
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().envs(&spec.env).current_dir(&spec.dir);
    command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
    let child = command.spawn().with_context(|| format!("starting {program} in {}", spec.dir))?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")
}

/// Reaps every orphan until the command itself has ended.
fn wait_for(command: Pid) -> Result<Report> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return Ok(report(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the command"),
        }
    }
}

fn report(status: WaitStatus) -> Report {
    match status.exit_status() {
        Some(code) => Report::Exited(code),
        None => Report::Signalled(status.terminating_signal().unwrap_or(0)),
    }
}

/// Ends everything when all processes together hold more than `most` bytes.
///
/// Control groups would do this in the kernel, but an ordinary user has none to give.
fn count_memory(most: u64) {
    while resident().is_none_or(|bytes| bytes <= most) {
        std::thread::sleep(COUNT);
    }
    Report::OutOfMemory.send();
    std::process::exit(0);
}

/// Bytes of anonymous memory of all processes of this namespace.
fn resident() -> Option<u64> {
    let proc = rustix::fs::open("/proc", rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty());
    let entries = rustix::fs::Dir::new(proc.ok()?).ok()?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
    let by_process: BTreeMap<u32, u64> =
        names.filter_map(|pid| Some((pid, anonymous(pid)?))).collect();
    Some(by_process.values().sum())
}

/// Resident pages that are not shared with a file (proc_pid_statm(5)), in bytes.
fn anonymous(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * u64::try_from(rustix::param::page_size()).ok()?)
}
