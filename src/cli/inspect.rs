//! `guestsmith inspect`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::publish::key;
use crate::publish::verify_bundle;
use crate::verify::{evidence, inspect};

/// Tell what a file is and what is in it
///
/// Formats are recognised by content: firmware, kernels with their configuration, unified kernel
/// images, initrds, IGVM files, reports and quotes, event logs, reference values, CoRIMs. A directory
/// must be a release bundle.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith inspect reference-values.json
  guestsmith inspect ccel.bin --report quote.bin     # exit code 1 if the log is not the quote's")]
pub(super) struct Inspect {
    /// The file, or the directory of a bundle
    file: PathBuf,
    /// The TDX quote or TDREPORT that an event log belongs to: the log must lead to its registers
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The header key of a Secure Execution image or header, or fd:N: it opens the encrypted part
    #[arg(long, value_name = "FILE", conflicts_with = "report")]
    hdr_key: Option<String>,
}

impl Inspect {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let name = self.file.display();
        if self.file.is_dir() {
            let found = verify_bundle(&self.file, None)
                .and_then(|v| inspect::directory(&self.file, &v.names, v.problems));
            let found = found.with_context(|| format!("cannot inspect {name}"))?;
            session
                .output
                .answer(&found, || format!("{name}: {}\n{}", found.about, found.facts.text()))?;
            return Ok(Answer::Yes);
        }
        let bytes = read(&self.file)?;
        let mut found =
            inspect::inspect(&bytes).with_context(|| format!("cannot inspect {name}"))?;
        if let Some(place) = &self.hdr_key {
            let key = key::secret_bytes(place)?;
            let opened = inspect::se::open(&bytes, &key).map_err(Failure::input)?;
            found.facts = found.facts.with("opened", opened);
        }
        let replayed = match &self.report {
            None if found.format == "evidence" => replay(&[bytes])?,
            None => Vec::new(),
            Some(report) => {
                let replayed = replay(&[bytes, read(report)?])
                    .with_context(|| format!("{name} beside {}", report.display()))?;
                found.facts = found.facts.with("replay", inspect::evidence::replay(&replayed));
                replayed
            }
        };
        session.output.answer(&found, || {
            format!("{name}: {}, {} bytes\n{}", found.about, found.size, found.facts.text())
        })?;
        let agrees = replayed.iter().all(evidence::Replayed::agrees);
        Ok(if agrees { Answer::Yes } else { Answer::No })
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// What the log among `files` leads to, beside what the report among them says.
fn replay(files: &[Vec<u8>]) -> anyhow::Result<Vec<evidence::Replayed>> {
    let pieces = files.iter().map(|bytes| evidence::parse(bytes));
    evidence::replay(&evidence::join(pieces.collect::<anyhow::Result<_>>()?, &|_| true)?)
}
