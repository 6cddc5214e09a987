//! `guestsmith verify`: is a release what its maker signed, and does it follow from its inputs?

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::build::Build;
use super::failure::Failure;
use super::{Answer, Outcome, Session, explain};
use crate::digest::Sha256;
use crate::publish::attest::{self, Rebuilders, Word};
use crate::publish::key::{Key, PublicKey};
use crate::publish::{Verdict, verify_bundle};
use crate::reference::{Document, Machine};
use crate::verify::recompute::{Recomputed, recompute};

/// Check a release bundle, offline: checksums, signature, and that its values follow from its files
///
/// Every digest is computed again from the artifacts. With --rebuild the artifacts are built again
/// from the recipe and its lock, and --attest signs the result for others; with --require a bundle
/// passes only if enough rebuilders vouch for it.
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
    /// Build the artifacts again from this recipe, whose lock must be that of the bundle
    #[arg(long, value_name = "RECIPE")]
    rebuild: Option<PathBuf>,
    /// Where to put the signed statement (in-toto, DSSE) of the rebuild
    #[arg(long, value_name = "FILE", requires_all = ["rebuild", "signing_key"])]
    attest: Option<PathBuf>,
    /// Key that signs the statement: a file that only its owner can read, or fd:N
    #[arg(long, value_name = "KEY", requires = "attest")]
    signing_key: Option<String>,
    /// Accept only what so many of these rebuilders vouch for: 2-of rebuilders.yaml
    #[arg(long, num_args = 2, value_names = ["N-of", "FILE"])]
    require: Option<Vec<String>>,
}

/// What was found out.
#[derive(Debug, Default, Serialize)]
struct Told {
    /// Files that are what the checksums say.
    files: usize,
    /// Whether the signature was checked with a key.
    signed: bool,
    /// Machines whose registers were computed again and are the same.
    recomputed: usize,
    /// Artifacts that came out the same when they were built again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rebuilt: Vec<String>,
    /// What the rebuilders say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rebuilders: Vec<Word>,
    /// What was not checked, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_checked: Vec<String>,
    /// What is wrong; nothing if the bundle is good.
    problems: Vec<String>,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let Verdict { files, signed, problems, .. } =
            verify_bundle(&self.bundle, self.public_key()?.as_ref())?;
        let mut told = Told { files, signed, problems, ..Told::default() };
        if self.key.is_none() {
            let text = "who made it: name its maker's key with --key";
            told.not_checked.push(text.to_string());
        }
        let document = explain::document(&self.bundle)?;
        self.recompute(&document, &mut told)?;
        if let Some(recipe) = &self.rebuild {
            self.build_again(session, recipe, &document, &mut told)?;
        }
        self.ask_rebuilders(&document, &mut told)?;
        session.output.answer(&told, || text(&told))?;
        Ok(if told.problems.is_empty() { Answer::Yes } else { Answer::No })
    }

    fn public_key(&self) -> Result<Option<PublicKey>, Failure> {
        let key = self.key.as_ref().map(|path| {
            let name = path.display().to_string();
            let pem = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            PublicKey::from_pem(&pem).with_context(|| format!("{name} is no public key"))
        });
        Ok(key.transpose()?)
    }

    /// That the values follow from the artifacts.
    fn recompute(&self, document: &Document, told: &mut Told) -> Result<(), Failure> {
        if document.artifacts.is_empty() {
            told.not_checked.push("registers: the bundle has no artifacts".to_string());
            return Ok(());
        }
        // Files that are missing or changed are told already.
        let Ok(files) = explain::artifacts(&self.bundle, document) else {
            told.not_checked.push("registers: the artifacts are not those of the values".into());
            return Ok(());
        };
        let guest = |machine: &Machine| explain::guest(&files, machine);
        let Recomputed { same, other, unknown } = recompute(document, &guest);
        told.recomputed = same;
        told.problems.extend(other);
        told.not_checked.extend(unknown);
        Ok(())
    }

    /// That the artifacts follow from the lock.
    fn build_again(
        &self,
        session: &Session,
        recipe: &Path,
        document: &Document,
        told: &mut Told,
    ) -> Result<(), Failure> {
        let released = document.recipe.as_ref().ok_or_else(|| {
            Failure::input(anyhow!("the bundle's values are of no build: nothing to rebuild"))
        })?;
        let path = super::lock::beside(recipe);
        let lock = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lock = Sha256::of(&lock).to_string();
        if lock != released.lock_sha256 {
            let (path, wanted) = (path.display(), &released.lock_sha256);
            let error = anyhow!("{path} is not the lock of the bundle: {lock}, not {wanted}");
            return Err(Failure::input(error).hint("take the recipe and lock of the release"));
        }
        let place = tempfile::tempdir().context("no temporary directory")?;
        Build::new(recipe, place.path()).make(session)?;
        let mut other = Vec::new();
        for artifact in &document.artifacts {
            let built = fs::read(place.path().join(&artifact.name)).ok();
            match built.map(|bytes| Sha256::of(&bytes).to_string()) {
                Some(same) if same == artifact.sha256 => told.rebuilt.push(artifact.name.clone()),
                Some(found) => other.push(format!("{}: built again it is {found}", artifact.name)),
                None => other.push(format!("{}: the recipe makes no such file", artifact.name)),
            }
        }
        if let (Some(path), Some(key)) = (&self.attest, &self.signing_key) {
            let statement = attest::statement(document, &told.rebuilt, &other, &Key::load(key)?)?;
            super::output::write_file(path, &statement)?;
        }
        told.problems.extend(other);
        Ok(())
    }

    fn ask_rebuilders(&self, document: &Document, told: &mut Told) -> Result<(), Failure> {
        let Some([count, list]) = self.require.as_deref() else { return Ok(()) };
        let needed = count.strip_suffix("-of").and_then(|n| n.parse::<usize>().ok());
        let needed = needed.filter(|n| *n > 0).ok_or_else(|| {
            let error = anyhow!("--require takes a number and a list, found {count}");
            Failure::usage(error).hint("as in --require 2-of rebuilders.yaml")
        })?;
        let text = fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
        let directory = Path::new(list).parent().unwrap_or(Path::new(""));
        let rebuilders = Rebuilders::parse(&text, directory).with_context(|| list.clone())?;
        told.rebuilders = rebuilders.words(document)?;
        let found = told.rebuilders.iter().filter(|word| word.confirms).count();
        if found < needed {
            told.problems.push(format!("{found} rebuilders vouch for it, {needed} are required"));
        }
        Ok(())
    }
}

fn text(told: &Told) -> String {
    let mut lines = vec![match told.problems.is_empty() {
        true => "good".to_string(),
        false => "not what was released:".to_string(),
    }];
    lines.extend(told.problems.iter().map(|problem| format!("  problem: {problem}")));
    lines.push(format!("  checked: {} files have their checksums", told.files));
    lines.extend(told.signed.then(|| "  checked: signed by this key".to_string()));
    if told.recomputed > 0 {
        lines.push(format!("  checked: {} machines measured again", told.recomputed));
    }
    if !told.rebuilt.is_empty() {
        lines.push(format!("  checked: built again, bit for bit: {}", told.rebuilt.join(", ")));
    }
    for Word { rebuilder, why, .. } in &told.rebuilders {
        lines.push(match why {
            None => format!("  checked: {rebuilder} vouches for it"),
            Some(why) => format!("  {rebuilder} does not vouch for it: {why}"),
        });
    }
    lines.extend(told.not_checked.iter().map(|what| format!("  not checked: {what}")));
    lines.join("\n")
}
