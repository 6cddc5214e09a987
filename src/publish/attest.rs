//! The word of an independent rebuilder: an in-toto statement that artifacts, built again from the
//! lock, came out the same bits; and the rule of how many such words make a value acceptable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::key::{Key, PublicKey};
use super::sign;
use crate::reference::Document;

/// Type of the predicate: what was rebuilt, from what, and how it came out.
pub const PREDICATE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/rebuild/v1");

/// The signed statement of a rebuild, as one line of a DSSE envelope: its subjects are the artifacts
/// that came out as released.
///
/// # Errors
/// The document is of no build, or the statement cannot be signed.
pub fn statement(
    document: &Document,
    same: &[String],
    other: &[String],
    key: &Key,
) -> Result<Vec<u8>> {
    let recipe = document.recipe.as_ref().context("these values are of no build")?;
    let subject: Vec<_> = document
        .artifacts
        .iter()
        .filter(|artifact| same.contains(&artifact.name))
        .map(|artifact| json!({"name": artifact.name, "digest": {"sha256": artifact.sha256}}))
        .collect();
    ensure!(!subject.is_empty(), "no artifact came out as released: there is nothing to attest");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": PREDICATE,
        "predicate": {
            "recipe": recipe.name,
            "recipeSha256": recipe.sha256,
            "lockSha256": recipe.lock_sha256,
            "tool": document.tool,
            "reproduced": other.is_empty(),
            "different": other,
        },
    });
    sign::statement(&serde_json::to_vec(&statement)?, key)
}

/// Who may vouch for a build, as `rebuilders.yaml` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuilders {
    /// The rebuilders by name.
    pub rebuilders: BTreeMap<String, Rebuilder>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuilder {
    /// File of their public key (PEM), beside the list.
    pub key: PathBuf,
    /// File of their statement, beside the list; where there is none they have not spoken.
    pub attestation: PathBuf,
}

/// What a rebuilder says of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// Who.
    pub rebuilder: String,
    /// True if their statement is signed by their key and confirms every artifact.
    pub confirms: bool,
    /// Why not, where it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Rebuilders {
    /// Reads the list; paths in it count from `directory`.
    ///
    /// # Errors
    /// It is no list of rebuilders.
    pub fn parse(text: &str, directory: &Path) -> Result<Self> {
        let mut list: Self = serde_saphyr::from_str(text).context("no list of rebuilders")?;
        for rebuilder in list.rebuilders.values_mut() {
            rebuilder.key = directory.join(&rebuilder.key);
            rebuilder.attestation = directory.join(&rebuilder.attestation);
        }
        Ok(list)
    }

    /// What each says of `document`.
    ///
    /// # Errors
    /// A key cannot be read, or two rebuilders have the same one, so that one would count twice.
    pub fn words(&self, document: &Document) -> Result<Vec<Word>> {
        let mut keys = Vec::new();
        let mut words = Vec::new();
        for (name, rebuilder) in &self.rebuilders {
            let path = rebuilder.key.display();
            let pem = std::fs::read_to_string(&rebuilder.key);
            let key = PublicKey::from_pem(&pem.with_context(|| format!("cannot read {path}"))?)
                .with_context(|| format!("{path} is no public key"))?;
            let id = key.id()?;
            ensure!(
                !keys.contains(&id),
                "{name} has the key of another rebuilder: one word is one"
            );
            keys.push(id);
            let why = confirms(rebuilder, &key, document).err().map(|error| format!("{error:#}"));
            words.push(Word { rebuilder: name.clone(), confirms: why.is_none(), why });
        }
        Ok(words)
    }
}

/// That the statement is signed by `key`, of this lock, and names every artifact as it is.
fn confirms(rebuilder: &Rebuilder, key: &PublicKey, document: &Document) -> Result<()> {
    let envelope = std::fs::read(&rebuilder.attestation).context("has not spoken")?;
    let statement = sign::open_statement(&envelope, key)?;
    let statement: Value =
        serde_json::from_slice(&statement).context("the statement is no JSON")?;
    let kind = statement["predicateType"].as_str().unwrap_or_default();
    ensure!(kind == PREDICATE, "the statement is no rebuild but {kind:?}");
    let predicate = &statement["predicate"];
    ensure!(predicate["reproduced"] == true, "says that the build did not come out the same");
    let recipe = document.recipe.as_ref().context("these values are of no build")?;
    let lock = predicate["lockSha256"].as_str().unwrap_or_default();
    ensure!(
        lock == recipe.lock_sha256,
        "speaks of the lock {lock}, this is {}",
        recipe.lock_sha256
    );
    ensure!(!document.artifacts.is_empty(), "there are no artifacts to vouch for");
    let subjects = statement["subject"].as_array().cloned().unwrap_or_default();
    for artifact in &document.artifacts {
        let named = subjects.iter().any(|subject| {
            subject["name"] == artifact.name.as_str()
                && subject["digest"]["sha256"] == artifact.sha256.as_str()
        });
        ensure!(named, "does not name {} with this digest", artifact.name);
    }
    Ok(())
}
