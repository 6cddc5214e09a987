//! Where inputs come from: names to pins (`guestsmith lock`), pins to the store (`guestsmith build`).
//!
//! One row a kind in [`SOURCES`]. Packages are asked for by the rest of the recipe, so the row of
//! `debian` locks all that is wanted of a source at once; other kinds lock what they name.

pub mod archive;
pub mod debian;
pub mod fetch;
pub mod git;
pub mod mirrors;
pub mod oci;
pub mod registry;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::lock::{self, Lock, Want};
use crate::recipe::{DebianSource, Recipe, Source};
use crate::store::http::Client;
use crate::store::location::Location;
use crate::store::{Expected, Store};
use debian::archive::Archive;
use debian::date::Time;
use debian::keyring::Keyring;
use debian::packages::{self, Request};
use debian::signature::Judge;
use fetch::Item;
use mirrors::Mirrors;

/// The world as sources see it.
pub struct World<'w> {
    /// Where bytes are kept.
    pub store: &'w Store,
    /// How they come.
    pub client: &'w Client,
    /// From where.
    pub mirrors: &'w Mirrors,
    /// Who hears doubts.
    pub warn: &'w dyn Fn(&str),
}

impl World<'_> {
    /// Where a locked file of a release may be: on the mirrors, then in the archives.
    pub fn places(&self, suite: &str, date: &str, path: &str) -> Vec<Location> {
        let archived = Time::of_lock(date).map(|date| self.mirrors.archived(suite, date, path));
        let live = self.mirrors.live(suite, path);
        live.into_iter().chain(archived.unwrap_or_default()).collect()
    }
}

/// What to lock, and what of a lock before to keep.
pub struct Resolver<'r> {
    /// The world.
    pub world: &'r World<'r>,
    /// Keys to trust.
    pub keyring: &'r Keyring,
    /// The time now, and whether what is expired is accepted.
    pub judge: Judge,
    /// The recipe.
    pub recipe: &'r Recipe,
    /// Packages that it, and what builds it, asks for.
    pub wants: &'r [Want],
    /// The lock before.
    pub before: Option<&'r Lock>,
    /// Sources whose releases are not kept from the lock before.
    pub update: Update<'r>,
}

/// Which sources leave the releases that were locked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update<'r> {
    /// None.
    Nothing,
    /// This one.
    Source(&'r str),
    /// None, but the package of this name comes from the latest releases, with what a new version of
    /// it may ask for.
    Package(&'r str),
    /// All.
    Everything,
}

/// A kind of source.
pub struct Kind {
    /// Its key in a recipe.
    pub name: &'static str,
    /// One line for the docs.
    pub about: &'static str,
    /// Locks the source of that name.
    pub lock: fn(&Resolver<'_>, &str, &Source, &mut Lock) -> Result<()>,
}

/// Every kind of source, in the order of the docs.
pub const SOURCES: &[Kind] = &[
    Kind {
        name: "debian",
        about: "suites of a Debian archive, signed; packages are locked with what they depend on",
        lock: lock_debian,
    },
    Kind {
        name: "package",
        about: "a file out of a package, which is locked with its `debian` source",
        lock: |_, _, _, _| Ok(()),
    },
    Kind {
        name: "debian-source",
        about: "a Debian source package: each of its files by hash",
        lock: lock_debian_source,
    },
    Kind {
        name: "local",
        about: "a file or directory beside the recipe, versioned with it and so not locked",
        lock: |_, _, _, _| Ok(()),
    },
    Kind { name: "archive", about: "a file at a URL, by hash", lock: archive::lock },
    Kind { name: "crate", about: "a crate of the Rust registry, by hash", lock: registry::lock },
    Kind { name: "git", about: "a commit of a Git repository, with its tree", lock: git::lock },
    Kind { name: "oci", about: "an OCI image, with its layers by digest", lock: oci::lock },
];

/// The key of a source's kind.
fn key(source: &Source) -> &'static str {
    match source {
        Source::Debian(_) => "debian",
        Source::Package(_) => "package",
        Source::DebianSource(_) => "debian-source",
        Source::Local(_) => "local",
        Source::Git(_) => "git",
        Source::Archive(_) => "archive",
        Source::Crate(_) => "crate",
        Source::Oci(_) => "oci",
    }
}

/// Locks every source of the resolver's recipe.
///
/// # Errors
/// One cannot be locked.
pub fn lock(resolver: &Resolver<'_>) -> Result<Lock> {
    let mut lock = Lock::new(resolver.recipe.digest());
    for want in resolver.wants {
        let what = || format!("{} asks for the package `{}`", want.why, want.name);
        debian(resolver.recipe, &want.source).with_context(what)?;
    }
    for (name, source) in &resolver.recipe.sources {
        let kind = SOURCES.iter().find(|kind| kind.name == key(source));
        let kind = kind.with_context(|| format!("`{name}` is of no kind"))?;
        (kind.lock)(resolver, name, source, &mut lock)
            .with_context(|| format!("cannot lock the source `{name}`"))?;
    }
    lock.sort();
    Ok(lock)
}

/// The `debian` source of that name.
fn debian<'r>(recipe: &'r Recipe, name: &str) -> Result<&'r DebianSource> {
    match recipe.sources.get(name) {
        Some(Source::Debian(source)) => Ok(source),
        Some(_) => bail!("the source `{name}` is no `debian` source"),
        None => bail!("the recipe has no source `{name}`"),
    }
}

