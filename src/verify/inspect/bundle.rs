//! A release in a directory: its files, and what its reference values say.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::{Facts, Inspection, document, recognise};

/// Tells what is in the bundle in `directory`, of which these files are listed, and of which these
/// problems are known.
///
/// # Errors
/// A file cannot be read.
pub fn directory(
    directory: &Path,
    names: &[String],
    problems: Vec<String>,
) -> anyhow::Result<Inspection> {
    let mut size = 0;
    let mut files = Vec::new();
    for name in names {
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
        .with("problems", problems)
        .with("signature", "not checked here: `guestsmith verify`")
        .with("reference_values", document::inspect(&values)?);
    Ok(Inspection { format: "bundle", about: "release bundle", size, facts })
}
