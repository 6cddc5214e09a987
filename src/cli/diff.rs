//! `guestsmith diff`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::failure::Failure;
use super::{Answer, Outcome, Session, recipe};
use crate::reference::Document;
use crate::verify::diff::{self, Builds, Change};
use crate::verify::inspect;

/// Tell what changed between two files or two builds, and which registers move
///
/// Two recipes (with all that they extend), two directories of builds, or two files of any format
/// that `inspect` knows. Exit code 1 if something changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith diff recipes/quickstart.yaml recipes/quickstart.yaml")]
pub(super) struct Diff {
    /// What was
    before: PathBuf,
    /// What is
    after: PathBuf,
    /// Print Markdown, for a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

#[derive(Default, Serialize)]
struct Answered {
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builds: Option<Builds>,
}

impl Answered {
    fn is_empty(&self) -> bool {
        let same = |b: &Builds| *b == Builds::default();
        self.changes.is_empty() && self.builds.as_ref().is_none_or(same)
    }
}

impl Diff {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let answer = match (self.before.is_dir(), self.after.is_dir()) {
            (true, true) => builds(&self.before, &self.after)?,
            (false, false) if is_recipe(&self.before) && is_recipe(&self.after) => {
                recipes(&self.before, &self.after)?
            }
            (false, false) => files(&self.before, &self.after)?,
            _ => {
                let error = anyhow!("a directory and a file cannot be compared");
                return Err(Failure::usage(error));
            }
        };
        session.output.answer(&answer, || text(&answer, self.markdown))?;
        Ok(if answer.is_empty() { Answer::Yes } else { Answer::No })
    }
}

fn is_recipe(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn recipes(before: &Path, after: &Path) -> Result<Answered, Failure> {
    let facts = |path| -> Result<_, Failure> {
        let value = serde_json::to_value(&recipe::load(path)?.recipe).map_err(Failure::internal)?;
        let facts = inspect::Facts::of_json(&value);
        Ok(inspect::Inspection { format: "recipe", about: "recipe", size: 0, facts })
    };
    Ok(Answered { changes: diff::files(&facts(before)?, &facts(after)?), builds: None })
}

fn files(before: &Path, after: &Path) -> Result<Answered, Failure> {
    let inspect = |path: &Path| -> Result<_, Failure> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = inspect::inspect(&bytes);
        Ok(found.with_context(|| format!("cannot inspect {}", path.display()))?)
    };
    let (a, b) = (inspect(before)?, inspect(after)?);
    if a.format != b.format {
        let error =
            anyhow!("{} is {}, {} is {}", before.display(), a.about, after.display(), b.about);
        return Err(Failure::usage(error).hint("give two files of one format"));
    }
    Ok(Answered { changes: diff::files(&a, &b), builds: None })
}

fn builds(before: &Path, after: &Path) -> Result<Answered, Failure> {
    let document = |directory: &Path| -> Result<_, Failure> {
        let path = directory.join("reference-values.json");
        let context = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(context)?;
        Ok(Document::parse(&text).with_context(context)?)
    };
    let found = diff::builds(&document(before)?, &document(after)?);
    let mut changes = Vec::new();
    for artifact in found.artifacts.iter().filter(|c| c.before.is_some() && c.after.is_some()) {
        let (a, b) = (before.join(&artifact.at), after.join(&artifact.at));
        // Formats without an inspector have their digests alone.
        let inside = files(&a, &b).map(|answered| answered.changes).unwrap_or_default();
        let at =
            |change: Change| Change { at: format!("{} › {}", artifact.at, change.at), ..change };
        changes.extend(inside.into_iter().map(at));
    }
    Ok(Answered { changes, builds: Some(found) })
}

fn text(answer: &Answered, markdown: bool) -> String {
    let mut lines = Vec::new();
    let bullet = if markdown { "- " } else { "" };
    let tick = if markdown { "`" } else { "" };
    let mut section = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.push(if markdown { format!("### {title}") } else { format!("{title}:") });
            lines.extend(items.into_iter().map(|item| format!("{bullet}{item}")));
        }
    };
    let change = |c: &Change| {
        let value = |text: &String| format!("{tick}{text}{tick}");
        match (&c.before, &c.after) {
            (Some(before), Some(after)) => {
                format!("{}: {} → {}", c.at, value(before), value(after))
            }
            (Some(before), None) => format!("{}: {} is gone", c.at, value(before)),
            (None, after) => {
                format!("{}: {} is new", c.at, after.as_ref().map_or_else(String::new, value))
            }
        }
    };
    if let Some(builds) = &answer.builds {
        section("artifacts", builds.artifacts.iter().map(change).collect());
        section("machines", builds.machines.iter().map(change).collect());
        let moved = builds.moved.iter().map(|moved| {
            let events = match moved.events.is_empty() {
                true => String::new(),
                false => format!(" (because of {})", moved.events.join("; ")),
            };
            format!("{}: {}{events}", moved.machine, moved.registers.join(", "))
        });
        section("registers that move", moved.collect());
    }
    section("changes", answer.changes.iter().map(change).collect());
    if lines.is_empty() {
        lines.push("nothing changed".to_string());
    }
    lines.join("\n")
}
