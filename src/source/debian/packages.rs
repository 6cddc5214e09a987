//! Locks the packages of one source of a recipe.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow, bail};

use super::archive::{Archive, Known, warn_of_older};
use super::resolve::{self, Selection};
use super::universe::{Text, Universe};
use crate::lock::{self, Lock, Want};
use crate::recipe::DebianSource;

/// What is to be locked of one source.
pub struct Request<'a> {
    /// Name of the source in the recipe.
    pub name: &'a str,
    /// Its suites and components.
    pub source: &'a DebianSource,
    /// The lock before.
    pub before: Option<&'a Lock>,
    /// Whether its releases are kept, as long as they can be had.
    pub keep: bool,
    /// A package that is taken from the latest releases all the same.
    pub renew: Option<&'a str>,
}

impl Request<'_> {
    /// The components, `main` where none is named.
    pub fn components(&self) -> Vec<&str> {
        match self.source.components.is_empty() {
            true => vec!["main"],
            false => self.source.components.iter().map(String::as_str).collect(),
        }
    }
}

/// The releases of the source's suites, checked, in the source's order.
///
/// # Errors
/// No mirror has one that can be trusted.
pub fn releases(archive: &Archive<'_>, request: &Request<'_>) -> Result<Vec<Known>> {
    request.source.suites.iter().map(|suite| release(archive, request, suite)).collect()
}

fn release(archive: &Archive<'_>, request: &Request<'_>, suite: &str) -> Result<Known> {
    let before = request.before.iter().flat_map(|lock| &lock.releases);
    let Some(before) = before.filter(|release| release.suite == *suite).max_by_key(|r| &r.date)
    else {
        return archive.latest(suite);
    };
    let (warn, date) = (archive.world.warn, &before.date);
    if request.keep {
        if let Some(known) = archive.locked(before)? {
            return Ok(known);
        }
        warn(&format!("the locked release of `{suite}`, of {date}, is no longer to be had"));
    }
    let latest = archive.latest(suite)?;
    warn_of_older(&latest, before, warn)?;
    Ok(latest)
}

/// A release, and the packages that may come from it: all, or those of these names.
struct Layer {
    known: Known,
    only: Option<BTreeSet<String>>,
}

/// The releases from which packages are taken as before: of each suite one, and a later one for the
/// packages that were renewed alone.
fn layers(archive: &Archive<'_>, request: &Request<'_>) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for suite in &request.source.suites {
        match request.keep.then(|| kept(archive, request, suite)).transpose()?.flatten() {
            Some(kept) => layers.extend(kept),
            None => layers.push(Layer { known: release(archive, request, suite)?, only: None }),
        }
    }
    Ok(layers)
}

/// The layers of a suite that an earlier lock has for this source; none if it has none or if they
/// are no longer to be had.
fn kept(archive: &Archive<'_>, request: &Request<'_>, suite: &str) -> Result<Option<Vec<Layer>>> {
    let Some(before) = request.before else { return Ok(None) };
    let packages = before.packages.iter().filter(|package| package.source == request.name);
    let packages: Vec<_> = packages.collect();
    let of = |id: &str| -> BTreeSet<String> {
        let from = packages.iter().filter(|package| package.release == id);
        from.map(|package| package.name.clone()).collect()
    };
    let releases = before.releases.iter().filter(|release| release.suite == suite);
    let mut used: Vec<_> = releases.filter(|release| !of(&release.id).is_empty()).collect();
    used.sort_by_key(|release| &release.date);
    let mut layers = Vec::new();
    for release in used {
        let Some(known) = archive.locked(release)? else { return Ok(None) };
        let only = (!layers.is_empty()).then(|| of(&release.id));
        layers.push(Layer { known, only });
    }
    Ok(Some(layers).filter(|layers| !layers.is_empty()))
}

