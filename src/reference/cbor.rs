//! CBOR in core deterministic encoding (RFC 8949 section 4.2.1): definite lengths, shortest
//! integers, and maps in the order of their integer keys, which callers keep by [`map`].

use ciborium::Value;

use super::{Error, Result};

/// A map with non-negative integer keys, sorted by them.
pub(super) fn map<const N: usize>(mut entries: [(u64, Value); N]) -> Value {
    entries.sort_by_key(|(key, _)| *key);
    Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// `value` under a tag.
pub(super) fn tag(number: u64, value: Value) -> Value {
    Value::Tag(number, Box::new(value))
}

/// The bytes of `value`.
pub(super) fn encode(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let written = ciborium::into_writer(value, &mut bytes);
    written.map(|()| bytes).map_err(|error| Error::Text(error.to_string()))
}
