//! A crate of the Rust registry, by the hash that the registry's index states.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::Resolver;
use crate::digest::Sha256;
use crate::lock::{File, Lock};
use crate::recipe::{CrateSource, Source};
use crate::store::Store;
use crate::store::http::Client;
use crate::store::location::Location;

/// The registry's index and its files (the Cargo book, «Registry Index»).
const INDEX: &str = "https://index.crates.io";
const FILES: &str = "https://static.crates.io/crates";

/// Most bytes of an entry of the index, and of a crate.
const MAX_ENTRY: u64 = 64 << 20;
const MAX_CRATE: u64 = 256 << 20;

/// Crates that are fetched at once.
const AT_ONCE: usize = 8;

/// One version in the index.
#[derive(Deserialize)]
struct Version {
    vers: String,
    cksum: String,
}

/// Locks the crate.
///
/// # Errors
/// The registry has no such version, or gives other bytes than it states.
pub fn lock(r: &Resolver<'_>, name: &str, source: &Source, lock: &mut Lock) -> Result<()> {
    let Source::Crate(source) = source else { return Ok(()) };
    let sha256 = checksum(r, source)?;
    let place = places(source)?.remove(0);
    let bytes = match r.world.store.get(&sha256)? {
        Some(bytes) => bytes,
        None => r.world.client.read(&place, MAX_CRATE)?.with_context(|| format!("no {place}"))?,
    };
    if Sha256::of(&bytes) != sha256 {
        bail!("{place} has SHA-256 {}, the index states {sha256}", Sha256::of(&bytes));
    }
    r.world.store.put(&bytes)?;
    lock.files.push(File {
        source: name.into(),
        name: format!("{}-{}.crate", source.name, source.version),
        version: Some(source.version.clone()),
        release: None,
        path: None,
        size: u64::try_from(bytes.len())?,
        sha256,
    });
    Ok(())
}

fn checksum(r: &Resolver<'_>, source: &CrateSource) -> Result<Sha256> {
    let place = Location::parse(INDEX)?.join(&index_path(&source.name)?);
    let entry = r.world.client.read(&place, MAX_ENTRY)?;
    let entry = entry.with_context(|| format!("the registry has no crate `{}`", source.name))?;
    let versions = entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for line in versions {
        let version: Version = serde_json::from_slice(line).context("the registry's index")?;
        if version.vers == source.version {
            return version.cksum.parse().context("the registry's index");
        }
    }
    bail!("the registry has no version {} of the crate `{}`", source.version, source.name)
}

/// Puts the crates with those hashes into the store that are not there yet, many at once.
///
/// # Errors
/// The registry does not have one, or gives other bytes. What was fetched by then stays.
pub fn fetch(store: &Store, client: &Client, crates: &[(CrateSource, Sha256)]) -> Result<()> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while let Some((source, sha256)) = crates.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = fetch_one(store, client, source, sha256) {
                next.store(crates.len(), Ordering::Relaxed); // the others need not begin more
                let what = format!("cannot fetch the crate {} {}", source.name, source.version);
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.context(what));
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn fetch_one(store: &Store, client: &Client, source: &CrateSource, sha256: &Sha256) -> Result<()> {
    if store.contains(sha256) {
        return Ok(());
    }
    let place = places(source)?.remove(0);
    let bytes = client.read(&place, MAX_CRATE)?.with_context(|| format!("no {place}"))?;
    if Sha256::of(&bytes) != *sha256 {
        bail!("{place} has SHA-256 {}, Cargo.lock states {sha256}", Sha256::of(&bytes));
    }
    store.put(&bytes).map(drop)
}

/// The Cargo book, «Index files»: lower case, in directories by its first letters.
fn index_path(name: &str) -> Result<String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(sound) {
        bail!("`{name}` is no name of a crate");
    }
    let name = name.to_ascii_lowercase();
    Ok(match name.len() {
        1 => format!("1/{name}"),
        2 => format!("2/{name}"),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    })
}

/// Where the crate is.
///
/// # Errors
/// Never for a name that the index has.
pub fn places(source: &CrateSource) -> Result<Vec<Location>> {
    let CrateSource { name, version } = source;
    Ok(vec![Location::parse(FILES)?.join(&format!("{name}/{name}-{version}.crate"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_the_index() {
        for (name, path) in
            [("a", "1/a"), ("Ab", "2/ab"), ("abc", "3/a/abc"), ("serde_json", "se/rd/serde_json")]
        {
            assert_eq!(index_path(name).expect("sound"), path);
        }
        assert!(index_path("../x").is_err() && index_path("").is_err() && index_path("é").is_err());
    }
}
