//! ID blocks: policies and signatures from anywhere: no panic; a policy's names give the policy
//! back; what is assembled carries the key it was checked with; a signature over other bytes is
//! refused.
#![no_main]

use guestsmith::format::id_block::{IdAuth, IdBlock};
use guestsmith::measure::id_block::{
    Signed, assemble, key_digest, policy, policy_names, public_key,
};
use libfuzzer_sys::fuzz_target;
use p384::ecdsa::{Signature, SigningKey};
use zerocopy::{FromBytes, IntoBytes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = core::str::from_utf8(bytes)
        && let Ok(value) = policy(text)
    {
        assert_eq!(policy(&policy_names(value).join(",")), Ok(value));
    }
    if let Ok((auth, _)) = IdAuth::read_from_prefix(bytes) {
        let _ = key_digest(&auth.author_key);
    }
    let Ok((block, rest)) = IdBlock::read_from_prefix(bytes) else { return };
    // Curve arithmetic is slow: only where a signature from outside has been read.
    let foreign = Signature::from_der(rest).or_else(|_| Signature::from_slice(rest));
    let Ok(foreign) = foreign else { return };
    let key = SigningKey::from_slice(&[7; 48]).expect("a scalar");
    let good = Signed::by(&key, block.as_bytes());
    let auth = assemble(&block, &good, Some(&good));
    assert!(auth.is_err(), "the author signs the key, not the block");
    let auth = assemble(&block, &good, None).expect("its own signature");
    assert_eq!(auth.id_key, public_key(key.verifying_key()));
    let foreign = Signed { signature: foreign, ..good };
    assert!(
        assemble(&block, &foreign, None).is_err()
            || foreign.signature == Signed::by(&key, block.as_bytes()).signature
    );
});
