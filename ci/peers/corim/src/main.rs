//! Reads CoRIMs, unsigned or signed, with corim (Microsoft) and corim-rs (veraison), and prints what
//! the second one's types hold: path and digest of every measurement, as trustee's extractor names
//! them (`rvps/src/extractors/corim/mod.rs`).

use std::error::Error;

use ciborium::Value;
use corim_rs::{
    ConciseTagTypeChoice, Corim, ExtensionValue, MeasuredElementTypeChoice, RawValueTypeChoice,
};

/// A time at which nothing has expired: 2026-11-01.
const NOW: i64 = 1_793_491_200;

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        match ciborium::from_reader(&bytes[..])? {
            Value::Tag(18, _) => signed(&path, &bytes)?,
            _ => unsigned(&path, &bytes)?,
        }
    }
    Ok(())
}

fn signed(path: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    use corim::types::signed::decode_and_validate_signed_corim_at;
    let (_, inner) = decode_and_validate_signed_corim_at(bytes, None, NOW)?;
    eprintln!("{path}: signed, {} CoMIDs (corim)", inner.comids.len());
    Ok(())
}

fn unsigned(path: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let (_, comids) = corim::validate::decode_and_validate_at(bytes, NOW)?;
    eprintln!("{path}: {} CoMIDs (corim)", comids.len());
    let corim = Corim::from_cbor(bytes)?;
    for tag in &corim.as_map_ref().tags {
        match tag {
            ConciseTagTypeChoice::Mid(comid) => print(comid.as_ref())?,
            ConciseTagTypeChoice::Extension(ExtensionValue::Bytes(bytes)) => {
                print(&ciborium::from_reader(bytes.as_ref() as &[u8])?)?;
            }
            _ => return Err("a tag that is no CoMID".into()),
        }
    }
    Ok(())
}

fn print(comid: &corim_rs::ConciseMidTag) -> Result<(), Box<dyn Error>> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for triple in comid.triples.reference_triples.iter().flatten() {
        let class = triple.ref_env.class.as_ref().ok_or("an environment without class")?;
        let (vendor, model) = (class.vendor.as_ref(), class.model.as_ref());
        for claim in &triple.ref_claims {
            let Some(MeasuredElementTypeChoice::Tstr(key)) = &claim.mkey else {
                return Err("a measurement without a text key".into());
            };
            let words = [vendor.map(|v| v.to_string()), model.map(|m| m.to_string())];
            let mut path: Vec<_> = words.into_iter().flatten().collect();
            path.push(key.to_string());
            let path = path.join("/");
            for digest in claim.mval.digests.iter().flatten() {
                println!("{path}/digests {}", hex(digest.val.as_ref()));
            }
            if let Some(raw) = &claim.mval.raw
                && let RawValueTypeChoice::TaggedBytes(bytes) = &raw.raw_value
            {
                println!("{path}/raw_bytes {}", hex(bytes.as_slice()));
            }
        }
    }
    Ok(())
}
