//! The message of the Reference Value Provider Service (CoCo trustee, `rvps/src/lib.rs`) with the
//! `sample` extractor's payload: a flat object, name to value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::emitter::pretty;
use super::{Document, Emitted, Emitter, Error, Result, Settings, names};
use crate::digest::base64;

/// The message under the default policy's names.
pub(super) const EMITTER: Emitter = Emitter {
    name: "rvps",
    about: "message for trustee's RVPS under the default policy's names",
    file: "rvps.json",
    media_type: "application/vnd.coco.rvps.message+json",
    make: |document, settings| message_of(names::values(document, settings)?),
};

/// The payload alone.
pub(super) const VALUES: Emitter = Emitter {
    name: "rvps-values",
    about: "the same values as plain JSON, name to value",
    file: "rvps-values.json",
    media_type: "application/json",
    make: |document, settings| {
        let values = names::values(document, settings)?;
        Ok(Emitted { content: pretty(&values.content)?, warnings: values.warnings })
    },
};

/// The message under reference-value URIs (trustee, `rvps/docs/reference-value-uri.md`).
pub(super) const URIS: Emitter = Emitter {
    name: "rvps-uri",
    about: "message for trustee's RVPS under reference-value URIs; needs --release",
    file: "rvps-uri.json",
    media_type: "application/vnd.coco.rvps.message+json",
    make: |document, settings| message_of(uris(document, settings)?),
};

/// Version of the message; trustee compares it for equality.
pub const MESSAGE_VERSION: &str = "0.1.0";

/// What is sent to RVPS: `payload` is the base64 form of what the extractor `kind` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// [`MESSAGE_VERSION`].
    pub version: String,
    /// Extractor that reads the payload: `sample` or `corim`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Standard base64 of the payload.
    pub payload: String,
}

impl Message {
    /// A message whose payload the extractor `kind` reads.
    pub fn new(kind: &str, payload: &[u8]) -> Self {
        let (version, kind) = (MESSAGE_VERSION.to_string(), kind.to_string());
        Self { version, kind, payload: base64(payload) }
    }

    /// A message of the `sample` extractor that registers `values`.
    ///
    /// # Errors
    /// There is no value, or one that would let a policy accept everything or nothing.
    pub fn sample<K: AsRef<str> + Serialize + Ord>(values: &BTreeMap<K, Value>) -> Result<Self> {
        if values.is_empty() {
            let why = "the default policies query none of this document's registers; ship the \
                       policy of `--format rego` instead";
            return Err(Error::Empty { what: "values for RVPS".into(), why: why.into() });
        }
        let hollow = values.iter().find(|(_, value)| is_hollow(value));
        if let Some((name, value)) = hollow {
            let (what, expected) = (name.as_ref().to_string(), "a value".to_string());
            return Err(Error::Value { what, expected, found: value.to_string() });
        }
        let payload = serde_json::to_vec(values).map_err(|error| Error::Text(error.to_string()))?;
        Ok(Self::new("sample", &payload))
    }
}

/// A value that a careless policy lets everything, or nothing, be equal to.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty() || items.iter().any(is_hollow),
        Value::Object(members) => members.is_empty() || members.values().any(is_hollow),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn message_of<K: AsRef<str> + Serialize + Ord>(
    values: Emitted<BTreeMap<K, Value>>,
) -> Result<Emitted> {
    let content = pretty(&Message::sample(&values.content)?)?;
    Ok(Emitted { content, warnings: values.warnings })
}

/// The message that registers every value of `document` under the default policy's names.
///
/// # Errors
/// The document does not check, or holds nothing that the default policies query.
pub fn message(document: &Document) -> Result<Message> {
    Message::sample(&names::values(document, &Settings::default())?.content)
}

/// The values under `rvps:///guestsmith/RECIPE/TEE/NAME:RELEASE`.
///
/// # Errors
/// As [`names::values`], or no release is set.
pub fn uris(document: &Document, settings: &Settings) -> Result<Emitted<BTreeMap<String, Value>>> {
    let release = tag(settings.release.as_deref())?;
    let mut values = names::values(document, settings)?;
    values.warnings.push(
        "reference-value URIs contain `:`, which trustee's LocalFs, Postgres and Redis storages \
         refuse; only Memory and LocalJson take them"
            .to_string(),
    );
    let (mut named, recipe) = (BTreeMap::new(), document.name());
    for (name, value) in &values.content {
        let tee = names::name(name).map_or("any", |row| row.tee);
        named.insert(format!("rvps:///guestsmith/{recipe}/{tee}/{name}:{release}"), value.clone());
    }
    Ok(values.map(|_| named))
}

/// The release that was stated, if it can be the tag of a URI.
///
/// # Errors
/// None was stated, or it cannot.
pub(super) fn tag(release: Option<&str>) -> Result<&str> {
    let sound = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let tag = release.filter(|text| !text.is_empty() && text.chars().all(sound));
    tag.ok_or_else(|| Error::Value {
        what: "the release of reference-value URIs".to_string(),
        expected: "letters, digits, `.`, `-`, `_` (an immutable name, as v1.2.0)".to_string(),
        found: release.unwrap_or("none").to_string(),
    })
}
