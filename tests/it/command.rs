//! Runs the command itself.

use std::process::{Command, Output};

/// The command with `arguments`, in the repository's directory, with an environment of its own:
/// there is no store but one that the arguments name.
#[expect(clippy::disallowed_methods, reason = "the tests run the command as a user does")]
pub(crate) fn guestsmith(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guestsmith"));
    command.args(arguments).env_clear().env("HOME", "/dev/null");
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Exit code, standard output and standard error of a run.
pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = guestsmith(arguments).output().expect("the command");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}
