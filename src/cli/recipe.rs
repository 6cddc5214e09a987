//! Reads recipe files for the verbs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use crate::recipe::{self, Resolved};

/// The recipe at `path` with all that it extends, checked.
pub(super) fn load(path: &Path) -> Result<Resolved, Failure> {
    let name =
        path.to_str().context("the path of a recipe must be UTF-8").map_err(Failure::usage)?;
    let bytes = read(name).map_err(|error| missing(name, error))?;
    recipe::parse(name, &bytes, &|base| read(base).map_err(|error| error.to_string()))
        .map_err(Failure::input)
}

/// A file's bytes, but hardly more than a recipe may have: what is longer is refused by its
/// parser, and needn't be read for that.
fn read(name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(recipe::MAX_SIZE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(name)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn missing(name: &str, error: io::Error) -> Failure {
    let absent = error.kind() == io::ErrorKind::NotFound;
    let failure = Failure::input(anyhow!(error).context(format!("cannot read the recipe {name}")));
    match absent {
        true => failure.hint("`guestsmith new NAME` writes a first recipe"),
        false => failure,
    }
}
