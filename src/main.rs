//! The command `guestsmith`.

use std::process::ExitCode;

fn main() -> ExitCode {
    guestsmith::cli::main()
}