impl<'r> Resolver<'r> {
    fn archive(&self) -> Archive<'r> {
        Archive { world: self.world, keyring: self.keyring, judge: self.judge }
    }

    /// A request for the `debian` source of that name.
    fn request<'a>(&self, name: &'a str, source: &'a DebianSource) -> Request<'a>
    where
        'r: 'a,
    {
        let fresh = match self.update {
            Update::Nothing | Update::Package(_) => false,
            Update::Source(updated) => updated == name,
            Update::Everything => true,
        };
        let renewed = |package: &lock::Package, wanted: &str| {
            package.source == name && package.name == wanted
        };
        let renew = match (self.update, self.before) {
            (Update::Package(package), Some(before)) => {
                before.packages.iter().any(|p| renewed(p, package)).then_some(package)
            }
            _ => None,
        };
        Request { name, source, before: self.before, keep: !fresh, renew }
    }
}

fn lock_debian(r: &Resolver<'_>, name: &str, source: &Source, lock: &mut Lock) -> Result<()> {
    let Source::Debian(source) = source else { return Ok(()) };
    let mut by_target: BTreeMap<&str, Vec<Want>> = BTreeMap::new();
    for want in r.wants.iter().filter(|want| want.source == name) {
        by_target.entry(&want.target).or_default().push(want.clone());
    }
    let request = r.request(name, source);
    let mut each = by_target.values();
    each.try_for_each(|wants| packages::lock(&r.archive(), &request, wants, lock))
}

fn lock_debian_source(
    r: &Resolver<'_>,
    name: &str,
    source: &Source,
    lock: &mut Lock,
) -> Result<()> {
    let Source::DebianSource(package) = source else { return Ok(()) };
    let request = r.request(&package.from, debian(r.recipe, &package.from)?);
    debian::sources::lock(&r.archive(), &request, name, &package.name, lock)
}

/// Puts what is not fetched file by file into the store: commits, and layers of images.
///
/// # Errors
/// Something cannot be had, or is not what was locked.
pub fn fetch_others(world: &World<'_>, recipe: &Recipe, lock: &Lock) -> Result<()> {
    git::fetch(world, recipe, lock)?;
    oci::fetch(world, recipe, lock)
}

/// Every file that a build of `recipe` by `lock` needs in the store and that has an address.
///
/// # Errors
/// The lock names a release that it does not hold, or a file of no source of the recipe.
pub fn items(world: &World<'_>, recipe: &Recipe, lock: &Lock) -> Result<Vec<Item>> {
    let release = |id: &str| {
        let found = lock.releases.iter().find(|release| release.id == id);
        found.with_context(|| format!("the lock has no release `{id}`"))
    };
    let package = |package: &lock::Package| {
        let release = release(&package.release)?;
        Ok(Item {
            what: format!("{} {}", package.name, package.version),
            expected: Expected { sha256: package.sha256, size: package.size },
            places: world.places(&release.suite, &release.date, &package.path),
        })
    };
    let file = |file: &lock::File| {
        let places = match (&file.release, &file.path) {
            (Some(id), Some(path)) => {
                let release = release(id)?;
                world.places(&release.suite, &release.date, path)
            }
            _ => addresses(world, recipe, &file.source)?,
        };
        let expected = Expected { sha256: file.sha256, size: file.size };
        Ok(Item { what: file.name.clone(), expected, places })
    };
    let packages = lock.packages.iter().map(package);
    // The index states all that a `.dsc` does, and no build reads one; some mirrors lack them.
    let read = lock.files.iter().filter(|file| !file.name.ends_with(".dsc"));
    // Registries want to be asked in their own way.
    let oci = |file: &&lock::File| matches!(recipe.sources.get(&file.source), Some(Source::Oci(_)));
    let read = read.filter(|file| !oci(file));
    packages.chain(read.map(file)).collect()
}

/// Where the recipe says that the file of a source is.
fn addresses(world: &World<'_>, recipe: &Recipe, name: &str) -> Result<Vec<Location>> {
    match recipe.sources.get(name) {
        Some(Source::Archive(source)) => {
            Ok(vec![Location::parse(&world.mirrors.rewritten(&source.url))?])
        }
        Some(Source::Crate(source)) => registry::places(source),
        _ => bail!("the recipe does not say where `{name}` is"),
    }
}
