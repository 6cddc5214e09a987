//! The message of the Reference Value Provider Service (CoCo trustee, `rvps/src/lib.rs`) under the
//! names that trustee's default CPU policy queries (`ear_default_policy_cpu.rego`, 0.17 to 0.21).
//!
//! The policy fails silently on a value of the wrong shape: a rule written `x in …` needs a list,
//! one written `x == …` a scalar. [`NAMES`] says which name is which.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Document, Machine, Result};
use crate::digest::base64;

/// Version of the message; trustee compares it for equality.
pub const MESSAGE_VERSION: &str = "0.1.0";

/// What is sent to RVPS: `payload` is the base64 form of what the extractor `kind` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// Whether a policy compares with `in` or with `==`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any of a list.
    List,
    /// The one value.
    Scalar,
}

/// A name that the default policy queries.
pub struct Name {
    /// The name.
    pub name: &'static str,
    /// How the policy compares.
    pub shape: Shape,
    /// The value in one machine's measurement, in the encoding of the verifier's claim.
    pub of: fn(&Machine) -> Option<Value>,
}

/// Names whose values come out of a build, in the order of the policy.
pub const NAMES: &[Name] = &[
    Name {
        name: "snp_launch_measurement",
        shape: Shape::List,
        of: |m| of(m, "sev-snp", "measurement"),
    },
    Name { name: "mr_td", shape: Shape::List, of: |m| of(m, "tdx", "mrtd") },
    Name { name: "rtmr_1", shape: Shape::List, of: |m| of(m, "tdx", "rtmr1") },
    Name { name: "rtmr_2", shape: Shape::List, of: |m| of(m, "tdx", "rtmr2") },
];

fn of(machine: &Machine, tee: &str, register: &str) -> Option<Value> {
    let value = machine.registers.get(register).filter(|_| machine.tee == tee);
    value.map(|value| json!(value))
}

/// The flat payload of the `sample` extractor: name to value.
pub fn values(document: &Document) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for name in NAMES {
        let found: BTreeSet<String> = document
            .machines
            .iter()
            .filter_map(name.of)
            .filter_map(|value| value.as_str().map(str::to_string))
            .collect();
        if !found.is_empty() {
            values.insert(name.name.to_string(), json!(found));
        }
    }
    values
}

/// The message that registers every value of `document`.
///
/// # Errors
/// The document does not check.
pub fn message(document: &Document) -> Result<Message> {
    document.check()?;
    Ok(Message::new("sample", json!(values(document)).to_string().as_bytes()))
}
