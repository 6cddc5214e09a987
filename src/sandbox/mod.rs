//! The only place that starts a process.
//!
//! [`host`] runs tools of the host (an emulator, a peer to compare with): they never shape a
//! measured bit. Everything that does shape one runs in a [`Sandbox`]: user, mount, PID, network,
//! UTS and IPC namespaces around a read-only root, with Landlock as a second wall.
//!
//! Three processes stand behind one run, all of them this program, because namespaces are entered
//! by a process that has a single thread:
//! ```text
//! run    (caller)         states the Spec, writes the user map, keeps the log, the clock, the disk
//! └ outer  (sandbox-init)   unshares, waits for its map
//!   └ inner  (PID 1 within)   mounts, gives up every privilege, starts the command, reaps, counts memory
//!     └ the command
//! ```
//! Each dies with the one above it, and the kernel ends everything within when PID 1 ends.

pub mod host;
mod inner;
mod mounts;
mod outer;
mod run;
mod spec;
mod walls;

use std::ffi::OsStr;
use std::process::ExitCode;

pub use run::{End, Sandbox};
pub use spec::{Bind, Limits, Spec};

/// First argument that makes a program a stage of the sandbox.
const STAGE: &str = "sandbox-init";

/// Runs a stage of the sandbox if the program was started as one; the first thing that `main` does.
///
/// A program other than `guestsmith` that uses [`Sandbox`] calls this too, or names an installed
/// `guestsmith` as the stage.
pub fn enter(mut arguments: impl Iterator<Item = impl AsRef<OsStr>>) -> Option<ExitCode> {
    let stage = arguments.nth(1)?;
    (stage.as_ref() == STAGE).then_some(())?;
    let inner = arguments.next().is_some_and(|argument| argument.as_ref() == "inner");
    let result = if inner { inner::enter() } else { outer::enter() };
    Some(match result {
        Ok(code) => code,
        Err(error) => {
            spec::Report::Failed(format!("{error:#}")).send();
            ExitCode::from(2)
        }
    })
}
