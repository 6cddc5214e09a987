//! CoRIM in the profile of Arm CCA realms, `tag:arm.com,2025:cca_realm#1.0.0`, as veraison's corim
//! library checks it (`profiles/cca/realm`): the class of a reference triple is the RIM, its
//! measurements are `cca.rim`, `cca.rem0` to `cca.rem3` and `cca.rpv`.

use ciborium::Value as Cbor;

use super::cbor::{map, tag};
use super::corim::{digest, measurement, wrap};
use super::{Document, Emitted, Emitter, Error, Machine, Result};
use crate::digest::{Sha256, unhex};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "corim-cca",
    about: "CoRIM in Arm's profile for CCA realms, for Veraison",
    file: "cca-realm.corim",
    media_type: "application/rim+cbor",
    make: |document, _| Ok(Emitted::sure(emit(document)?)),
};

const PROFILE: &str = "tag:arm.com,2025:cca_realm#1.0.0";

/// Tag of bytes (draft-ietf-rats-corim-10, `tagged-bytes`).
const BYTES: u64 = 560;

fn emit(document: &Document) -> Result<Vec<u8>> {
    let mut triples: Vec<Cbor> = Vec::new();
    for machine in document.of_tee("cca") {
        let triple = triple(machine)?;
        if !triples.contains(&triple) {
            triples.push(triple);
        }
    }
    if triples.is_empty() {
        let why = "the profile holds Arm CCA realms, and this document has no `cca` machine";
        return Err(Error::Empty { what: "realms".into(), why: why.into() });
    }
    let name = format!("guestsmith/{}", document.name());
    // A tag identity may be 16 bytes: of the name, so that it is the same each time.
    let identity = Sha256::of(name.as_bytes()).0.iter().take(16).copied().collect();
    let comid =
        map([(1, map([(0, Cbor::Bytes(identity))])), (4, map([(0, Cbor::Array(triples))]))]);
    wrap(&name, Some(PROFILE), &comid)
}

/// One realm: its class, and every register.
fn triple(machine: &Machine) -> Result<Cbor> {
    let value = |register: &str| {
        let bytes = machine.registers.get(register).map(|value| unhex(value));
        bytes.transpose().map_err(|error| Error::Text(error.to_string()))
    };
    let rim = value("rim")?.ok_or_else(|| Error::Empty {
        what: format!("`rim` of {}", machine.label()),
        why: "a realm is known by its initial measurement".to_string(),
    })?;
    let class = map([(0, tag(BYTES, Cbor::Bytes(rim)))]);
    let mut measurements = Vec::new();
    for register in ["rim", "rem0", "rem1", "rem2", "rem3"] {
        let digest = value(register)?.and_then(digest);
        measurements.extend(digest.map(|digest| measurement(&format!("cca.{register}"), digest)));
    }
    let rpv = value("rpv")?.map(|rpv| (4, tag(BYTES, Cbor::Bytes(rpv))));
    measurements.extend(rpv.map(|rpv| measurement("cca.rpv", rpv)));
    Ok(Cbor::Array(vec![map([(0, class)]), Cbor::Array(measurements)]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;
    use crate::digest::hex;

    // Bytes of veraison's own example of a valid CoRIM (corim, commit 53b3014e,
    // `cca-realm-valid.cbor`), where it has the same: profile, class, measurements.
    #[test]
    fn a_realm_is_said_as_the_profile_says_it() {
        let rim = "1d1150bb35a9d1f18620a5cc2612e54e70f150b8fa1468939d520269e913d0ff";
        let rpv = hex(b"The quick brown fox jumps over 13 lazy dogs.");
        let registers = [("rim", rim.to_string()), ("rem0", rim.to_string()), ("rpv", rpv)];
        let one = machine("cca", 1, &registers);
        let document = Document::of_machines(vec![one.clone(), one]);
        let bytes = hex(&emit(&document).expect("a CoRIM"));
        let profile = "03d82078207461673a61726d2e636f6d2c323032353a6363615f7265616c6d23312e302e30";
        assert!(bytes.starts_with("d901f5a30075") && bytes.ends_with(profile), "{bytes}");
        let class = format!("8182a100a100d902305820{rim}83");
        assert!(bytes.contains(&class), "one triple: {bytes}");
        assert!(bytes.contains(&format!("a200676363612e72696d01a1028182015820{rim}")));
        assert!(bytes.contains(&format!("a200686363612e72656d3001a1028182015820{rim}")));
        assert!(bytes.contains("a200676363612e72707601a104d90230582c54686520"));
        let none = emit(&Document::of_machines(vec![])).unwrap_err().to_string();
        assert!(none.contains("no `cca` machine"), "{none}");
    }
}
