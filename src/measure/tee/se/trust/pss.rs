//! RSASSA-PSS (RFC 8017, sections 8.1.2 and 9.1.2), with the parameters that stand beside the
//! algorithm's identifier (RFC 4055, section 3.1).

use alloc::vec::Vec;

use num_bigint::BigUint;
use x509_cert::der::asn1::{ContextSpecific, ObjectIdentifier};
use x509_cert::der::{self, Decode as _, Encode as _, Reader as _, SliceReader, TagNumber};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// `id-RSASSA-PSS`, and `id-mgf1`, the only mask generation function.
pub(super) const PSS: &str = "1.2.840.113549.1.1.10";
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");

/// What `RSASSA-PSS-params` state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The hash, of the message and of the mask alike.
    pub(super) hash: ObjectIdentifier,
    /// Bytes of salt.
    pub(super) salt: usize,
}

impl Parameters {
    /// Those of an algorithm identifier. None where they are left out, which means SHA-1; or name
    /// different hashes, or another mask or trailer.
    pub(super) fn of(algorithm: &AlgorithmIdentifierOwned) -> Option<Self> {
        let bytes = algorithm.parameters.as_ref()?.to_der().ok()?;
        let mut reader = SliceReader::new(&bytes).ok()?;
        type Tagged = ContextSpecific<AlgorithmIdentifierOwned>;
        let (hash, mask, salt, trailer) = reader
            .sequence(|reader| {
                let hash = Tagged::decode_explicit(reader, TagNumber::N0)?;
                let mask = Tagged::decode_explicit(reader, TagNumber::N1)?;
                let salt = ContextSpecific::<u16>::decode_explicit(reader, TagNumber::N2)?;
                let trailer = ContextSpecific::<u8>::decode_explicit(reader, TagNumber::N3)?;
                Ok::<_, der::Error>((hash, mask, salt, trailer))
            })
            .ok()?;
        let (hash, mask) = (hash?.value.oid, mask?.value);
        let inner = mask.parameters.as_ref()?.to_der().ok()?;
        let inner = AlgorithmIdentifierOwned::from_der(&inner).ok()?;
        let known = mask.oid == MGF1 && inner.oid == hash;
        let trailer = trailer.is_none_or(|trailer| trailer.value == 1);
        let salt = salt.map_or(20, |salt| salt.value.into());
        (known && trailer).then_some(Self { hash, salt })
    }
}

/// Whether `signature` is one of a message whose hash is `digest`, by the key `(modulus, exponent)`.
pub(super) fn verifies(
    (modulus, exponent): &(BigUint, BigUint),
    hash: fn(&[u8]) -> Vec<u8>,
    salt: usize,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    let bits = usize::try_from(modulus.bits()).unwrap_or(0).saturating_sub(1);
    let opened = BigUint::from_bytes_be(signature).modpow(exponent, modulus).to_bytes_be();
    let (length, width) = (bits.div_ceil(8), digest.len());
    let (Some(filling), Some(masked)) =
        (length.checked_sub(opened.len()), length.checked_sub(width + 1))
    else {
        return false;
    };
    let encoded = [alloc::vec![0; filling], opened].concat();
    let (Some((block, [tail @ .., 0xbc])), true) =
        (encoded.split_at_checked(masked), signature.len() == bits.div_ceil(8).max(length))
    else {
        return false;
    };
    let unused = 0xff_u8.checked_shr(u32::try_from(8 * length - bits).unwrap_or(8)).unwrap_or(0);
    let mut block: Vec<u8> =
        block.iter().zip(mask(hash, tail, masked)).map(|(a, b)| a ^ b).collect();
    let Some(first) = block.first_mut() else { return false };
    let clear = encoded.first().is_some_and(|byte| byte & !unused == 0);
    *first &= unused;
    let Some(mark) = masked.checked_sub(salt + 1) else { return false };
    let (zeros, rest) = block.split_at(mark);
    let [1, salt @ ..] = rest else { return false };
    let again = hash(&[&[0; 8], digest, salt].concat());
    clear && zeros.iter().all(|byte| *byte == 0) && again == tail
}

/// MGF1 (RFC 8017, appendix B.2.1).
fn mask(hash: fn(&[u8]) -> Vec<u8>, seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::new();
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        mask.extend(hash(&[seed, &counter.to_be_bytes()].concat()));
    }
    mask.truncate(length);
    mask
}
