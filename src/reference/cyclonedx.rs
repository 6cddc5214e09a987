//! A bill of materials in CycloneDX 1.6 (JSON): the guest, its artifacts, and what they were made
//! from.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::emitter::pretty;
use super::intoto::built;
use super::uuid::{URL, uuid5};
use super::{Document, Emitted, Emitter, Material, Result};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "cyclonedx",
    about: "bill of materials, CycloneDX 1.6",
    file: "sbom.cdx.json",
    media_type: "application/vnd.cyclonedx+json",
    make: |document, _| Ok(Emitted::sure(pretty(&bill(document)?)?)),
};

fn bill(document: &Document) -> Result<Value> {
    let recipe = built(document, "a bill of materials")?;
    let root = format!("guest/{}", recipe.name);
    // By reference: sorted, and no two components with one.
    let mut components = BTreeMap::new();
    for artifact in &document.artifacts {
        let reference = format!("artifact/{}", artifact.name);
        components.insert(
            reference.clone(),
            json!({
                "type": "file", "bom-ref": reference, "name": artifact.name,
                "hashes": [{"alg": "SHA-256", "content": artifact.sha256}],
            }),
        );
    }
    for material in &document.materials {
        let component = of_material(material);
        components.insert(component["bom-ref"].as_str().unwrap_or_default().to_string(), component);
    }
    let url =
        format!("{}/bom/{}/{}", env!("CARGO_PKG_REPOSITORY"), recipe.name, recipe.lock_sha256);
    let (tool, version) = document.tool.split_once(' ').unwrap_or((&document.tool, ""));
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid5(URL, &url)),
        "version": 1,
        "metadata": {
            "timestamp": recipe.epoch,
            "tools": {"components": [{"type": "application", "name": tool, "version": version}]},
            "component": {
                "type": "operating-system", "bom-ref": root, "name": recipe.name,
                "version": recipe.lock_sha256,
            },
        },
        "components": components.values().collect::<Vec<_>>(),
        "dependencies": [{"ref": root, "dependsOn": components.keys().collect::<Vec<_>>()}],
    }))
}

fn of_material(material: &Material) -> Value {
    let purl = material.purl();
    let digest = material.sha256.get(..12).unwrap_or_default();
    let mut component = json!({
        "type": "library",
        "bom-ref": format!("{purl}#{digest}"),
        "name": material.name,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": material.sha256}],
    });
    if let Some(version) = &material.version {
        component["version"] = json!(version);
    }
    component
}
