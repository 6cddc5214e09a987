//! Names of IBM's keys, and how they may differ between a certificate and what it issued.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::name::Name;

/// Attributes of RFC 5280 appendix A.1.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const STATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");

const IBM: &str = "International Business Machines Corporation";
const ARMONK: &str = "Armonk";
const POUGHKEEPSIE: &str = "Poughkeepsie";

/// Type and text of each attribute, in order. Which string type holds the text does not matter.
fn attributes(name: &Name) -> Vec<(ObjectIdentifier, String)> {
    let attributes = name.0.iter().flat_map(|set| set.0.iter());
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    attributes.map(|one| (one.oid, text(one.value.value()))).collect()
}

/// True for the name of a key that signs host-key documents
/// (s390-tools, `is_ibm_signing_cert`): six attributes, all but the unit given.
pub(super) fn is_signing_key(name: &Name) -> bool {
    let attributes = attributes(name);
    let first = |oid| attributes.iter().find(|(own, _)| *own == oid).map(|(_, text)| text.as_str());
    attributes.len() == 6
        && first(COUNTRY) == Some("US")
        && first(STATE) == Some("New York")
        && matches!(first(LOCALITY), Some(ARMONK | POUGHKEEPSIE))
        && first(ORGANIZATION) == Some(IBM)
        && first(COMMON_NAME) == Some(IBM)
        && first(UNIT).is_some_and(|unit| unit.ends_with("Key Signing Service"))
}

/// A name for messages: unit and locality, else the whole.
pub(super) fn label(name: &Name) -> String {
    let attributes = attributes(name);
    let first = |oid| attributes.iter().find(|(own, _)| *own == oid).map(|(_, text)| text.as_str());
    match (first(UNIT), first(LOCALITY)) {
        (Some(unit), Some(locality)) => format!("\u{ab}{unit}, {locality}\u{bb}"),
        _ => format!("\u{ab}{name}\u{bb}"),
    }
}

/// True for equal names, attribute by attribute.
pub(super) fn same(one: &Name, other: &Name) -> bool {
    attributes(one) == attributes(other)
}

/// True for names that are equal whatever the order of their attributes, Armonk and Poughkeepsie
/// being one place: IBM moved, and names in lists and documents still tell the old place
/// (s390-tools, `quirk_crls`).
pub(super) fn same_but_for_locality(one: &Name, other: &Name) -> bool {
    let settled = |name: &Name| {
        let mut attributes = attributes(name);
        for (oid, text) in &mut attributes {
            if *oid == LOCALITY && text == ARMONK {
                POUGHKEEPSIE.clone_into(text);
            }
        }
        attributes
            .sort_by(|(a, text), (b, other)| (a.as_bytes(), text).cmp(&(b.as_bytes(), other)));
        attributes
    };
    settled(one) == settled(other)
}
