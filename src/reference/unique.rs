//! Maps whose names may stand once: JSON lets a name stand twice, and a reader that takes the last
//! would hide the other value.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// Reads a map and refuses a name that stands twice; for `#[serde(deserialize_with)]`.
///
/// # Errors
/// It is no map, or a name stands twice.
pub(super) fn map<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(Once(PhantomData))
}

struct Once<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Once<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, T>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("`{name}` stands twice")));
            }
            map.insert(name, value);
        }
        Ok(map)
    }
}

/// Values by the default policy's names, out of a JSON text.
///
/// # Errors
/// The text is no JSON object, or a name stands twice.
pub fn values(text: &str) -> super::Result<BTreeMap<String, serde_json::Value>> {
    #[derive(serde::Deserialize)]
    #[serde(transparent)]
    struct Values(#[serde(deserialize_with = "map")] BTreeMap<String, serde_json::Value>);
    let values = serde_json::from_str(text);
    values.map(|Values(map)| map).map_err(|error| super::Error::Text(error.to_string()))
}
