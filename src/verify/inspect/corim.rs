//! CoRIM, signed or not (draft-ietf-rats-corim-10): who signed it, and which values it vouches for.

use anyhow::{Context as _, bail, ensure};
use ciborium::Value;

use super::{Fact, Facts};
use crate::digest::hex;

/// Tags of CoRIM section 4 and of COSE (RFC 9052 section 2).
const UNSIGNED: u64 = 501;
const COMID: u64 = 506;
const SIGN1: u64 = 18;

/// Content type of a signed CoRIM.
const CONTENT: &[u8] = b"application/rim+cbor";

pub(super) fn is_corim(bytes: &[u8]) -> bool {
    let signed = || bytes.first() == Some(&0xd2) && memchr::memmem::find(bytes, CONTENT).is_some();
    bytes.starts_with(&[0xd9, 0x01, 0xf5]) || signed()
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let mut rest = bytes;
    let value: Value = ciborium::from_reader(&mut rest).context("no CBOR")?;
    ensure!(rest.is_empty(), "{} bytes behind it", rest.len());
    match value {
        Value::Tag(SIGN1, parts) => {
            let parts = parts.as_array().filter(|parts| parts.len() == 4);
            let parts = parts.context("a COSE_Sign1 has four parts")?;
            let part =
                |at: usize| parts.get(at).and_then(Value::as_bytes).context("a part is no bytes");
            let payload: Value = ciborium::from_reader(&part(2)?[..]).context("its payload")?;
            let facts = Facts::default().with("signed", signer(part(0)?)?);
            manifest(facts.with("signature", "not checked here"), &payload)
        }
        other => manifest(Facts::default().with("signed", "no"), &other),
    }
}

/// Who signed, and how: the protected header's algorithm, and the signer that its meta data names.
fn signer(protected: &[u8]) -> anyhow::Result<String> {
    let header: Value = ciborium::from_reader(protected).context("its protected header")?;
    let algorithm = match get(&header, 1).and_then(Value::as_integer).map(i128::from) {
        Some(-7) => "ES256".to_string(),
        Some(-8) => "EdDSA".to_string(),
        Some(-35) => "ES384".to_string(),
        Some(other) => format!("algorithm {other}"),
        None => "an unknown algorithm".to_string(),
    };
    let meta = get(&header, 8).and_then(Value::as_bytes);
    let meta: Option<Value> = meta.and_then(|bytes| ciborium::from_reader(&bytes[..]).ok());
    let name = meta.as_ref().and_then(|meta| get(meta, 0)).and_then(|signer| get(signer, 0));
    Ok(match name.and_then(Value::as_text) {
        Some(name) => format!("by {name}, {algorithm}"),
        None => format!("by somebody unnamed, {algorithm}"),
    })
}

fn manifest(facts: Facts, value: &Value) -> anyhow::Result<Facts> {
    let Value::Tag(UNSIGNED, corim) = value else { bail!("no CoRIM: tag {UNSIGNED} is missing") };
    let tags = get(corim, 1).and_then(Value::as_array).context("it has no tags")?;
    let tags: Vec<Facts> = tags.iter().map(tag).collect::<anyhow::Result<_>>()?;
    Ok(facts
        .with_some("id", get(corim, 0).map(text))
        .with_some("profile", get(corim, 3).map(text))
        .with("tags", tags))
}

/// A CoMID, or another tag by its number.
fn tag(value: &Value) -> anyhow::Result<Facts> {
    let Value::Tag(number, contents) = value else { bail!("a tag of the CoRIM has no number") };
    if *number != COMID {
        return Ok(Facts::default().with("tag", *number));
    }
    let bytes = contents.as_bytes().context("a CoMID is no bytes")?;
    let comid: Value = ciborium::from_reader(&bytes[..]).context("a CoMID")?;
    let id = get(&comid, 1).and_then(|identity| get(identity, 0));
    let triples = get(&comid, 4).and_then(Value::as_map).into_iter().flatten();
    let mut facts = Facts::default().with("tag", "CoMID").with_some("id", id.map(text));
    for (kind, list) in triples {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        facts = match kind.as_integer().map(i128::from) {
            Some(0) => facts.with("reference_values", list.iter().map(triple).collect::<Vec<_>>()),
            _ => facts.with(&format!("triples_{}", text(kind)), list.len()),
        };
    }
    Ok(facts)
}

/// An environment, and the measurements that are expected of it.
fn triple(triple: &Value) -> Fact {
    let parts = triple.as_array().map(Vec::as_slice).unwrap_or_default();
    let class = parts.first().and_then(|environment| get(environment, 0));
    let names = [1, 2].into_iter().filter_map(|key| get(class?, key)).map(text);
    let environment = names.collect::<Vec<_>>().join(" ");
    let measured = parts.get(1).and_then(Value::as_array).into_iter().flatten();
    measured
        .fold(Facts::default().with("environment", environment), |facts, measurement| {
            let name = get(measurement, 0).map_or_else(|| "value".to_string(), text);
            facts.with_some(&name, get(measurement, 1).map(|values| Fact::from(value(values))))
        })
        .into()
}

/// The values of a measurement: its digests, or what it has instead.
fn value(values: &Value) -> String {
    let digests = get(values, 2).and_then(Value::as_array).into_iter().flatten();
    let digest = |digest: &Value| digest.as_array()?.get(1).map(text);
    let digests: Vec<_> = digests.filter_map(digest).collect();
    match digests.is_empty() {
        false => digests.join(", "),
        true => text(values),
    }
}

/// The value under a key that is a number.
fn get(map: &Value, key: i128) -> Option<&Value> {
    let is = |known: &Value| known.as_integer().is_some_and(|number| i128::from(number) == key);
    map.as_map()?.iter().find(|(known, _)| is(known)).map(|(_, value)| value)
}

/// A value in words.
fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Integer(number) => i128::from(*number).to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Tag(_, inner) => text(inner),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Map(items) => {
            let item = |(key, value): &(Value, Value)| format!("{}: {}", text(key), text(value));
            items.iter().map(item).collect::<Vec<_>>().join(", ")
        }
        _ => "?".to_string(),
    }
}
