//! `guestsmith new`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::recipe;

/// Write a first recipe, with comments
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith new my-guest")]
pub(super) struct New {
    /// Name of the guest; the recipe becomes NAME.yaml
    name: String,
    /// Directory to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Written<'a> {
    recipe: &'a Path,
}

impl New {
    pub(super) fn run(self, session: &Session) -> Outcome {
        // Who names the file means the guest.
        let name = self.name.strip_suffix(".yaml").unwrap_or(&self.name);
        let text = recipe::template(name).map_err(|what| Failure::usage(anyhow!(what)))?;
        let path = self.out.join(format!("{name}.yaml"));
        write(&path, &text)?;
        session.output.answer(&Written { recipe: &path }, || {
            let path = path.display();
            format!(
                "wrote {path}; next: edit it, then `guestsmith lock {path}`, which checks it, too"
            )
        })?;
        Ok(Answer::Yes)
    }
}

/// Writes a file that must not exist yet.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let exists = error.kind() == ErrorKind::AlreadyExists;
        let what = format!("cannot write {}", path.display());
        let failure = Failure::input(anyhow!(error).context(what));
        match exists {
            true => failure.hint("choose another name, or remove the file"),
            false => failure,
        }
    })
}
