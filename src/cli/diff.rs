//! `guestsmith diff`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::failure::Failure;
use super::{Answer, Outcome, Session, explain, recipe};
use crate::measure::Guest;
use crate::reference::{Document, Machine};
use crate::verify::diff::moves::{self, Cause};
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
    /// Registers that move, by the input that moves them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
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

pub(super) fn is_recipe(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Parts of a recipe and the inputs that they make.
const PARTS: &[(&str, &[&str])] = &[
    ("firmware", &["firmware"]),
    ("kernel", &["kernel"]),
    ("initrd", &["initrd"]),
    ("cmdline", &["cmdline"]),
    ("epoch", &["initrd", "kernel", "firmware"]),
    ("sources", &["initrd", "kernel", "firmware"]),
];

fn recipes(before: &Path, after: &Path) -> Result<Answered, Failure> {
    let load = |path| -> Result<_, Failure> {
        let recipe = recipe::load(path)?.recipe;
        let value = serde_json::to_value(&recipe).map_err(Failure::internal)?;
        let facts = inspect::Facts::of_json(&value);
        let tees: BTreeSet<String> =
            recipe.machines.iter().flatten().map(|(name, _)| name.to_string()).collect();
        Ok((inspect::Inspection { format: "recipe", about: "recipe", size: 0, facts }, tees))
    };
    let ((a, mut tees), (b, others)) = (load(before)?, load(after)?);
    tees.extend(others);
    let changes = diff::files(&a, &b);
    let touched =
        |part: &str| changes.iter().any(|c| c.at == part || c.at.starts_with(&format!("{part} ›")));
    let inputs = PARTS.iter().filter(|(part, _)| touched(part)).flat_map(|(_, inputs)| *inputs);
    let inputs = inputs.map(|input| (*input).to_string()).collect();
    let causes = moves::expected(&inputs, Some(&tees));
    Ok(Answered { changes, builds: None, causes })
}

fn files(before: &Path, after: &Path) -> Result<Answered, Failure> {
    let read = |path: &Path| -> Result<_, Failure> {
        Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
    };
    let (a, b) = (read(before)?, read(after)?);
    let found = diff::bytes(&a, &b);
    let (format, changes) = found.map_err(|error| {
        let names = format!("cannot compare {} and {}", before.display(), after.display());
        Failure::input(error.context(names)).hint("give two files of one known format")
    })?;
    let causes = match changes.is_empty() {
        true => Vec::new(),
        false => moves::expected(&[format.to_string()].into(), None),
    };
    Ok(Answered { changes, builds: None, causes })
}

fn builds(before: &Path, after: &Path) -> Result<Answered, Failure> {
    let (a, b) = (Loaded::read(before)?, Loaded::read(after)?);
    let found = diff::builds(&a.document, &b.document);
    let mut changes = Vec::new();
    for artifact in found.artifacts.iter().filter(|c| c.before.is_some() && c.after.is_some()) {
        let at = &artifact.at;
        // Formats without an inspector have their digests alone.
        let inside = match (a.bytes.get(at), b.bytes.get(at)) {
            (Some(a), Some(b)) => diff::bytes(a, b).map(|(_, changes)| changes).unwrap_or_default(),
            _ => Vec::new(),
        };
        let below = |change: Change| Change { at: format!("{at} › {}", change.at), ..change };
        changes.extend(inside.into_iter().map(below));
    }
    let (old, new) = (|m: &Machine| a.guest(m), |m: &Machine| b.guest(m));
    let old = moves::Build { document: &a.document, guest: &old };
    let new = moves::Build { document: &b.document, guest: &new };
    let causes = moves::causes(&old, &new);
    Ok(Answered { changes, builds: Some(found), causes })
}

/// A build in a directory, read.
struct Loaded {
    document: Document,
    bytes: BTreeMap<String, Vec<u8>>,
    files: explain::Files,
}

impl Loaded {
    fn read(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join("reference-values.json");
        let context = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(context)?;
        let document = Document::parse(&text).with_context(context)?;
        let mut bytes = BTreeMap::new();
        for artifact in &document.artifacts {
            bytes.insert(artifact.name.clone(), explain::artifact(directory, artifact)?);
        }
        let role = |(name, bytes): (&String, &Vec<u8>)| (explain::role(name), bytes.clone());
        let files = bytes.iter().map(role).collect();
        Ok(Self { document, bytes, files })
    }

    fn guest(&self, machine: &Machine) -> Option<Guest<'_>> {
        explain::guest(&self.files, machine)
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
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
        // What is in a list by its own text is not told twice.
        let called = |text: &String| match c.at.strip_suffix(text.as_str()) {
            Some(above) => format!("{above}{}", value(text)),
            None => format!("{}: {}", c.at, value(text)),
        };
        let lines = c.diff.as_ref().map(|diff| match markdown {
            true => format!("\n\n  ```diff\n{}\n  ```\n", indented(diff)),
            false => format!("\n{}", indented(diff)),
        });
        let told = match (&c.before, &c.after) {
            (Some(before), Some(after)) => {
                format!("{}: {} → {}", c.at, value(before), value(after))
            }
            (Some(before), None) => format!("{} is gone", called(before)),
            (None, after) => {
                format!("{} is new", after.as_ref().map_or_else(|| c.at.clone(), called))
            }
        };
        told + &lines.unwrap_or_default()
    };
    if let Some(builds) = &answer.builds {
        section("artifacts", builds.artifacts.iter().map(change).collect());
        section("machines", builds.machines.iter().map(change).collect());
        let moved = builds.moved.iter().map(|moved| {
            let events = match moved.events.is_empty() {
                true => String::new(),
                false => format!(" (new events: {})", moved.events.join("; ")),
            };
            format!("{}: {}{events}", moved.machine, moved.registers.join(", "))
        });
        section("registers that move", moved.collect());
    }
    let cause = |cause: &Cause| {
        let Cause { input, tee, machines, registers } = cause;
        let registers = registers.join(", ");
        match machines {
            0 => format!("{input} → {tee}: {registers}"),
            n => format!("{input} → {tee}: {registers} (measured, {n} machines)"),
        }
    };
    section("changes", answer.changes.iter().map(change).collect());
    section("because of which change", answer.causes.iter().map(cause).collect());
    if lines.is_empty() {
        lines.push("nothing changed".to_string());
    }
    lines.join("\n")
}
