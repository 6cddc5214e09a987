//! A release in a directory: its files, and what its reference values say.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::{Facts, Inspection, document, recognise};
use crate::publish::verify_bundle;

/// Tells what is in the bundle in `directory`.
///
/// # Errors
/// It is no bundle, or cannot be read.
pub fn directory(directory: &Path) -> anyhow::Result<Inspection> {
    let found = verify_bundle(directory, None)?;
    let mut size = 0;
    let mut files = Vec::new();
    for name in &found.names {
        let path = directory.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        size += bytes.len();
        let about = recognise(&bytes).map_or("another file", |row| row.about);
        let facts = Facts::default().with("path", name.as_str()).with("size", bytes.len());
        files.push(facts.with("is", about));
    }
    let values = fs::read(directory.join("reference-values.json"))?;
    let facts = Facts::default()
        .with("files", files)
        .with("problems", found.problems)
        .with("signature", "not checked here: `guestsmith verify`")
        .with("reference_values", document::inspect(&values)?);
    Ok(Inspection { format: "bundle", about: "release bundle", size, facts })
}
