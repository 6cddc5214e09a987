//! `guestsmith build`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::failure::Failure;
use super::surroundings::Surroundings;
use super::{Answer, Outcome, Session, environment, lock, recipe};
use crate::assemble::{direct, measured, output};
use crate::build::artifacts::{self, Artifacts};
use crate::build::compiled;
use crate::build::initrd::Weight;
use crate::build::inputs::Inputs;
use crate::build::local;
use crate::build::step::{Builder, Note};
use crate::digest::Sha256;
use crate::reference::{Artifact, Document, Machine};

/// File of the canonical document in the output directory.
const REFERENCE_VALUES: &str = "reference-values.json";

/// Build a recipe: its boot set, and the registers that each of its machines will report
///
/// Everything comes from the lock beside the recipe. A second build with nothing to do looks at its
/// inputs and outputs, and leaves them alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith build recipes/quickstart.yaml --out out/quickstart")]
pub(super) struct Build {
    /// The recipe
    recipe: PathBuf,
    /// Directory of the outputs [default: out/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Say why each step runs: which of its inputs has changed
    #[arg(long)]
    explain: bool,
    /// Say what weighs how much in the initrd
    #[arg(long)]
    report: bool,
}

#[derive(Serialize)]
pub(super) struct Built {
    out: PathBuf,
    /// True when there was nothing to do.
    unchanged: bool,
    artifacts: Vec<Artifact>,
    machines: Vec<Machine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initrd: Option<Vec<Weight>>,
}

impl Build {
    /// The build of `recipe` into `out`, for verbs that need its outputs.
    pub(super) fn new(recipe: &Path, out: &Path) -> Self {
        Self {
            recipe: recipe.to_path_buf(),
            out: Some(out.to_path_buf()),
            report: false,
            explain: false,
        }
    }

    pub(super) fn run(self, session: &Session) -> Outcome {
        let built = self.make(session)?;
        let machines = built.machines.iter();
        let warnings: BTreeSet<_> = machines.flat_map(|machine| &machine.warnings).collect();
        warnings.into_iter().for_each(|warning| session.output.warn(warning));
        session.output.answer(&built, || text(&built))?;
        Ok(Answer::Yes)
    }

    /// Builds, or finds that there is nothing to do, and gives the reference values.
    pub(super) fn document(&self, session: &Session) -> Result<Document, Failure> {
        let built = self.make(session)?;
        let listed = built.artifacts.iter().any(|artifact| artifact.name == REFERENCE_VALUES);
        match listed {
            true => values(&built.out),
            false => Ok(Document::of_machines(Vec::new())),
        }
    }

    /// Builds, or finds that there is nothing to do.
    pub(super) fn make(&self, session: &Session) -> Result<Built, Failure> {
        let recipe = recipe::load(&self.recipe)?.recipe;
        let locked = lock::load(&self.recipe, &recipe)?;
        let path = lock::beside(&self.recipe);
        let lock_bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        let lock_digest = Sha256::of(&lock_bytes?);
        let surroundings = Surroundings::new(session)?;
        let out = self.out.clone().unwrap_or_else(|| Path::new("out").join(&recipe.name));
        let inputs = Inputs {
            recipe: &recipe,
            lock: &locked,
            store: &surroundings.store,
            directory: self.recipe.parent().unwrap_or(Path::new("")),
            threads: environment::threads(),
        };
        let key = key(inputs, lock_digest)?;
        let known = surroundings.store.result(&key)?.filter(|_| !self.report);
        match known.filter(|manifest| output::holds(&out, manifest)) {
            Some(_) => standing(&out),
            None => {
                surroundings.fetch(session, &recipe, &locked)?;
                surroundings.fetch_crates(&compiled::crates(inputs)?)?;
                self.build(session, inputs, (&out, lock_digest, key))
            }
        }
    }

