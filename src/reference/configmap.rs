//! A Kubernetes ConfigMap whose one file is the storage of trustee's RVPS, for a cluster that is
//! provisioned by its operator instead of through the API.
//!
//! The form changed between versions of trustee, so it is written per named version: from 0.18 on,
//! storage `LocalJson` reads one object, name to URL-safe base64 of a stored `ReferenceValue`
//! (`deps/key-value-storage/src/local_json`, `rvps/src/reference_value.rs`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use super::emitter::pretty;
use super::{Document, Emitted, Emitter, Error, Result, Settings, names};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "configmap",
    about: "ConfigMap for trustee-operator, by version of trustee (--trustee 0.18 to 0.21)",
    file: "configmap.json",
    media_type: "application/json",
    make: emit,
};

/// Versions of trustee whose storage reads this form.
const KNOWN: &[&str] = &["0.18", "0.19", "0.20", "0.21"];

fn emit(document: &Document, settings: &Settings) -> Result<Emitted> {
    check_version(settings.trustee.as_deref())?;
    let expiration = expiration(document)?;
    let values = names::values(document, settings)?;
    let mut stored = BTreeMap::new();
    for (name, value) in &values.content {
        stored.insert(*name, URL_SAFE.encode(reference_value(name, &expiration, value)));
    }
    let file = serde_json::to_string(&stored).map_err(|error| Error::Text(error.to_string()))?;
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rvps-reference-values"},
        "data": {"reference_value": file},
    });
    Ok(Emitted { content: pretty(&map)?, warnings: values.warnings })
}

/// Checks that the storage of that version of trustee reads this form.
///
/// # Errors
/// None was stated, or one that is not known.
pub(super) fn check_version(version: Option<&str>) -> Result<()> {
    match version.is_some_and(|version| KNOWN.contains(&version)) {
        true => Ok(()),
        false => Err(Error::Value {
            what: "version of trustee".to_string(),
            expected: format!("one of {}", KNOWN.join(", ")),
            found: version.unwrap_or("none").to_string(),
        }),
    }
}

fn reference_value(name: &str, expiration: &str, value: &Value) -> String {
    json!({"version": "0.1.0", "name": name, "expiration": expiration, "value": value}).to_string()
}

/// A year after the recipe's epoch. Trustee 0.21 stores this date and never looks at it.
fn expiration(document: &Document) -> Result<String> {
    let epoch = document.recipe.as_ref().map_or("", |recipe| recipe.epoch.as_str());
    let year = epoch.get(..4).and_then(|year| year.parse::<u32>().ok());
    match (year, epoch.get(4..)) {
        (Some(year), Some("-02-29T00:00:00Z")) => Ok(format!("{}-02-28T00:00:00Z", year + 1)),
        (Some(year), Some(rest)) => Ok(format!("{:04}{rest}", year + 1)),
        _ => Err(Error::Empty {
            what: "epoch".to_string(),
            why: "a stored reference value has a date, which is taken from the recipe".to_string(),
        }),
    }
}
