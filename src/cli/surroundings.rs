//! What verbs that fetch work with: store, client, mirrors, keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Session;
use super::failure::Failure;
use crate::build::cargo::Pinned;
use crate::lock::Lock;
use crate::recipe::{CrateSource, Recipe};
use crate::source::debian::keyring::Keyring;
use crate::source::mirrors::{self, Config, DEBIAN_SNAPSHOTS, Mirrors};
use crate::source::{World, fetch, registry};
use crate::store::http::Client;
use crate::store::{Store, entries};

/// Where apt keeps its lists of mirrors (sources.list(5)).
const APT: &str = "/etc/apt";

/// Store, client, mirrors and configuration.
pub(super) struct Surroundings {
    /// Where bytes are kept.
    pub(super) store: Store,
    client: Client,
    mirrors: Mirrors,
    config: Config,
    warn: Box<dyn Fn(&str)>,
}

impl Surroundings {
    /// As command line, environment, configuration file and system say, in that order.
    ///
    /// # Errors
    /// The store cannot be opened, or the configuration is wrong.
    pub(super) fn new(session: &Session) -> Result<Self, Failure> {
        let (output, for_store) = (session.output.clone(), session.output.clone());
        let store = Store::open(&session.store()?)?.warning(move |text| for_store.warn(text));
        let config = config(session.environment.config.as_deref())?;
        let mirrors = match (session.mirrors(), &config.mirrors) {
            ([], configured) if configured.is_empty() && config.apt => of_apt(Path::new(APT)),
            ([], configured) => configured.clone(),
            (named, _) => named.to_vec(),
        };
        let snapshots = vec![DEBIAN_SNAPSHOTS.to_string()];
        let archives = config.archives.clone().unwrap_or(snapshots);
        let mirrors = Mirrors::new(&mirrors, &archives)?.rewriting(&config.rewrite);
        let client = Client::new(session.offline());
        Ok(Self { store, client, mirrors, config, warn: Box::new(move |text| output.warn(text)) })
    }

    /// The world as sources see it.
    pub(super) fn world(&self) -> World<'_> {
        let Self { store, client, mirrors, warn, .. } = self;
        World { store, client, mirrors, warn: &**warn }
    }

    /// The keys to trust: those in the file `named`, else in the configured one, else Debian's.
    ///
    /// # Errors
    /// The file cannot be read or holds no keys.
    pub(super) fn keyring(&self, named: Option<&Path>) -> Result<Keyring> {
        let configured = self.config.keyring.as_ref().map(PathBuf::from);
        let Some(path) = named.map(Path::to_path_buf).or(configured) else {
            return Keyring::debian();
        };
        let shown = path.display();
        let bytes = fs::read(&path).with_context(|| format!("cannot read the keyring {shown}"))?;
        Keyring::parse(&bytes).with_context(|| format!("the keyring {shown}"))
    }

    /// Fails, with what to do about it, where no mirror is known.
    ///
    /// # Errors
    /// None is.
    pub(super) fn need_mirrors(&self) -> Result<(), Failure> {
        if !self.mirrors.is_empty() {
            return Ok(());
        }
        let what = "no mirror of Debian is known: none was named, and apt of this system has none";
        Err(Failure::input(anyhow::anyhow!(what))
            .hint("name one with --mirror URL, in GUESTSMITH_MIRROR or in the configuration file"))
    }

    /// Fetches everything of `lock` that the store lacks.
    ///
    /// # Errors
    /// Something cannot be had.
    pub(super) fn fetch(
        &self,
        session: &Session,
        recipe: &Recipe,
        lock: &Lock,
    ) -> Result<(), Failure> {
        crate::source::fetch_others(&self.world(), recipe, lock)?;
        let items = crate::source::items(&self.world(), recipe, lock)?;
        let missing = fetch::missing(&self.store, &items);
        if missing.is_empty() {
            return Ok(());
        }
        if missing.iter().any(|item| item.places.is_empty()) {
            self.need_mirrors()?;
        }
        let total = missing.iter().map(|item| item.expected.size).sum();
        let count = missing.len();
        session.output.detail(1, &format!("fetching {count} files, {total} bytes"));
        let bar = session.output.progress("fetching", Some(total));
        let fetched =
            fetch::fetch(&self.store, &self.client, &items, &|there| bar.set_position(there));
        bar.finish_and_clear();
        fetched.map_err(|error| match self.mirrors.is_empty() {
            true => Failure::input(error).hint("name a mirror with --mirror URL"),
            false => Failure::input(error),
        })
    }
}

impl Surroundings {
    /// Fetches the crates that an agent is built from by locked tools.
    ///
    /// # Errors
    /// One cannot be had.
    pub(super) fn fetch_crates(&self, crates: &[Pinned]) -> Result<(), Failure> {
        let named = |pinned: &Pinned| {
            let Pinned { name, version, sha256 } = pinned.clone();
            (CrateSource { name, version }, sha256)
        };
        let crates: Vec<_> = crates.iter().map(named).collect();
        Ok(registry::fetch(&self.store, &self.client, &crates)?)
    }
}

fn config(path: Option<&Path>) -> Result<Config> {
    let Some(path) = path else { return Ok(Config::default()) };
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::read_to_string(path) {
        // Of services the home is often /dev/null.
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(Config::default()),
        text => text.map_err(anyhow::Error::from).and_then(|text| Config::parse(&text)),
    }
    .with_context(|| format!("the configuration {}", path.display()))
}

/// Mirrors of Debian that apt uses, in the order of its lists; what cannot be read is none.
fn of_apt(dir: &Path) -> Vec<String> {
    let parts = entries::sorted(&dir.join("sources.list.d")).unwrap_or_default();
    let mut mirrors = Vec::new();
    for path in std::iter::once(dir.join("sources.list")).chain(parts) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let found = match path.extension().and_then(|ending| ending.to_str()) {
            Some("list") => mirrors::of_one_line_list(&text),
            Some("sources") => mirrors::of_deb822_list(&text),
            _ => Vec::new(),
        };
        mirrors.extend(found);
    }
    mirrors.dedup();
    mirrors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_apt_are_read_in_their_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("sources.list", "deb http://a/debian sid main\n");
        write("sources.list.d/b.sources", "Types: deb\nURIs: http://b/debian\n");
        write("sources.list.d/a.list", "deb http://c/debian sid main\n");
        write("sources.list.d/a.list.save", "deb http://d/debian sid main\n");
        let expected = ["http://a/debian", "http://c/debian", "http://b/debian"];
        assert_eq!(of_apt(dir.path()), expected);
        assert!(of_apt(&dir.path().join("none")).is_empty());
    }
}