    fn build(
        &self,
        session: &Session,
        inputs: Inputs<'_>,
        (out, lock, key): (&Path, Sha256, Sha256),
    ) -> Result<Built, Failure> {
        let bar = session.output.progress("building", None);
        let notify = |note: &Note<'_>| self.tell(session, note);
        let builder = Builder::new(inputs.store, &inputs.recipe.name, &notify);
        let artifacts = artifacts::build(inputs, session.host(), &builder)?;
        bar.set_message("measuring");
        let shipped = measured::shipped(inputs.recipe, &artifacts)?;
        let mut files = direct::files(&artifacts);
        files.extend(shipped.iter().map(|(name, file)| (name.clone(), &file[..])));
        let document = measured::document(inputs, &artifacts, &files, lock)?;
        let values = match document.machines.is_empty() {
            true => None,
            false => Some(document.to_text().map_err(Failure::internal)?),
        };
        if let Some(text) = &values {
            files.insert(REFERENCE_VALUES.into(), text.as_bytes());
        }
        bar.set_message("writing");
        let digests = [inputs.recipe.digest(), lock];
        let manifest = output::Manifest::new(&inputs.recipe.name, digests, &files);
        output::write(out, &files, &manifest)?;
        bar.finish_and_clear();
        // A store that may only be read just means that the next build does the work again.
        let kept = manifest.text().and_then(|text| inputs.store.put_result(&key, text.as_bytes()));
        if let Err(error) = kept {
            session.output.detail(1, &format!("the result is not kept: {error:#}"));
        }
        let (out, unchanged) = (out.to_path_buf(), false);
        let initrd = self.report.then(|| weights(&artifacts));
        let machines = document.machines;
        Ok(Built { out, unchanged, artifacts: manifest.artifacts, machines, initrd })
    }
}

impl Build {
    /// What a step does: always in detail, on request as a note.
    fn tell(&self, session: &Session, note: &Note<'_>) {
        match (self.explain, note.to_string()) {
            (true, text) => session.output.note(&text),
            (false, text) => session.output.detail(1, &text),
        }
    }
}

fn weights(artifacts: &Artifacts) -> Vec<Weight> {
    artifacts.initrd.as_ref().map(|initrd| initrd.weights.clone()).unwrap_or_default()
}

/// What decides the outputs. The toolchain of an agent that is built outside of the sandbox is not
/// among it: asking for its version takes longer than all the rest.
fn key(inputs: Inputs<'_>, lock: Sha256) -> Result<Sha256, Failure> {
    let tool = environment::executable();
    let (recipe, local) = (inputs.recipe.digest(), local::digest(inputs)?);
    Ok(Sha256::of(format!("build 1\n{tool}\n{recipe}\n{lock}\n{local}\n").as_bytes()))
}

/// What stands in the directory `out`, which holds what its manifest says.
fn standing(out: &Path) -> Result<Built, Failure> {
    let artifacts = output::read(out).map(|manifest| manifest.artifacts).unwrap_or_default();
    let machines = match artifacts.iter().any(|artifact| artifact.name == REFERENCE_VALUES) {
        false => Vec::new(),
        true => values(out)?.machines,
    };
    Ok(Built { out: out.to_path_buf(), unchanged: true, artifacts, machines, initrd: None })
}

/// The reference values in the directory `out`.
fn values(out: &Path) -> Result<Document, Failure> {
    let text = fs::read_to_string(out.join(REFERENCE_VALUES));
    let text = text.context("cannot read the reference values")?;
    Document::parse(&text).map_err(Failure::internal)
}

fn text(built: &Built) -> String {
    let state = if built.unchanged { " (nothing to do)" } else { "" };
    let mut lines = vec![format!("{}{state}", built.out.display())];
    let artifact = |a: &Artifact| format!("  {:<24} {:>11}  {}", a.name, a.size, a.sha256);
    lines.extend(built.artifacts.iter().map(artifact));
    for machine in &built.machines {
        lines.push(machine.label());
        lines.extend(machine.registers.iter().map(|(name, value)| format!("  {name:<14} {value}")));
    }
    for weight in built.initrd.iter().flatten() {
        let Weight { origin, bytes, names } = weight;
        lines.push(format!("{bytes:>12}  {origin} ({names} names)"));
    }
    lines.join("\n")
}
