//! `guestsmith reproduce`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::failure::Failure;
use super::surroundings::Surroundings;
use super::{Answer, Outcome, Session, environment, lock, recipe};
use crate::assemble::{direct, output};
use crate::build::artifacts::{self, Artifacts};
use crate::build::compiled;
use crate::build::inputs::Inputs;
use crate::build::step::{Builder, Note};
use crate::build::variation::Variation;
use crate::digest::Sha256;
use crate::lock::Lock;
use crate::recipe::Recipe;
use crate::verify::rebuild::{self, Difference, owner};

/// A file system in memory that Linux machines have: another one than the store's.
const OTHER_FILE_SYSTEM: &str = "/dev/shm";
/// What must be free on it: a kernel's sources and objects, and those of firmware beside them.
const ROOM: u64 = 8 << 30;

/// Build a recipe again, with everything varied that must not matter, and compare every bit
///
/// The second build has another path, depth, user, umask, time zone, locale, host name, clock,
/// number of CPUs, order of files, file system and environment; every step runs again. With
/// --against that is the only one, and somebody else's is the first. Exit code 0 only if all
/// artifacts are equal.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith reproduce recipes/quickstart.yaml")]
pub(super) struct Reproduce {
    /// The recipe, with its lock beside it
    recipe: PathBuf,
    /// Compare with what somebody else has built: a directory with manifest.json
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
}

#[derive(Serialize)]
struct Told {
    artifacts: Vec<Compared>,
}

/// One artifact of both builds.
#[derive(Serialize)]
struct Compared {
    name: String,
    sha256: String,
    equal: bool,
    difference: Option<Difference>,
}

/// What both builds work from.
struct Build<'a> {
    session: &'a Session,
    recipe: Recipe,
    lock: Lock,
    surroundings: Surroundings,
    directory: PathBuf,
}

impl Reproduce {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let resolved = recipe::load(&self.recipe)?;
        let recipe = resolved.recipe.clone();
        let lock = lock::load(&self.recipe, &recipe)?;
        let surroundings = Surroundings::new(session)?;
        let directory = self.recipe.parent().unwrap_or(Path::new("")).to_path_buf();
        let build = Build { session, recipe, lock, surroundings, directory };
        build.fetch()?;
        let mut artifacts = match &self.against {
            Some(dir) => against(&build, dir)?,
            None => twice(&build)?,
        };
        let differences = artifacts.iter_mut().filter_map(|artifact| artifact.difference.as_mut());
        for difference in differences {
            let member = difference.member.as_deref();
            let path = owner::path(&resolved.recipe, &difference.artifact, member);
            difference.line = Some(format!("{} ({})", resolved.place(&path), path.join(".")));
        }
        let equal = artifacts.iter().all(|artifact| artifact.equal);
        let told = Told { artifacts };
        session.output.answer(&told, || told.to_string())?;
        Ok(if equal { Answer::Yes } else { Answer::No })
    }
}

impl Build<'_> {
    fn inputs(&self, threads: u32) -> Inputs<'_> {
        Inputs {
            recipe: &self.recipe,
            lock: &self.lock,
            store: &self.surroundings.store,
            directory: &self.directory,
            threads,
        }
    }

    fn fetch(&self) -> Result<(), Failure> {
        self.surroundings.fetch(self.session, &self.recipe, &self.lock)?;
        self.surroundings.fetch_crates(&compiled::crates(self.inputs(1))?)
    }

    fn run(&self, threads: u32, variation: Variation) -> Result<Artifacts, Failure> {
        let notify = |note: &Note<'_>| self.session.output.detail(1, &note.to_string());
        let inputs = self.inputs(threads);
        let builder = Builder::new(inputs.store, &self.recipe.name, &notify);
        let builder = Builder { variation, ..builder };
        Ok(artifacts::build(inputs, self.session.host(), &builder)?)
    }

    /// Every step anew, with everything varied that must not matter.
    fn varied(&self) -> Result<Artifacts, Failure> {
        let place = roomy(OTHER_FILE_SYSTEM).then(|| PathBuf::from(OTHER_FILE_SYSTEM));
        if place.is_none() {
            let what = format!("{OTHER_FILE_SYSTEM} lacks room: the file system is not varied");
            self.session.output.warn(&what);
        }
        self.run(1, Variation::everything(place))
    }
}

fn roomy(place: &str) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|found| found.f_bavail * found.f_frsize >= ROOM)
}

fn twice(build: &Build<'_>) -> Result<Vec<Compared>, Failure> {
    let first = build.run(environment::threads(), Variation::none())?;
    let second = build.varied()?;
    let second = direct::files(&second);
    let compare = |(name, bytes): (&String, &&[u8])| {
        let other = second.get(name).copied().unwrap_or_default();
        compared(name, bytes, rebuild::compare(name, bytes, other))
    };
    Ok(direct::files(&first).iter().map(compare).collect())
}

fn compared(name: &str, bytes: &[u8], difference: Option<Difference>) -> Compared {
    let sha256 = Sha256::of(bytes).to_string();
    Compared { name: name.into(), sha256, equal: difference.is_none(), difference }
}

/// A varied build against the files of `dir`; where only the manifest is there, against its digests.
fn against(build: &Build<'_>, dir: &Path) -> Result<Vec<Compared>, Failure> {
    let manifest = output::read(dir).with_context(|| {
        format!("{} has no {}: it is no output of a build", dir.display(), output::MANIFEST)
    })?;
    let ours = build.varied()?;
    let files = direct::files(&ours);
    let mut compared_files = Vec::new();
    for (name, bytes) in &files {
        let theirs = manifest.artifacts.iter().find(|artifact| artifact.name == *name);
        let theirs = theirs.ok_or_else(|| anyhow!("their build has no {name}"))?;
        let equal = theirs.sha256 == Sha256::of(bytes).to_string();
        let file = std::fs::read(dir.join(name)).ok().filter(|_| !equal);
        let difference = file.and_then(|file| rebuild::compare(name, &file, bytes));
        compared_files.push(Compared { equal, ..compared(name, bytes, difference) });
    }
    Ok(compared_files)
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, artifact) in self.artifacts.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let verdict = if artifact.equal { "equal" } else { "DIFFERENT" };
            write!(f, "{verdict:9}  {}  {}", artifact.sha256, artifact.name)?;
            if let Some(difference) = &artifact.difference {
                write!(f, "\n{difference}")?;
            }
        }
        Ok(())
    }
}
