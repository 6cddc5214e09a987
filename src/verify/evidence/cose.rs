//! Evidence in COSE (RFC 9052): documents of Nitro enclaves and attestation tokens of CCA.

use anyhow::{Context as _, Result, bail};
use ciborium::Value;

use super::{Evidence, Piece};
use crate::digest::hex;
use crate::reference::compare::Registers;
use crate::verify::inspect::Facts;
use crate::verify::signature::Signed;

/// Keys of a realm's claims (Arm «Realm Management Monitor specification» DEN0137, A7.2.3.1; in a
/// token of CCA, 44241 holds the realm's part and 44234 the platform's).
const REALM_TOKEN: i64 = 44241;
const PERSONALIZATION: i64 = 44235;
const INITIAL: i64 = 44238;
const EXTENSIBLE: i64 = 44239;
const HASH: i64 = 44240;
const CHALLENGE: i64 = 10;

/// Tags of a token of CCA: the collection of DEN0137 before and after it got a number of its own.
const COLLECTIONS: [u64; 2] = [399, 907];

/// True for a COSE_Sign1 (tagged or not) or a token of CCA.
pub(super) fn is_cose(bytes: &[u8]) -> bool {
    // Array of four that starts with the protected header; tag 18 before it; or tag 399 or 907.
    let plain = bytes.starts_with(&[0x84]) && bytes.get(1).is_some_and(|byte| byte >> 5 == 2);
    let tags: [&[u8]; 3] = [&[0xd2, 0x84], &[0xd9, 0x01, 0x8f], &[0xd9, 0x03, 0x8b]];
    plain || tags.iter().any(|tag| bytes.starts_with(tag))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Piece> {
    let value: Value = ciborium::from_reader(bytes).context("the bytes are no CBOR")?;
    if let Value::Tag(tag, inner) = &value
        && COLLECTIONS.contains(tag)
    {
        let realm = get(inner, REALM_TOKEN).context("the token has no realm token (44241)")?;
        let realm = realm.as_bytes().context("the realm token is no byte string")?;
        return realm_token(&ciborium::from_reader(realm.as_slice()).context("the realm token")?);
    }
    let payload = payload(&value)?;
    match (text(&payload, "module_id"), get(&payload, INITIAL)) {
        (Some(_), _) => nitro(bytes, &payload),
        (None, Some(_)) => realm_token(&value),
        _ => bail!("the COSE payload is neither of a Nitro enclave nor of a realm of CCA"),
    }
}

/// The claims in a COSE_Sign1.
fn payload(value: &Value) -> Result<Value> {
    let inner = match value {
        Value::Tag(18, inner) => inner,
        other => other,
    };
    let parts = inner.as_array().filter(|parts| parts.len() == 4).context("no COSE_Sign1")?;
    let payload = parts[2].as_bytes().context("the COSE payload is no byte string")?;
    ciborium::from_reader(payload.as_slice()).context("the COSE payload is no CBOR")
}

fn get(map: &Value, key: i64) -> Option<&Value> {
    let found = |(k, _): &&(Value, Value)| {
        k.as_integer().is_some_and(|number| i128::from(number) == i128::from(key))
    };
    map.as_map()?.iter().find(found).map(|(_, value)| value)
}

fn text<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map()?.iter().find(|(k, _)| k.as_text() == Some(key)).map(|(_, value)| value)
}

/// A realm's claims.
fn realm_token(value: &Value) -> Result<Piece> {
    let claims = payload(value)?;
    let bytes = |key| get(&claims, key).and_then(Value::as_bytes);
    let rim = bytes(INITIAL).context("the realm token has no initial measurement (44238)")?;
    let mut registers: Registers = [("rim".to_string(), rim.clone())].into();
    let extensible = get(&claims, EXTENSIBLE).and_then(Value::as_array);
    for (number, rem) in extensible.into_iter().flatten().enumerate() {
        let rem = rem.as_bytes().context("an extensible measurement is no byte string")?;
        registers.insert(format!("rem{number}"), rem.clone());
    }
    let shown = |key| bytes(key).map(|bytes| hex(bytes));
    let hash = get(&claims, HASH).and_then(Value::as_text);
    Ok(Piece::of(Evidence {
        tee: "cca",
        form: "CCA token",
        registers,
        facts: Facts::default()
            .with_some("hash", hash)
            .with_some("personalization_value", shown(PERSONALIZATION))
            .with_some("challenge", shown(CHALLENGE)),
        warnings: Vec::new(),
        log: None,
        signed: Signed::Unsigned("tokens of CCA are verified by the platform's endorser"),
    }))
}

/// A document of the Nitro security module (AWS «Nitro Enclaves NSM API», attestation process).
fn nitro(document: &[u8], claims: &Value) -> Result<Piece> {
    let pcrs = text(claims, "pcrs").and_then(Value::as_map).context("the document has no PCRs")?;
    let mut registers = Registers::new();
    for (number, value) in pcrs {
        let number = number.as_integer().and_then(|n| u32::try_from(n).ok());
        let number = number.filter(|n| *n < 32).context("a PCR of the document has no number")?;
        let value = value.as_bytes().context("a PCR of the document is no byte string")?;
        registers.insert(format!("pcr{number}"), value.clone());
    }
    let debug = (0..3).all(|n| {
        registers.get(&format!("pcr{n}")).is_some_and(|value| value.iter().all(|byte| *byte == 0))
    });
    let warning = "PCR 0 to 2 are zero: the enclave runs in debug mode, its console is open";
    // Registers that nothing was extended into say nothing.
    registers.retain(|_, value| debug || value.iter().any(|byte| *byte != 0));
    let words = |key| text(claims, key).and_then(Value::as_text).map(str::to_string);
    let shown = |key| text(claims, key).and_then(Value::as_bytes).map(|bytes| hex(bytes));
    let time = text(claims, "timestamp").and_then(Value::as_integer);
    Ok(Piece::of(Evidence {
        tee: "nitro",
        form: "Nitro attestation document",
        registers,
        facts: Facts::default()
            .with_some("module_id", words("module_id"))
            .with_some("digest", words("digest"))
            .with_some("timestamp", time.and_then(|time| u64::try_from(time).ok()))
            .with_some("user_data", shown("user_data"))
            .with_some("nonce", shown("nonce"))
            .with_some("public_key", shown("public_key")),
        warnings: debug.then(|| warning.to_string()).into_iter().collect(),
        log: None,
        signed: Signed::Nitro(document.to_vec()),
    }))
}
