//! Locks the files of a Debian source package.

use anyhow::{Context as _, Result, bail};

use super::archive::{Archive, Known};
use super::control::{self, Stanza};
use super::packages::{Request, releases};
use super::relation::compare;
use super::release::checksum;
use crate::lock::{File, Lock};

/// Adds to `lock` the files of the latest version of the source package `package`, under the name
/// `name` of the recipe's source: `.dsc`, upstream's archives and Debian's changes.
///
/// # Errors
/// No suite has such a source package, or its index cannot be had or read.
pub fn lock(
    archive: &Archive<'_>,
    request: &Request<'_>,
    name: &str,
    package: &str,
    lock: &mut Lock,
) -> Result<()> {
    let known = releases(archive, request)?;
    let mut best: Option<(String, Vec<File>)> = None;
    for known in &known {
        for component in request.components() {
            let index = format!("{component}/source/Sources");
            let Some((pin, text)) = archive.index(known, &index)? else {
                bail!("the release of `{}` has no index {index}", known.pin.suite);
            };
            lock.indices.push(pin);
            for stanza in control::stanzas(&text) {
                let stanza = stanza.context("the index of sources is malformed")?;
                let (found, version) = (stanza.get("Package"), stanza.get("Version"));
                let later = |version: &str| {
                    best.as_ref().is_none_or(|(known, _)| compare(version, known).is_gt())
                };
                if let Some(version) = version.filter(|v| found == Some(package) && later(v)) {
                    best = Some((version.into(), files(&stanza, known, name)?));
                }
            }
        }
    }
    let suites = request.source.suites.join(", ");
    let (_, files) = best.with_context(|| format!("{suites} has no source package `{package}`"))?;
    lock.files.extend(files);
    lock.releases.extend(known.into_iter().map(|known| known.pin));
    Ok(())
}

fn files(stanza: &Stanza<'_>, known: &Known, source: &str) -> Result<Vec<File>> {
    let directory = stanza.need("Directory")?;
    let list = stanza.need("Checksums-Sha256")?;
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty());
    let file = |line: &str| {
        let (name, expected) = checksum(line)
            .filter(|(name, _)| !name.contains('/'))
            .with_context(|| format!("`{line}` is no line of Checksums-Sha256"))?;
        let path = format!("{directory}/{name}");
        if !crate::lock::is_relative(&path) {
            bail!("`{path}` leads out of the archive");
        }
        Ok(File {
            source: source.into(),
            name: name.into(),
            version: stanza.get("Version").map(str::to_string),
            release: Some(known.pin.id.clone()),
            path: Some(path),
            size: expected.size,
            sha256: expected.sha256,
        })
    };
    lines.map(file).collect()
}
