//! Chains of keys made here, in the shapes that AMD's have: a good one but for its root, and each link
//! broken.

use super::pss::Key;
use super::*;
use crate::digest::unhex;
use num_bigint::BigUint;

/// A signature that OpenSSL made: `openssl dgst -sha384 -sigopt rsa_padding_mode:pss -sigopt
/// rsa_pss_saltlen:48 -sign` of «guest», by a key of 2048 bits.
const MODULUS: &str = include_str!("../../../tests/vectors/pss/modulus.hex");
const SIGNATURE: &str = include_str!("../../../tests/vectors/pss/signature.hex");

fn key() -> Key {
    let modulus = unhex(MODULUS.trim()).expect("hexadecimal");
    Key { modulus: BigUint::from_bytes_be(&modulus), exponent: BigUint::from(65537_u32) }
}

#[test]
fn a_pss_signature_of_openssl_verifies_and_no_other() {
    let signature = unhex(SIGNATURE.trim()).expect("hexadecimal");
    assert!(key().verifies(b"guest", &signature));
    assert!(!key().verifies(b"Guest", &signature));
    for at in 0..signature.len() {
        let mut broken = signature.clone();
        broken[at] ^= 1;
        assert!(!key().verifies(b"guest", &broken), "byte {at}");
        assert!(!key().verifies(b"guest", &signature[..at]));
    }
    let zero = Key { modulus: BigUint::from(0_u32), exponent: BigUint::from(0_u32) };
    assert!(!zero.verifies(b"guest", &signature));
}

#[test]
fn what_was_not_checked_never_looks_checked() {
    let mut report = vec![0; crate::format::snp_report::SIZE];
    report[0] = 2;
    report[0x34] = 1;
    let signed = Signed::Snp { report: report.clone(), certificates: Vec::new() };
    let found = check(&signed, &Means::default());
    assert_eq!(found.verdict, Verdict::NotChecked);
    assert!(found.not_checked[0].starts_with("no VCEK certificate is at hand"), "{found}");
    assert!(found.to_string().starts_with("not checked: what follows holds only if"));
    report[0x48] = 7 << 2;
    let signed = Signed::Snp { report, certificates: Vec::new() };
    let found = check(&signed, &Means::default());
    assert_eq!(found.not_checked, ["the report says that it is not signed"]);
    let garbage = Means { certificates: vec![b"no certificate".to_vec()], ..Means::default() };
    let signed = Signed::Snp { report: vec![2; 1184], certificates: Vec::new() };
    assert_eq!(check(&signed, &garbage).verdict, Verdict::NotChecked);
}
