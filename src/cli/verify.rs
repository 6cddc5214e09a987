//! `guestsmith verify`: is a release what its maker signed?

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Answer, Outcome, Session};
use crate::publish::key::PublicKey;
use crate::publish::{Verdict, verify_bundle};

/// Check a release bundle, offline: checksums, signature, and that all of it is of one build
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith verify release --key release.pub")]
pub(super) struct Verify {
    /// Directory of the bundle, as `guestsmith publish --to bundle` writes it
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Public key of its maker (PEM); without it only integrity is checked, not origin
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let key = self.key.as_ref().map(|path| {
            let name = path.display().to_string();
            let pem = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            PublicKey::from_pem(&pem).with_context(|| format!("{name} is no public key"))
        });
        let key = key.transpose()?;
        let verdict = verify_bundle(&self.bundle, key.as_ref())?;
        if key.is_none() {
            session.output.warn("nobody's signature was checked: name its maker's key with --key");
        }
        session.output.answer(&verdict, || text(&verdict))?;
        Ok(if verdict.problems.is_empty() { Answer::Yes } else { Answer::No })
    }
}

fn text(verdict: &Verdict) -> String {
    let Verdict { files, signed, problems } = verdict;
    if problems.is_empty() {
        let by = if *signed { ", signed by this key" } else { "" };
        return format!("good: {files} files{by}");
    }
    let lines: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!("not what was released:\n{}", lines.join("\n"))
}
