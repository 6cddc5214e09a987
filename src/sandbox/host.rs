//! Tools of the host: started with an empty environment and a fixed locale, time zone and `PATH`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a running tool is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Lines of a failed tool's output that its error shows.
const SHOWN_LINES: usize = 20;

/// Where host tools are looked for, and what they may see of the caller's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Directories, in order.
    pub path: Vec<PathBuf>,
    /// Variables that tools of this host need: `RUSTUP_HOME`, ….
    pub variables: BTreeMap<String, OsString>,
}

impl Host {
    /// The tool `name`; `remedy` says how to get it when it is missing.
    ///
    /// # Errors
    /// No directory of the path holds an executable of that name.
    pub fn tool(&self, name: &str, remedy: &str) -> Result<Command> {
        let found = self.path.iter().map(|dir| dir.join(name)).find(|file| is_executable(file));
        let program = found.with_context(|| format!("`{name}` was not found: {remedy}"))?;
        Ok(self.command(&program))
    }

    /// The program at `program`.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", std::env::join_paths(&self.path).unwrap_or_default());
        self.variables.iter().for_each(|(name, value)| {
            command.env(name, value);
        });
        command
    }
}

fn is_executable(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// A process to start: nothing of the caller's environment reaches it unless it is stated.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    inner: std::process::Command,
}

impl Command {
    /// The program at `program`, with an empty environment but for locale and time zone.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let program = program.as_ref().to_path_buf();
        #[expect(clippy::disallowed_methods, reason = "this module owns the starting of processes")]
        let mut inner = std::process::Command::new(&program);
        inner.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").stdin(Stdio::null());
        Self { program, inner }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.inner.args(args);
        self
    }

    /// Sets a variable.
    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.inner.env(name, value);
        self
    }

    /// Sets the working directory.
    pub fn dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.inner.current_dir(dir);
        self
    }

    /// Runs to the end and returns what it printed.
    ///
    /// # Errors
    /// It cannot be started, or ends with another code than 0; the error carries its last lines.
    pub fn run(&mut self) -> Result<Output> {
        let output = self.inner.output().with_context(|| self.cannot_start())?;
        if !output.status.success() {
            let name = self.program.display();
            bail!("{name} ended with {}:\n{}", output.status, last_lines(&output));
        }
        Ok(output)
    }

    /// Starts it with piped input and outputs, as the caller wires them.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&mut self) -> Result<Process> {
        let pipes = self.inner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = pipes.spawn().with_context(|| format!("cannot start {pipes:?}"))?;
        Ok(Process { child })
    }

    fn cannot_start(&self) -> String {
        format!("cannot start {}", self.program.display())
    }
}

/// The last lines of a failed tool's error output, or of its output where that is empty.
fn last_lines(output: &Output) -> String {
    let bytes = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the process ends or `limit` has passed; true if it ended.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn ends_within(&mut self, limit: Duration) -> Result<bool> {
        let start = Instant::now();
        while self.child.try_wait().context("waiting for a process")?.is_none() {
            if start.elapsed() >= limit {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
        Ok(true)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { path: vec!["/usr/bin".into(), "/bin".into()], variables: BTreeMap::new() }
    }

    #[test]
    fn a_tool_sees_only_what_is_stated() {
        let output = host().tool("env", "part of coreutils").expect("env").run().expect("runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "LC_ALL=C.UTF-8\nPATH=/usr/bin:/bin\nTZ=UTC\n"
        );
    }

    #[test]
    fn a_missing_tool_and_a_failing_one_say_so() {
        let missing = host().tool("no-such-tool", "install it").expect_err("missing");
        assert_eq!(missing.to_string(), "`no-such-tool` was not found: install it");
        let mut shell = host().tool("sh", "part of Debian").expect("sh");
        let failed = shell.args(["-c", "echo why >&2; exit 3"]).run().expect_err("fails");
        assert!(failed.to_string().ends_with("ended with exit status: 3:\nwhy"), "{failed}");
    }

    #[test]
    fn a_process_is_ended_with_its_handle() {
        let mut process = host().tool("sleep", "").expect("sleep").arg("60").spawn().expect("runs");
        assert!(!process.ends_within(Duration::from_millis(40)).expect("waits"));
    }
}
