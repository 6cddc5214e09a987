//! CoRIM, the concise reference integrity manifest (draft-ietf-rats-corim-10), unsigned.
//!
//! One CoMID; in it one reference triple a machine, and in that one measurement a register with a
//! text key: what belongs together stays together, and trustee's extractor (which skips integrity
//! registers silently) stores each under `guestsmith/RECIPE/MACHINE/REGISTER/digests`.

use std::collections::BTreeMap;

use ciborium::Value as Cbor;
use serde_json::{Value, json};

use super::cbor::{encode, map, tag};
use super::emitter::pretty;
use super::rvps::Message;
use super::{Document, Emitted, Emitter, Machine, Result};
use crate::digest::unhex;

/// The row of the unsigned CoRIM.
pub(super) const EMITTER: Emitter = Emitter {
    name: "corim",
    about: "CoRIM (CBOR), unsigned; `publish --key` signs it",
    file: "reference-values.corim",
    media_type: "application/rim+cbor",
    make: |document, _| Ok(Emitted::sure(unsigned(document)?)),
};

/// The row of the same, as a message for RVPS.
pub(super) const RVPS: Emitter = Emitter {
    name: "rvps-corim",
    about: "message for trustee's RVPS (0.20 and later) that carries the CoRIM",
    file: "rvps-corim.json",
    media_type: "application/vnd.coco.rvps.message+json",
    make: |document, _| {
        let content = pretty(&Message::new("corim", &unsigned(document)?))?;
        let warning = "values that RVPS takes from a CoRIM are called \
                       VENDOR/MODEL/KEY/digests: the default policy never asks for them";
        Ok(Emitted { content, warnings: vec![warning.to_string()] })
    },
};

/// Tags of draft-ietf-rats-corim-10 section 4.1 and 5.1.4.5.1.
const UNSIGNED_CORIM: u64 = 501;
const COMID: u64 = 506;
const BYTES: u64 = 560;

/// Vendor of the class: who says what these registers hold.
const VENDOR: &str = "guestsmith";

/// The unsigned CoRIM of `document`, deterministically encoded.
///
/// # Errors
/// A register is not hexadecimal.
pub(super) fn unsigned(document: &Document) -> Result<Vec<u8>> {
    let triples = document.machines.iter().map(|machine| triple(document.name(), machine));
    let comid = map([
        (1, map([(0, Cbor::from(format!("guestsmith/{}", document.name())))])), // tag identity
        (4, map([(0, Cbor::Array(triples.collect::<Result<_>>()?))])),          // reference triples
    ]);
    let id = match &document.recipe {
        Some(recipe) => format!("guestsmith/{}/{}", recipe.name, recipe.lock_sha256),
        None => "guestsmith".to_string(),
    };
    wrap(&id, None, &comid)
}

/// A CoRIM map around one CoMID.
pub(super) fn wrap(id: &str, profile: Option<&str>, comid: &Cbor) -> Result<Vec<u8>> {
    let tags = Cbor::Array(vec![tag(COMID, Cbor::Bytes(encode(comid)?))]);
    let corim = match profile {
        Some(uri) => map([(0, id.into()), (1, tags), (3, tag(32, uri.into()))]), // 32: RFC 8949, URI
        None => map([(0, id.into()), (1, tags)]),
    };
    encode(&tag(UNSIGNED_CORIM, corim))
}

/// An environment that is a class with vendor and model.
pub(super) fn environment(vendor: &str, model: &str) -> Cbor {
    map([(0, map([(1, vendor.into()), (2, model.into())]))])
}

/// A measurement: text key, one value.
pub(super) fn measurement(key: &str, value: (u64, Cbor)) -> Cbor {
    map([(0, key.into()), (1, map([value]))])
}

/// Number of the hash of that width in IANA's Named Information Hash Algorithm registry.
fn algorithm(width: usize) -> Option<u64> {
    match width {
        32 => Some(1), // sha-256
        48 => Some(7), // sha-384
        64 => Some(8), // sha-512
        _ => None,
    }
}

/// The digests of a measurement: one, with its algorithm.
pub(super) fn digest(bytes: Vec<u8>) -> Option<(u64, Cbor)> {
    let algorithm = algorithm(bytes.len())?;
    Some((2, Cbor::Array(vec![Cbor::Array(vec![algorithm.into(), Cbor::Bytes(bytes)])])))
}

