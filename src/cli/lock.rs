//! `guestsmith lock`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::failure::Failure;
use super::surroundings::Surroundings;
use super::{Answer, Outcome, Session, environment, recipe};
use crate::build::tools;
use crate::lock::diff::{Change, diff};
use crate::lock::{self, Lock as Pins, Want};
use crate::recipe::Recipe;
use crate::source::debian::date::Time;
use crate::source::debian::signature::Judge;
use crate::source::{self, Resolver, Update};

/// Lock every input of a recipe by hash, into a file beside it
///
/// Releases of archives that are locked already are kept, so that a change of the recipe changes
/// nothing else; --update takes the latest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith lock --accept-expired recipes/quickstart.yaml")]
pub(super) struct Lock {
    /// The recipe
    recipe: PathBuf,
    /// Write nothing; say whether the lock is what would be written
    #[arg(long)]
    check: bool,
    /// Take the latest releases: of all sources, of the named one, or for the named package alone
    /// with what its new version asks for
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "")]
    update: Option<String>,
    /// Take releases past their `Valid-Until`, and keys that expired since they signed; the lock
    /// records it
    #[arg(long)]
    accept_expired: bool,
    /// File of the public keys to trust in place of Debian's
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
}

#[derive(Serialize)]
struct Told {
    lock: PathBuf,
    packages: usize,
    files: usize,
    changes: Vec<Change>,
}

impl Lock {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let recipe = recipe::load(&self.recipe)?.recipe;
        let path = beside(&self.recipe);
        let before = read_if_there(&path)?;
        self.known(&recipe, before.as_ref())?;
        let wants = wants(&recipe);
        let keeps = before.as_ref().filter(|lock| lock.satisfies(&recipe, &wants).is_ok());
        let after = match keeps {
            Some(lock) if self.update.is_none() => lock.clone(),
            _ => self.resolve(session, &recipe, &wants, before.as_ref())?,
        };
        let text = after.write().map_err(Failure::internal)?;
        let same = before.as_ref().is_some_and(|before| before.write().as_ref() == Ok(&text));
        let nothing = Pins::new(after.recipe);
        let changes = diff(before.as_ref().unwrap_or(&nothing), &after);
        if !same && !self.check {
            write(&path, &text)?;
        }
        let (packages, files) = (after.packages.len(), after.files.len());
        let told = Told { lock: path, packages, files, changes };
        session.output.answer(&told, || self.text(&told, same))?;
        Ok(if self.check && !same { Answer::No } else { Answer::Yes })
    }

    fn text(&self, told: &Told, same: bool) -> String {
        let lock = told.lock.display();
        let changes: Vec<_> = told.changes.iter().map(ToString::to_string).collect();
        let verdict = match (same, self.check) {
            (true, _) => format!("{lock} is as it should be"),
            (false, true) => format!("{lock} is not what would be written"),
            (false, false) => {
                format!("{lock}: {} packages, {} other files", told.packages, told.files)
            }
        };
        [changes, vec![verdict]].concat().join("\n")
    }

    /// `--update` names a source of the recipe or a package of its lock.
    fn known(&self, recipe: &Recipe, before: Option<&Pins>) -> Result<(), Failure> {
        let named = self.update.as_deref().filter(|name| !name.is_empty());
        let locked = |name: &str| {
            let mut packages = before.iter().flat_map(|lock| &lock.packages);
            packages.any(|package| package.name == name)
        };
        match named.filter(|name| !recipe.sources.contains_key(*name) && !locked(name)) {
            None => Ok(()),
            Some(name) => {
                let sources: Vec<_> = recipe.sources.keys().map(String::as_str).collect();
                let what = "the recipe has no source, its lock no package";
                let error = anyhow!("--update: {what} `{name}`");
                Err(Failure::usage(error).hint(format!("its sources: {}", sources.join(", "))))
            }
        }
    }

    fn resolve(
        &self,
        session: &Session,
        recipe: &Recipe,
        wants: &[Want],
        before: Option<&Pins>,
    ) -> Result<Pins, Failure> {
        let surroundings = Surroundings::new(session)?;
        if !wants.is_empty() {
            surroundings.need_mirrors()?;
        }
        let keyring = surroundings.keyring(self.keyring.as_deref())?;
        let now = Time(environment::now());
        let update = match self.update.as_deref() {
            None => Update::Nothing,
            Some("") => Update::Everything,
            Some(name) if recipe.sources.contains_key(name) => Update::Source(name),
            Some(name) => Update::Package(name),
        };
        let resolver = Resolver {
            world: &surroundings.world(),
            keyring: &keyring,
            judge: Judge { now, accept_expired: self.accept_expired },
            recipe,
            wants,
            before,
            update,
        };
        let bar = session.output.progress("resolving", None);
        let locked = source::lock(&resolver);
        bar.finish_and_clear();
        Ok(locked?)
    }
}

/// Packages that the recipe asks for, and those that build it.
pub(super) fn wants(recipe: &Recipe) -> Vec<Want> {
    let wants: BTreeSet<_> = lock::wants(recipe).into_iter().chain(tools::wants(recipe)).collect();
    wants.into_iter().collect()
}

/// `NAME.lock` beside `NAME.yaml`.
pub(super) fn beside(recipe: &Path) -> PathBuf {
    recipe.with_extension("lock")
}

/// The lock of `recipe`, which belongs to it.
///
/// # Errors
/// There is none, it cannot be read, or the recipe has changed since.
pub(super) fn load(path: &Path, recipe: &Recipe) -> Result<Pins, Failure> {
    let lock_path = beside(path);
    let hint = format!("run `guestsmith lock {}`", path.display());
    let lock = read_if_there(&lock_path)?;
    let lock = lock.with_context(|| format!("there is no lock {}", lock_path.display()));
    let lock = lock.map_err(|error| Failure::input(error).hint(hint.clone()))?;
    let fits = lock.satisfies(recipe, &wants(recipe));
    fits.map_err(|error| Failure::input(anyhow!(error)).hint(hint))?;
    Ok(lock)
}

fn read_if_there(path: &Path) -> Result<Option<Pins>, Failure> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {shown}"))?,
    };
    Ok(Some(Pins::parse(&text).with_context(|| format!("{shown}"))?))
}

/// Replaces the lock at once: a reader sees the old one or the new one.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().permissions(ordinary()).tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// As any new file: what the umask leaves of it.
fn ordinary() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o666)
}
