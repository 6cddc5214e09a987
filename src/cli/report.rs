//! `guestsmith report`: the reference values of a build as a page for people.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::reference::{Settings, emitter};

/// Write a report: one HTML file, no network
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith report out --output report.html")]
pub(super) struct Report {
    /// Output directory of `guestsmith build`, or a reference-values.json
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

impl Report {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let document = super::publish::read(&self.from)?;
        let page = emitter("html").and_then(|form| form.emit(&document, &Settings::default()));
        let page = page.map_err(Failure::input)?.content;
        let name = self.output.display().to_string();
        fs::write(&self.output, page).with_context(|| format!("cannot write {name}"))?;
        session.output.answer(&json!({"report": name}), || format!("wrote {name}"))?;
        Ok(Answer::Yes)
    }
}