/// Adds to `lock` all packages of `wants`, which are of this source and one architecture, with what
/// they depend on and the chain of trust to them.
///
/// # Errors
/// An index cannot be had or read, or something cannot be satisfied.
pub fn lock(
    archive: &Archive<'_>,
    request: &Request<'_>,
    wants: &[Want],
    lock: &mut Lock,
) -> Result<()> {
    let Some(target) = wants.first().map(|want| want.target.as_str()) else { return Ok(()) };
    let mut layers = layers(archive, request)?;
    let mut indices = indices(archive, request, &layers, target)?;
    if let Some(name) = request.renew {
        let latest = latest(archive, request)?;
        let fresh = self::indices(archive, request, &latest, target)?;
        let names = renewed(&fresh, target, name)?;
        let above = layers.len();
        layers.extend(latest.into_iter().map(|l| Layer { only: Some(names.clone()), ..l }));
        indices.extend(fresh.into_iter().map(|(pin, text, at)| (pin, text, at + above)));
    }
    let texts: Vec<_> = indices
        .iter()
        .map(|(_, text, at)| Text { text, release: *at, only: layers[*at].only.as_ref() })
        .collect();
    let suites = request.source.suites.join(", ");
    let universe = Universe::read(target, &texts)
        .with_context(|| format!("the index of packages of `{}` is malformed", request.name))?;
    let chosen = resolve::resolve(&universe, wants).map_err(|error| {
        anyhow!(error)
            .context(format!("`{}` ({suites}) for {target} cannot give all packages", request.name))
    })?;
    add(lock, &universe, &chosen, &Found { request, layers: &layers, wants });
    let used: BTreeSet<_> = lock.packages.iter().map(|package| package.release.clone()).collect();
    let stays = |layer: &Layer| layer.only.is_none() || used.contains(&layer.known.pin.id);
    let read = indices.into_iter().filter(|(.., at)| stays(&layers[*at]));
    lock.indices.extend(read.map(|(pin, ..)| pin));
    let releases = layers.iter().filter(|layer| stays(layer));
    lock.releases.extend(releases.map(|layer| layer.known.pin.clone()));
    Ok(())
}

/// The latest release of each suite.
fn latest(archive: &Archive<'_>, request: &Request<'_>) -> Result<Vec<Layer>> {
    let latest = |suite: &String| Ok(Layer { known: archive.latest(suite)?, only: None });
    request.source.suites.iter().map(latest).collect()
}

/// The package `name` and what it depends on: a new version may ask for new versions of that. The
/// latest releases must have it.
fn renewed(fresh: &Indices, target: &str, name: &str) -> Result<BTreeSet<String>> {
    let texts: Vec<_> =
        fresh.iter().map(|(_, text, at)| Text { text, release: *at, only: None }).collect();
    let universe = Universe::read(target, &texts).context("the latest index is malformed")?;
    let (mut open, mut names) = (vec![name.to_string()], BTreeSet::new());
    while let Some(name) = open.pop() {
        let Some(id) = universe.find(&name) else { continue };
        let package = universe.get(id);
        if names.insert(name) {
            let versioned = package.depends()?.into_iter().flatten();
            let versioned = versioned.filter(|relation| relation.version.is_some());
            open.extend(versioned.map(|relation| relation.name.to_string()));
        }
    }
    match names.is_empty() {
        true => bail!("the latest releases have no package `{name}`"),
        false => Ok(names),
    }
}

/// An index, its text and the position of its layer.
type Indices = Vec<(lock::Index, String, usize)>;

fn indices(
    archive: &Archive<'_>,
    request: &Request<'_>,
    layers: &[Layer],
    target: &str,
) -> Result<Indices> {
    let mut found = Vec::new();
    for (position, Layer { known, .. }) in layers.iter().enumerate() {
        for component in request.components() {
            let name = format!("{component}/binary-{target}/Packages");
            let Some((pin, text)) = archive.index(known, &name)? else {
                bail!("the release of `{}` has no index {name}", known.pin.suite);
            };
            found.push((pin, text, position));
            if known.release.separate_all {
                let name = format!("{component}/binary-all/Packages");
                let all = archive.index(known, &name)?;
                found.extend(all.map(|(pin, text)| (pin, text, position)));
            }
        }
    }
    Ok(found)
}

struct Found<'a> {
    request: &'a Request<'a>,
    layers: &'a [Layer],
    wants: &'a [Want],
}

fn add(lock: &mut Lock, universe: &Universe<'_>, chosen: &Selection, found: &Found<'_>) {
    for (id, needs) in chosen {
        let package = universe.get(*id);
        let mut needs: Vec<_> = needs.iter().map(|id| universe.get(*id).name.to_string()).collect();
        needs.sort();
        let asking = found.wants.iter().filter(|want| want.name == package.name);
        let mut why: Vec<_> = asking.map(|want| want.why.clone()).collect();
        why.sort();
        why.dedup();
        lock.packages.push(lock::Package {
            source: found.request.name.into(),
            target: universe.target.clone(),
            name: package.name.into(),
            version: package.version.into(),
            arch: package.arch.into(),
            release: found.layers[package.release].known.pin.id.clone(),
            path: package.path.into(),
            size: package.expected.size,
            sha256: package.expected.sha256,
            needs,
            why,
        });
    }
}
