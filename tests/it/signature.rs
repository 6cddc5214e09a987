//! What a signature on a release is worth.

use guestsmith::source::debian::date::Time;
use guestsmith::source::debian::keyring::Keyring;
use guestsmith::source::debian::signature::{Judge, SKEW, Signed, verify};
use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;

use super::keys::{Key, Made, sign_by};

const TEXT: &str = "Suite: stable\n- dashed\nDate: today\n";
const NOW: u64 = 1_795_000_000;
const DAY: u64 = 86_400;

fn judged(signed: &str, keys: &[&Key], accept_expired: bool) -> Result<Signed, String> {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.public()).collect();
    let keyring = Keyring::parse(&bytes).expect("keys");
    let judge = Judge { now: Time(NOW), accept_expired };
    verify(signed.as_bytes(), &keyring, judge).map_err(|error| format!("{error:#}"))
}

fn refused(signed: &str, keys: &[&Key]) -> String {
    judged(signed, keys, false).expect_err("refused")
}

#[test]
fn a_sound_signature_holds_and_gives_the_text_that_was_signed() {
    let key = Key::new(NOW - DAY, None);
    let signed = judged(&key.sign(TEXT, NOW - 60), &[&key], false).expect("holds");
    assert_eq!(
        signed,
        Signed { text: TEXT.into(), signers: vec![key.fingerprint()], expired: false }
    );
}

#[test]
fn text_that_was_altered_is_refused_wherever_it_was() {
    let key = Key::new(NOW - DAY, None);
    let signed = key.sign(TEXT, NOW - 60);
    for (from, to) in [("stable", "sid"), ("- - dashed\n", ""), ("Date", "\nDate")] {
        assert!(signed.contains(from), "{from}");
        let error = refused(&signed.replacen(from, to, 1), &[&key]);
        assert!(error.contains("a signature on it is wrong"), "{error}");
    }
    assert!(refused(TEXT, &[&key]).contains("no OpenPGP cleartext signed message"));
    let trailing = format!("{signed}\nSuite: evil\n");
    assert!(judged(&trailing, &[&key], false).map_or(true, |signed| signed.text == TEXT));
}

#[test]
fn only_keys_of_the_keyring_count() {
    let (ours, theirs) = (Key::new(NOW - DAY, None), Key::new(NOW - DAY, None));
    let error = refused(&theirs.sign(TEXT, NOW - 60), &[&ours]);
    assert!(
        error.contains(&format!("the key {} is not in the keyring", theirs.fingerprint())),
        "{error}"
    );
    let made = Made { at: NOW - 60, hash: HashAlgorithm::Sha256 };
    let both = sign_by(TEXT, &[(&theirs, made), (&ours, made)]);
    assert_eq!(judged(&both, &[&ours], false).expect("one holds").signers, [ours.fingerprint()]);
    let two = judged(&both, &[&ours, &theirs], false).expect("both hold").signers;
    assert_eq!(two.len(), 2);
}

#[test]
fn a_revoked_key_never_counts() {
    let key = Key::new(NOW - DAY, None);
    let signed = key.sign(TEXT, NOW - 60);
    let revoked = key.revoked(NOW - 30);
    for accept_expired in [false, true] {
        let error = judged(&signed, &[&revoked], accept_expired).expect_err("refused");
        assert!(error.contains("is by a key that was revoked"), "{error}");
    }
}

#[test]
fn an_expired_key_counts_only_where_that_is_accepted() {
    let key = Key::new(NOW - 10 * DAY, Some(u32::try_from(5 * DAY).expect("small")));
    let signed = key.sign(TEXT, NOW - 8 * DAY);
    let error = refused(&signed, &[&key]);
    assert!(
        error.contains("is by a key that expired at") && error.contains("--accept-expired"),
        "{error}"
    );
    assert!(judged(&signed, &[&key], true).expect("accepted").expired);
    // What it signed after its end is worth nothing, whatever is accepted.
    let late = key.sign(TEXT, NOW - 2 * DAY);
    let error = judged(&late, &[&key], true).expect_err("refused");
    assert!(error.contains("when its key was not valid"), "{error}");
    let early = key.sign(TEXT, NOW - 11 * DAY);
    assert!(judged(&early, &[&key], true).expect_err("refused").contains("was not valid"));
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let key = Key::new(NOW - DAY, None);
    assert!(judged(&key.sign(TEXT, NOW + SKEW), &[&key], false).is_ok());
    let error = refused(&key.sign(TEXT, NOW + SKEW + 1), &[&key]);
    assert!(
        error.contains("is the clock of this machine (2026-11-18T11:06:40Z) right?"),
        "{error}"
    );
}

#[test]
fn weak_digests_and_weak_keys_do_not_count() {
    let key = Key::of_type(KeyType::Rsa(2048), NOW - DAY, None);
    let made = Made { at: NOW - 60, hash: HashAlgorithm::Sha1 };
    let error = refused(&sign_by(TEXT, &[(&key, made)]), &[&key]);
    assert!(error.contains("uses a digest weaker than SHA-256"), "{error}");
    let small = include_bytes!("../vectors/openpgp/rsa1024-key.asc");
    let signed = include_bytes!("../vectors/openpgp/rsa1024-signed.asc");
    let keyring = Keyring::parse(small).expect("a key");
    let judge = Judge { now: Time(NOW), accept_expired: false };
    let error = format!("{:#}", verify(signed, &keyring, judge).expect_err("refused"));
    assert!(error.contains("is by a weak key: 1024 bits RSA"), "{error}");
}

#[test]
fn garbage_is_refused() {
    let key = Key::new(NOW - DAY, None);
    let signed = key.sign(TEXT, NOW - 60);
    for length in (0..signed.len()).step_by(23) {
        assert!(judged(&signed[..length], &[&key], false).is_err(), "cut at {length}");
    }
    let keyring = Keyring::debian().expect("keys");
    let judge = Judge { now: Time(NOW), accept_expired: false };
    assert!(verify(&[0xff; 100], &keyring, judge).is_err());
}
