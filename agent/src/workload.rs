//! The workload, and the orphans that PID 1 inherits.

use std::process::Command;

use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

/// Runs a program with arguments to its end; how it ended, in words.
pub fn run(command: &[String]) -> String {
    let Some((program, arguments)) = command.split_first() else { return "nothing to run".into() };
    match Command::new(program).args(arguments).spawn() {
        Ok(child) => i32::try_from(child.id()).map_or("no such process".into(), wait_for),
        Err(error) => format!("{program}: {error}"),
    }
}

/// Waits for one process, and reaps every other that ends before it.
fn wait_for(pid: i32) -> String {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(ended, code)) if ended == Pid::from_raw(pid) => {
                return format!("exit {code}");
            }
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == Pid::from_raw(pid) => {
                return format!("killed by {signal}");
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return format!("waiting: {error}"),
        }
    }
}

/// Serves until the machine is switched off.
pub fn reap_for_ever() -> ! {
    loop {
        if wait().is_err() {
            std::thread::sleep(std::time::Duration::from_secs(1)); // no child at the moment
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_workload_ended_is_told() {
        let run = |words: &[&str]| run(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(run(&["/bin/sh", "-c", "exit 7"]), "exit 7");
        assert_eq!(run(&["/bin/sh", "-c", "kill -9 $$"]), "killed by SIGKILL");
        assert!(run(&["/nowhere"]).starts_with("/nowhere: No such file"));
    }
}
