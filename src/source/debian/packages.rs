//! Locks the packages of one source of a recipe.

use anyhow::{Context as _, Result, anyhow, bail};

use super::archive::{Archive, Known, warn_of_older};
use super::resolve::{self, Selection};
use super::universe::Universe;
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
    let known = releases(archive, request)?;
    let indices = indices(archive, request, &known, target)?;
    let texts: Vec<_> =
        indices.iter().map(|(_, text, release)| (text.as_str(), *release)).collect();
    let suites = request.source.suites.join(", ");
    let universe = Universe::read(target, &texts)
        .with_context(|| format!("the index of packages of `{}` is malformed", request.name))?;
    let chosen = resolve::resolve(&universe, wants).map_err(|error| {
        anyhow!(error)
            .context(format!("`{}` ({suites}) for {target} cannot give all packages", request.name))
    })?;
    add(lock, &universe, &chosen, &Found { request, known: &known, wants });
    lock.indices.extend(indices.iter().map(|(pin, ..)| pin.clone()));
    lock.releases.extend(known.into_iter().map(|known| known.pin));
    Ok(())
}

type Indices = Vec<(lock::Index, String, usize)>;

fn indices(
    archive: &Archive<'_>,
    request: &Request<'_>,
    known: &[Known],
    target: &str,
) -> Result<Indices> {
    let mut found = Vec::new();
    for (position, known) in known.iter().enumerate() {
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
    known: &'a [Known],
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
            release: found.known[package.release].pin.id.clone(),
            path: package.path.into(),
            size: package.expected.size,
            sha256: package.expected.sha256,
            needs,
            why,
        });
    }
}
