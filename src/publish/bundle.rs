//! A release in a directory: artifacts, every form of the reference values, checksums, a signature.
//!
//! `SHA256SUMS` is what `sha256sum --check` reads; `SHA256SUMS.sig` is its signature as
//! `cosign verify-blob` reads it. Everything else is covered by the checksums.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::files::{files, place};
use super::key::PublicKey;
use super::{Content, Destination, Report, Target, sign};
use crate::digest::{Sha256, base64};
use crate::reference::{Artifact, Document};
use crate::store::entries;

/// The row of this destination.
pub(super) const DESTINATION: Destination = Destination {
    name: "bundle",
    about: "a release with artifacts, checksums and signature: --to bundle --place DIR --key FILE",
    publish,
};

const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.sig";
const VALUES: &str = "reference-values.json";
const STATEMENT: &str = "provenance.intoto.jsonl";

fn publish(content: &Content, target: &Target) -> Result<Report> {
    let Some(source) = &content.artifacts else {
        bail!("a bundle has the artifacts: name the output directory of `guestsmith build`");
    };
    let mut report = Report::default();
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for artifact in &content.document.artifacts {
        all.push((artifact.name.clone(), self::artifact(source, artifact)?));
    }
    let manifest = source.join("manifest.json");
    if let Ok(bytes) = fs::read(manifest) {
        all.push(("manifest.json".to_string(), bytes));
    }
    all.extend(files(content, &mut report)?.into_iter().map(|file| (file.name, file.bytes)));
    all.sort();
    let sums: String =
        all.iter().map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes))).collect();
    if let Some(key) = &content.key {
        let signature = base64(&key.sign_der(sums.as_bytes()));
        all.push((SIGNATURE.to_string(), signature.into_bytes()));
    }
    all.push((SUMS.to_string(), sums.into_bytes()));
    for (name, bytes) in &all {
        report.note(name, place(Path::new(&target.place), name, bytes, target.dry_run)?);
    }
    Ok(report)
}

/// An artifact of the build in `dir`, checked against what was measured.
pub(super) fn artifact(dir: &Path, artifact: &Artifact) -> Result<Vec<u8>> {
    let path = dir.join(&artifact.name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if Sha256::of(&bytes).to_string() != artifact.sha256 {
        let path = path.display();
        bail!("{path} is not the artifact that was measured: two builds are mixed");
    }
    Ok(bytes)
}

/// What a bundle turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Files that are what the checksums say.
    pub files: usize,
    /// Files that the checksums name, as far as they are there.
    #[serde(skip)]
    pub names: Vec<String>,
    /// Whether the signature was checked with a key.
    pub signed: bool,
    /// What is wrong; nothing if the bundle is good.
    pub problems: Vec<String>,
}

/// Checks the bundle in `dir`, offline: checksums, no file more and none less, the signature where a
/// key is given, and that values, provenance and artifacts speak of one build.
///
/// # Errors
/// The directory is no bundle, or cannot be read.
pub fn verify(dir: &Path, key: Option<&PublicKey>) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let read = |name: &str| {
        fs::read(dir.join(name))
            .with_context(|| format!("cannot read {}", dir.join(name).display()))
    };
    let sums = read(SUMS).context("this is no bundle")?;
    check_sums(dir, &sums, &mut verdict)?;
    if let Some(key) = key {
        verdict.signed = check_signature(&sums, read(SIGNATURE).ok(), key, &mut verdict);
    }
    let text = String::from_utf8(read(VALUES)?).with_context(|| format!("{VALUES} is no text"))?;
    let document = Document::parse(&text).with_context(|| VALUES.to_string())?;
    for artifact in &document.artifacts {
        let found = read(&artifact.name).ok().map(|bytes| Sha256::of(&bytes).to_string());
        if found.as_ref() != Some(&artifact.sha256) {
            verdict
                .problems
                .push(format!("{} is not the artifact that was measured", artifact.name));
        }
    }
    match (read(STATEMENT), key) {
        (Ok(envelope), Some(key)) => check_statement(dir, &envelope, key, &mut verdict),
        (Err(_), Some(_)) => verdict.problems.push(format!("{STATEMENT} is missing")),
        _ => {}
    }
    Ok(verdict)
}

fn check_sums(dir: &Path, sums: &[u8], verdict: &mut Verdict) -> Result<()> {
    let text = std::str::from_utf8(sums).with_context(|| format!("{SUMS} is no text"))?;
    let mut listed: Vec<PathBuf> = vec![SUMS.into(), SIGNATURE.into()];
    for line in text.lines() {
        let Some((digest, name)) = line.split_once("  ") else {
            bail!("{SUMS}: `{line}` is no line of sha256sum");
        };
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            bail!("{SUMS}: {name} points out of the bundle");
        }
        listed.push(name.into());
        verdict.names.extend(dir.join(name).is_file().then(|| name.to_string()));
        match fs::read(dir.join(name)) {
            Ok(bytes) if Sha256::of(&bytes).to_string() == digest => verdict.files += 1,
            Ok(_) => verdict.problems.push(format!("{name} was changed")),
            Err(_) => verdict.problems.push(format!("{name} is missing")),
        }
    }
    for entry in files_below(dir)? {
        if !listed.iter().any(|name| dir.join(name) == entry) {
            let name = entry.strip_prefix(dir).unwrap_or(&entry).display().to_string();
            verdict.problems.push(format!("{name} is not listed in {SUMS}"));
        }
    }
    Ok(())
}

/// Everything below `dir` that is no directory.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in entries::sorted(dir)? {
        match entry.is_dir() && !entry.is_symlink() {
            true => found.extend(files_below(&entry)?),
            false => found.push(entry),
        }
    }
    Ok(found)
}

fn check_signature(
    sums: &[u8],
    signature: Option<Vec<u8>>,
    key: &PublicKey,
    verdict: &mut Verdict,
) -> bool {
    use ::base64::Engine as _;
    let engine = ::base64::engine::general_purpose::STANDARD;
    let Some(signature) = signature else {
        verdict.problems.push(format!("{SIGNATURE} is missing"));
        return false;
    };
    let signature = engine.decode(signature.trim_ascii()).unwrap_or_default();
    let good = key.verifies_der(sums, &signature);
    if !good {
        verdict.problems.push(format!("{SIGNATURE} is not by this key"));
    }
    good
}

/// Every subject of the provenance is a file of the bundle with that digest.
fn check_statement(dir: &Path, envelope: &[u8], key: &PublicKey, verdict: &mut Verdict) {
    let payload = match sign::open_statement(envelope, key) {
        Ok(payload) => payload,
        Err(error) => return verdict.problems.push(format!("{STATEMENT}: {error:#}")),
    };
    let statement: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
    let subjects = statement["subject"].as_array().cloned().unwrap_or_default();
    if subjects.is_empty() {
        verdict.problems.push(format!("{STATEMENT} names no subject"));
    }
    for subject in subjects {
        let name = subject["name"].as_str().unwrap_or_default();
        let digest = subject["digest"]["sha256"].as_str().unwrap_or_default();
        let found = fs::read(dir.join(name)).map(|bytes| Sha256::of(&bytes).to_string());
        if !found.is_ok_and(|found| found == digest) {
            verdict.problems.push(format!("{STATEMENT}: {name} is not the file of this bundle"));
        }
    }
}
