//! The caller's side: starts the stages, maps the user, keeps the log, watches clock and disk.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{getgid, getuid};

use super::STAGE;
use super::host::{Command, Process};
use super::outer::THIS_PROGRAM;
use super::spec::{Report, Spec};

/// How often clock and disk are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Id outside of the user whom root runs builds as: one that no account has, so that a build has
/// none of root's files and processes. ("gest" in ASCII.)
const NOBODYS: u32 = 0x6765_7374;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The command ended with this code.
    Exited(i32),
    /// The command was ended by this signal.
    Signalled(i32),
    /// It took too long and was killed.
    OutOfTime,
    /// It took too much memory and was killed.
    OutOfMemory,
    /// It wrote too much and was killed.
    OutOfDisk,
}

/// A way to run commands with nothing of the host in sight.
#[derive(Debug, Clone)]
pub struct Sandbox {
    stage: PathBuf,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new(THIS_PROGRAM.into())
    }
}

/// How users within stand for users outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapping {
    /// Root within is the caller, an ordinary user.
    One,
    /// Root within is root, and the build's user is nobody's.
    Two,
}

impl Mapping {
    /// What the caller may do: only root whose own ids reach that far can give away an id.
    fn of_caller() -> Self {
        let ids = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let reaches = |line: &str| {
            let words: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
            matches!(words[..], [first, _, count] if first + count > u64::from(NOBODYS))
        };
        match getuid().is_root() && ids.lines().any(reaches) {
            true => Self::Two,
            false => Self::One,
        }
    }

    /// What the namespace of this process was given.
    pub(super) fn of_this_process() -> Result<Self> {
        let map = fs::read_to_string("/proc/self/uid_map").context("reading the user map")?;
        Ok(if map.lines().count() > 1 { Self::Two } else { Self::One })
    }

    /// Lines of `/proc/PID/uid_map` or `gid_map` (user_namespaces(7)).
    fn lines(self, user: u32, caller: u32) -> String {
        match self {
            Self::One => format!("0 {caller} 1\n"),
            Self::Two => format!("0 0 1\n{user} {NOBODYS} 1\n"),
        }
    }
}

impl Sandbox {
    /// With the program at `stage` as the stages: one whose `main` calls [`super::enter`].
    pub fn new(stage: PathBuf) -> Self {
        Self { stage }
    }

    /// Runs what `spec` states; both outputs of the command go to `log`.
    ///
    /// # Errors
    /// The sandbox cannot be set up: the message says what to do about it.
    pub fn run(&self, spec: &Spec, log: &Path) -> Result<End> {
        let mut file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        spec.binds.iter().filter(|bind| bind.writable).try_for_each(|bind| give(&bind.from))?;
        let mut process = Command::new(&self.stage).arg(STAGE).spawn()?;
        let child = process.child();
        let stdout = child.stdout.take().context("no pipe")?;
        let stderr = child.stderr.take().context("no pipe")?;
        let reports = start(&mut process, spec, stdout).map_err(explain)?;
        std::thread::scope(|scope| {
            scope.spawn(|| keep(stderr, &mut file, spec.limits.log));
            let end = watch(&mut process, spec)?;
            drop(process); // whatever still runs ends, and with it the log
            end.map_or_else(|| last_report(reports).map_err(explain), Ok)
        })
    }
}

/// Makes a directory the build user's own, where that is not the caller.
fn give(dir: &Path) -> Result<()> {
    match Mapping::of_caller() {
        Mapping::One => Ok(()),
        Mapping::Two => lchown(dir, Some(NOBODYS), Some(NOBODYS))
            .with_context(|| format!("giving {} to the build user", dir.display())),
    }
}

/// Waits for the namespaces, maps their users, and says what to run.
fn start(
    process: &mut Process,
    spec: &Spec,
    stdout: ChildStdout,
) -> Result<BufReader<ChildStdout>> {
    let mut reports = BufReader::new(stdout);
    match next(&mut reports)? {
        Some(Report::Ready) => {}
        Some(Report::Failed(why)) => bail!(why),
        _ => bail!("{THIS_PROGRAM} is not a stage of the sandbox"),
    }
    let child = process.child();
    map_user(child.id(), spec.user)?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    pipe.write_all(&serde_json::to_vec(spec)?).context("saying what to run")?;
    Ok(reports)
}

