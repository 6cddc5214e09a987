//! What a sandboxed process sees and may use, and what comes back: plain data, sent as JSON from
//! stage to stage.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One run: what the command is and all that it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system: seen read-only. It holds the mount points `dev`, `proc`, `tmp` and
    /// those of [`binds`](Self::binds).
    pub root: PathBuf,
    /// Directories of the host that are seen in it.
    pub binds: Vec<Bind>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Working directory, within.
    pub dir: String,
    /// Host name.
    pub host_name: String,
    /// User and group id within.
    pub user: u32,
    /// File mode creation mask.
    pub umask: u32,
    /// Number of CPUs that may be used; all when absent.
    pub cpus: Option<usize>,
    /// What it may use up.
    pub limits: Limits,
}

/// A directory of the host that is seen within.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Directory of the host.
    pub from: PathBuf,
    /// Where it is seen: an absolute path.
    pub at: String,
    /// Whether it may be written.
    pub writable: bool,
}

/// What a command may use up before it is killed with all its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time on the wall.
    pub time: Duration,
    /// Bytes of memory, all processes together.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes in the writable directories.
    pub disk: u64,
    /// Bytes in `/tmp` and `/dev/shm` each, which are in memory.
    pub tmp: u64,
    /// Bytes that the log keeps.
    pub log: u64,
}

const MIB: u64 = 1 << 20;

impl Default for Limits {
    /// Room for a kernel build, and a fork bomb still ends soon.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(4 * 3600),
            memory: 16 * 1024 * MIB,
            processes: 4096,
            disk: 32 * 1024 * MIB,
            tmp: 2048 * MIB,
            log: 256 * MIB,
        }
    }
}

impl Spec {
    /// The fixed surroundings of a build: `command` in `/build` of `root`.
    pub fn new(root: PathBuf, command: Vec<String>) -> Self {
        let env = [
            ("HOME", "/build"),
            ("LC_ALL", "C.UTF-8"),
            ("PATH", "/usr/bin:/usr/sbin"),
            ("TERM", "dumb"),
            ("TZ", "UTC"),
        ];
        Self {
            root,
            binds: Vec::new(),
            command,
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
            dir: "/build".into(),
            host_name: "build".into(),
            user: 1000,
            umask: 0o022,
            cpus: None,
            limits: Limits::default(),
        }
    }
}

/// What a stage tells the one above it: one line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// The namespaces are there and want their user map.
    Ready,
    /// The sandbox could not be set up.
    Failed(String),
    /// The command has ended with this code.
    Exited(i32),
    /// The command was ended by this signal.
    Signalled(i32),
    /// All processes together took more memory than allowed.
    OutOfMemory,
}

impl Report {
    /// Writes the report to standard output, which is the channel between the stages.
    pub(super) fn send(&self) {
        let line = serde_json::to_string(self).unwrap_or_default();
        let mut out = std::io::stdout().lock();
        // Nobody is left to tell when the stage above has gone.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
        let _ = out.flush();
    }
}
