//! SHA-256 in the lock: `"sha256:…"`.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

use crate::digest::Sha256;

const PREFIX: &str = "sha256:";

pub(super) fn serialize<S: Serializer>(digest: &Sha256, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{PREFIX}{digest}"))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text.strip_prefix(PREFIX);
    let digits = digits.ok_or_else(|| D::Error::custom(format!("`{text}` has no `{PREFIX}`")))?;
    digits.parse().map_err(D::Error::custom)
}
