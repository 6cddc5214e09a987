//! `guestsmith completions`.

use super::{Answer, Outcome, Session};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith completions bash > ~/.local/share/bash-completion/completions/guestsmith")]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "guestsmith", &mut script);
        session.output.raw(&script)?;
        Ok(Answer::Yes)
    }
}
