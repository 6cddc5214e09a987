//! A file at a URL, by the hash that the recipe states.

use anyhow::{Context as _, Result, bail};

use super::Resolver;
use crate::digest::Sha256;
use crate::lock::{File, Lock};
use crate::recipe::Source;
use crate::store::location::Location;

/// Most bytes of an archive.
const MAX_SIZE: u64 = 4 << 30;

/// Locks the file: fetches it, because only then its size is known.
///
/// # Errors
/// It cannot be fetched, or is not what the recipe says.
pub fn lock(r: &Resolver<'_>, name: &str, source: &Source, lock: &mut Lock) -> Result<()> {
    let Source::Archive(archive) = source else { return Ok(()) };
    let text = archive.sha256.strip_prefix("sha256:").unwrap_or(&archive.sha256);
    let sha256: Sha256 = text.parse().context("its `sha256`")?;
    let location = Location::parse(&r.world.mirrors.rewritten(&archive.url))?;
    let bytes = match r.world.store.get(&sha256)? {
        Some(bytes) => bytes,
        None => {
            let bytes = r.world.client.read(&location, MAX_SIZE)?;
            bytes.with_context(|| format!("there is no {location}"))?
        }
    };
    let found = Sha256::of(&bytes);
    if found != sha256 {
        bail!("{location} has SHA-256 {found}, the recipe expects {sha256}");
    }
    r.world.store.put(&bytes)?;
    let file = archive.url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    lock.files.push(File {
        source: name.into(),
        name: file.into(),
        version: None,
        release: None,
        path: None,
        size: u64::try_from(bytes.len())?,
        sha256,
    });
    Ok(())
}
