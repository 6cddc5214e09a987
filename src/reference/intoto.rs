//! An in-toto Statement (v1) with SLSA provenance (v1): what was built, from what, by what.
//!
//! Subjects are the artifacts and the canonical document itself; resolved dependencies are the
//! materials of the lock. It carries no time and no name of a machine: a rebuild gives the same.

use serde::Serialize;
use serde_json::{Value, json};

use super::emitter::pretty;
use super::{Document, Emitted, Emitter, Error, Material, Recipe, Result, json};
use crate::digest::Sha256;

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "in-toto",
    about: "in-toto Statement with SLSA v1 provenance, unsigned; `publish --key` signs it (DSSE)",
    file: "provenance.json",
    media_type: "application/vnd.in-toto+json",
    make: |document, _| Ok(Emitted::sure(pretty(&statement(document)?)?)),
};

/// Says what the parameters of a build mean.
const BUILD_TYPE: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/publish.md#build-type");

#[derive(Serialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Value,
}

/// in-toto ResourceDescriptor v1.
#[derive(Serialize)]
struct Resource {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: Value,
}

fn statement(document: &Document) -> Result<Statement> {
    let recipe = built(document, "provenance")?;
    let text = document.to_text()?;
    let mut subject: Vec<_> =
        document.artifacts.iter().map(|a| resource(&a.name, None, &a.sha256)).collect();
    let values = Sha256::of(text.as_bytes()).to_string();
    subject.push(resource(json::EMITTER.file, None, &values));
    subject.sort_by(|a, b| a.name.cmp(&b.name));
    let dependency = |m: &Material| resource(&m.name, Some(m.purl()), &m.sha256);
    let dependencies: Vec<_> = document.materials.iter().map(dependency).collect();
    Ok(Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject,
        predicate_type: "https://slsa.dev/provenance/v1",
        predicate: json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "recipe": recipe.name, "arch": recipe.arch, "epoch": recipe.epoch,
                    "recipeSha256": recipe.sha256, "lockSha256": recipe.lock_sha256,
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {
                    "id": env!("CARGO_PKG_REPOSITORY"),
                    "version": {"guestsmith": document.tool},
                },
            },
        }),
    })
}

fn resource(name: &str, uri: Option<String>, sha256: &str) -> Resource {
    Resource { name: name.to_string(), uri, digest: json!({"sha256": sha256}) }
}

/// The recipe of a document that came out of a build.
pub(super) fn built<'a>(document: &'a Document, what: &str) -> Result<&'a Recipe> {
    document.recipe.as_ref().ok_or_else(|| Error::Empty {
        what: format!("build to write {what} of"),
        why: "these values were measured from files; take the reference-values.json of a build"
            .to_string(),
    })
}
