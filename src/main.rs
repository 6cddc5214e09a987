//! The command `guestsmith`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let stage = guestsmith::sandbox::enter(std::env::args_os());
    stage.unwrap_or_else(guestsmith::cli::main)
}
