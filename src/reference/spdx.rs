//! A bill of materials in SPDX 2.3 (JSON): the guest, its artifacts, and what they were made from.

use serde_json::{Value, json};

use super::emitter::pretty;
use super::intoto::built;
use super::{Artifact, Document, Emitted, Emitter, Material, Result};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "spdx",
    about: "bill of materials, SPDX 2.3",
    file: "sbom.spdx.json",
    media_type: "application/spdx+json",
    make: |document, _| Ok(Emitted::sure(pretty(&bill(document)?)?)),
};

const GUEST: &str = "SPDXRef-guest";

fn bill(document: &Document) -> Result<Value> {
    let recipe = built(document, "a bill of materials")?;
    let mut packages = vec![json!({
        "SPDXID": GUEST,
        "name": recipe.name,
        "versionInfo": recipe.lock_sha256,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING_SYSTEM",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", GUEST)];
    for artifact in &document.artifacts {
        let package = of_artifact(artifact);
        relations.push(relation(GUEST, "CONTAINS", package["SPDXID"].as_str().unwrap_or_default()));
        packages.push(package);
    }
    for material in &document.materials {
        let package = of_material(material);
        let id = package["SPDXID"].as_str().unwrap_or_default();
        relations.push(relation(GUEST, "GENERATED_FROM", id));
        packages.push(package);
    }
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": recipe.name,
        "documentNamespace":
            format!("{}/spdx/{}/{}", env!("CARGO_PKG_REPOSITORY"), recipe.name, recipe.lock_sha256),
        "creationInfo": {
            "created": recipe.epoch,
            "creators": [format!("Tool: {}", document.tool.replace(' ', "-"))],
        },
        "packages": packages,
        "relationships": relations,
    }))
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn of_artifact(artifact: &Artifact) -> Value {
    json!({
        "SPDXID": id("artifact", &artifact.name, &artifact.sha256),
        "name": artifact.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "FILE",
        "checksums": [{"algorithm": "SHA256", "checksumValue": artifact.sha256}],
    })
}

fn of_material(material: &Material) -> Value {
    let mut package = json!({
        "SPDXID": id(&material.kind, &material.name, &material.sha256),
        "name": material.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "checksums": [{"algorithm": "SHA256", "checksumValue": material.sha256}],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": material.purl(),
        }],
    });
    if let Some(version) = &material.version {
        package["versionInfo"] = json!(version);
    }
    package
}

/// An identifier in the characters that SPDX allows (2.3, section 7.2): letters, digits, `.`, `-`.
/// The digest keeps two versions of a name apart.
fn id(kind: &str, name: &str, sha256: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.chars().map(safe).collect();
    format!("SPDXRef-{kind}-{name}-{}", sha256.get(..12).unwrap_or_default())
}