fn map_user(pid: u32, user: u32) -> Result<()> {
    let mapping = Mapping::of_caller();
    let write = |file: &str, text: String| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, text).with_context(|| format!("writing {path}"))
    };
    if mapping == Mapping::One {
        write("setgroups", "deny".into())?;
    }
    write("uid_map", mapping.lines(user, getuid().as_raw()))?;
    write("gid_map", mapping.lines(user, getgid().as_raw()))
}

fn next(reports: &mut impl std::io::BufRead) -> Result<Option<Report>> {
    let mut line = String::new();
    reports.read_line(&mut line).context("reading a report of the sandbox")?;
    Ok(serde_json::from_str(&line).ok())
}

fn last_report(mut reports: BufReader<ChildStdout>) -> Result<End> {
    match next(&mut reports)? {
        Some(Report::Exited(code)) => Ok(End::Exited(code)),
        Some(Report::Signalled(signal)) => Ok(End::Signalled(signal)),
        Some(Report::OutOfMemory) => Ok(End::OutOfMemory),
        Some(Report::Failed(why)) => bail!(why),
        Some(Report::Ready) | None => bail!("the sandbox ended without a word: was it killed?"),
    }
}

/// Copies the command's output to the log, up to `most` bytes, and reads on without keeping more.
fn keep(stderr: ChildStderr, log: &mut impl Write, most: u64) {
    let mut stderr = stderr;
    let _ = std::io::copy(&mut Read::by_ref(&mut stderr).take(most), log);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
}

/// Waits for the end; some end if it had to be brought about.
fn watch(process: &mut Process, spec: &Spec) -> Result<Option<End>> {
    let (start, free) = (Instant::now(), free_bytes(spec));
    while !process.ends_within(LOOK)? {
        if start.elapsed() > spec.limits.time {
            return Ok(Some(End::OutOfTime));
        }
        // The file system is shared with others: what is gone need not be this build's doing.
        let gone = free.saturating_sub(free_bytes(spec));
        if gone > spec.limits.disk && written(spec) > spec.limits.disk {
            return Ok(Some(End::OutOfDisk));
        }
    }
    Ok(None)
}

/// Bytes that are free where the command may write.
fn free_bytes(spec: &Spec) -> u64 {
    let writable = spec.binds.iter().filter(|bind| bind.writable);
    let free = writable.filter_map(|bind| rustix::fs::statvfs(&bind.from).ok());
    free.map(|found| found.f_bavail.saturating_mul(found.f_frsize)).min().unwrap_or(u64::MAX)
}

/// Bytes that stand in the writable directories.
fn written(spec: &Spec) -> u64 {
    spec.binds.iter().filter(|bind| bind.writable).map(|bind| size_of_tree(&bind.from)).sum()
}

#[expect(clippy::disallowed_methods, reason = "a sum does not depend on the order of a directory")]
fn size_of_tree(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of_tree(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0, // gone meanwhile
    };
    entries.map(size).sum()
}

/// Kernel settings that forbid user namespaces: file, the forbidding value, what to do.
const FORBIDDING: &[(&str, &str, &str)] = &[
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts user namespaces here; allow them with `sysctl -w \
         kernel.apparmor_restrict_unprivileged_userns=0`, or give this program a profile with \
         `userns,`",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "user namespaces are switched off for ordinary users; allow them with `sysctl -w \
         kernel.unprivileged_userns_clone=1`",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "user namespaces are switched off; allow them with `sysctl -w \
         user.max_user_namespaces=10000`",
    ),
];

/// What forbids them without a setting of the kernel that tells.
const REFUSED: &str = "the sandbox could not be set up: new namespaces are not permitted, as in most \
                       containers; start that with `--security-opt seccomp=unconfined`";

/// Adds what to do, where a setting of this kernel or its refusal explains the failure.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let reads = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let advice = FORBIDDING.iter().find(|(file, value, _)| reads(file).trim() == *value);
    let refused = format!("{error:#}").contains("namespaces were refused: Operation not permitted");
    match advice {
        Some((_, _, advice)) => error.context(*advice),
        None if refused => error.context(REFUSED),
        None => error.context("the sandbox could not be set up"),
    }
}
