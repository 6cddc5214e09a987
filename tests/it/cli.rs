//! The frame of the command line: exit codes, streams, pipes.

use std::process::Stdio;

use crate::command::{guestsmith, run};

#[test]
fn usage_errors_leave_with_two_and_say_so_on_standard_error() {
    let (code, stdout, stderr) = run(&["mesure"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("unrecognized subcommand 'mesure'"), "{stderr}");
    assert_eq!(run(&[]).0, 2);
    assert_eq!(run(&["--help"]).0, 0);
}

#[test]
fn a_closed_pipe_is_success() {
    let mut child = guestsmith(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    drop(child.stdout.take()); // the reader leaves before the first byte
    let output = child.wait_with_output().expect("the command");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, stderr) = run(&["completions", shell]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{shell}");
        assert!(stdout.contains("completions"), "{shell}");
    }
}
