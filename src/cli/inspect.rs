//! `guestsmith inspect`.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{Answer, Outcome, Session};
use crate::verify::inspect;

/// Tell what a file is and what is in it
///
/// Formats are recognised by content: firmware, kernels, unified kernel images, initrds, IGVM
/// files, reports and quotes, event logs, reference values.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith inspect reference-values.json")]
pub(super) struct Inspect {
    /// The file
    file: PathBuf,
}

impl Inspect {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let name = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("cannot read {name}"))?;
        let found = inspect::inspect(&bytes).with_context(|| format!("cannot inspect {name}"))?;
        session.output.answer(&found, || {
            format!("{name}: {}, {} bytes\n{}", found.about, found.size, found.facts.text())
        })?;
        Ok(Answer::Yes)
    }
}
