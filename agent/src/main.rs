//! The default guest agent: PID 1 of a confidential guest.
//!
//! It mounts what a guest needs, loads the modules that its image lists, prints one
//! machine-readable line about what it runs on, serves evidence over vsock, runs the workload that
//! the kernel command line names, and powers off. Words on the command line:
//!
//! * `agent.run=PATH[,ARGUMENT…]`: the workload;
//! * `agent.stay`: without a workload, go on serving evidence instead of powering off.

mod evidence;
mod modules;
mod mounts;
mod power;
mod report;
mod serve;
mod words;
mod workload;

use std::io::Write as _;

/// What the report's line on the console begins with.
const LINE: &str = "guest-agent: ";

fn main() {
    let mut notes = mounts::all();
    notes.extend(modules::load_listed());
    let words = words::Words::read();
    let server = serve::start();
    let report = report::Report::gather(&words, server, notes);
    let mut console = mounts::console();
    let line = serde_json::to_string(&report).unwrap_or_else(|error| format!("\"{error}\""));
    // A console that cannot be written to has no reader either.
    let _ = writeln!(console, "{LINE}{line}").and_then(|()| console.flush());
    if let Some(command) = &words.run {
        let outcome = workload::run(command);
        let _ = writeln!(console, "guest-agent-workload: {outcome}");
    } else if words.stay {
        workload::reap_for_ever();
    }
    power::off();
}