fn triple(recipe: &str, machine: &Machine) -> Result<Cbor> {
    let mut measurements = Vec::new();
    for (register, value) in &machine.registers {
        let bytes = unhex(value).map_err(|error| super::Error::Text(error.to_string()))?;
        let value = digest(bytes.clone()).filter(|_| is_digest(machine, bytes.len()));
        let value = value.unwrap_or_else(|| (4, tag(BYTES, Cbor::Bytes(bytes))));
        measurements.push(measurement(claim(register), value));
    }
    let model = format!("{recipe}/{}", slug(machine));
    Ok(Cbor::Array(vec![environment(VENDOR, &model), Cbor::Array(measurements)]))
}

/// What trustee's extractor makes of the CoRIM: name to value (`rvps/src/extractors/corim/mod.rs`).
///
/// # Errors
/// The document does not check.
pub fn values(document: &Document) -> Result<BTreeMap<String, Value>> {
    let document = document.canonical()?;
    let mut values = BTreeMap::new();
    for machine in &document.machines {
        let path = format!("{VENDOR}/{}/{}", document.name(), slug(machine));
        for (register, value) in &machine.registers {
            let path = format!("{path}/{}", claim(register));
            match is_digest(machine, value.len() / 2) {
                true => values.insert(format!("{path}/digests"), json!([value])),
                false => values.insert(format!("{path}/raw_bytes"), json!(value)),
            };
        }
    }
    Ok(values)
}

/// SM3 has no number in the registry, and SE's values are no plain digests.
fn is_digest(machine: &Machine, width: usize) -> bool {
    !["csv", "se"].contains(&machine.tee.as_str()) && algorithm(width).is_some()
}

/// The name of a register as verifiers write it.
fn claim(register: &str) -> &str {
    match register {
        "mrtd" => "mr_td",
        "rtmr0" => "rtmr_0",
        "rtmr1" => "rtmr_1",
        "rtmr2" => "rtmr_2",
        "rtmr3" => "rtmr_3",
        other => other,
    }
}

/// A machine's label in the characters that every storage of trustee takes as a key
/// (`deps/key-value-storage/src/lib.rs`: letters, digits, `-`, `_`, `.`, `/`).
fn slug(machine: &Machine) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_./".contains(c) { c } else { '-' };
    machine.label().replace(' ', "/").chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::*;
    use crate::digest::hex;

    #[test]
    fn a_corim_starts_as_the_draft_says_and_is_deterministic() {
        let bytes = unsigned(&document().canonical().expect("canonical")).expect("a CoRIM");
        // 501({0: "guestsmith", 1: [506(h'…')]})
        assert!(hex(&bytes).starts_with("d901f5a2006a6775657374736d6974680181d901fa59"));
    }

    #[test]
    fn every_register_has_its_own_path() {
        let bytes = unsigned(&document().canonical().expect("canonical")).expect("a CoRIM");
        let corim: Cbor = ciborium::from_reader(&bytes[..]).expect("CBOR");
        let Cbor::Tag(501, corim) = corim else { panic!("no tag 501") };
        let tags = corim.as_map().expect("map")[1].1.as_array().expect("tags").clone();
        let Cbor::Tag(506, comid) = &tags[0] else { panic!("no tag 506") };
        let comid = comid.as_bytes().expect("bytes");
        let comid: Cbor = ciborium::from_reader(&comid[..]).expect("CBOR");
        let triples = comid.as_map().expect("map")[1].1.as_map().expect("map")[0].1.clone();
        let mut paths = Vec::new();
        for triple in triples.as_array().expect("triples") {
            let class =
                triple.as_array().expect("pair")[0].as_map().expect("environment")[0].1.clone();
            let model = class.as_map().expect("class")[1].1.as_text().expect("text").to_string();
            for measured in triple.as_array().expect("pair")[1].as_array().expect("list") {
                let key = measured.as_map().expect("map")[0].1.as_text().expect("text");
                paths.push(format!("{model}/{key}"));
            }
        }
        let mut single = paths.clone();
        single.dedup();
        assert_eq!(single, paths);
        assert_eq!(paths[0], "guestsmith/sev-snp/qemu/EPYC-Milan/1/vCPU/measurement");
        assert!(paths.contains(&"guestsmith/tdx/qemu/1/vCPU/rtmr_2".to_string()), "{paths:?}");
    }
}
