//! The lock as text.

use serde::Deserialize;

use super::{Error, Lock, VERSION, WRITERS};

const HEAD: &str =
    "# Made by `guestsmith lock` from the recipe beside it; to be committed, not edited.\n\n";

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

impl Lock {
    /// The lock that `text` holds.
    ///
    /// # Errors
    /// It is no lock, one of a later version, or asks for a writer that we don't have.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let syntax = |error: toml::de::Error| Error::Syntax(error.to_string().trim_end().into());
        let found = toml::from_str::<Head>(text).map_err(syntax)?.version;
        if found > VERSION {
            return Err(Error::Version { found });
        }
        let lock: Self = toml::from_str(text).map_err(syntax)?;
        lock.check_writers()?;
        lock.check_paths()?;
        Ok(lock)
    }

    /// Writers are known in the version that the lock asks for.
    fn check_writers(&self) -> Result<(), Error> {
        for (name, &found) in &self.writers {
            let known = WRITERS.iter().find(|(known, _)| known == name).map(|(_, latest)| *latest);
            if !known.is_some_and(|latest| (1..=latest).contains(&found)) {
                let known = known.map_or("none".into(), |latest| format!("1 to {latest}"));
                return Err(Error::Writer { writer: name.clone(), found, known });
            }
        }
        Ok(())
    }

    /// Paths are relative and stay below the mirror.
    fn check_paths(&self) -> Result<(), Error> {
        let releases = self.releases.iter().map(|release| &release.path);
        let indices = self.indices.iter().map(|index| &index.path);
        let packages = self.packages.iter().map(|package| &package.path);
        let files = self.files.iter().filter_map(|file| file.path.as_ref());
        let mut paths = releases.chain(indices).chain(packages).chain(files);
        match paths.find(|path| !is_relative(path)) {
            Some(path) => Err(Error::Syntax(format!("`{path}` is no path below a mirror"))),
            None => Ok(()),
        }
    }

    /// The text of the lock: the same for the same lock, always.
    ///
    /// # Errors
    /// Never for a lock that this module made or read.
    pub fn write(&self) -> Result<String, Error> {
        let mut sorted = self.clone();
        sorted.sort();
        let body = toml::to_string(&sorted).map_err(|error| Error::Syntax(error.to_string()))?;
        Ok(format!("{HEAD}{body}"))
    }
}

/// True for a path that stays below whatever it is joined to, and names no host.
pub fn is_relative(path: &str) -> bool {
    let parts = || path.split('/');
    !path.contains(['\\', '\0']) && parts().all(|part| !["", ".", ".."].contains(&part))
}
