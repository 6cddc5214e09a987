//! Every random value of an image, derived from one secret seed and from the image's contents.
//!
//! GCM and XTS break when a key meets the same nonce with other contents. So each value is bound to
//! the digest of all inputs: another input, however small, gives other keys, nonces and tweaks.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use hkdf::Hkdf;
use p521::SecretKey;

use crate::digest::Sha512;
use crate::format::{Error, Result};

/// Secrets of one image. No `Debug`: they are never printed.
#[derive(Clone)]
pub struct Secrets {
    /// Key of the header's encryption.
    pub header_key: [u8; 32],
    /// Key of the components' encryption (XTS).
    pub image_key: [u8; 64],
    /// Customer communication key.
    pub cck: [u8; 32],
    /// Initialisation vector of the header's encryption.
    pub iv: [u8; 12],
    /// The six bytes of each component's tweak, by the component's place.
    pub tweaks: [[u8; 6]; 4],
    /// Customer's private key.
    pub customer: SecretKey,
}

/// Bytes that a seed has at least.
pub const SEED_SIZE: usize = 32;

impl Secrets {
    /// The secrets that `seed` gives an image whose inputs have the digest `inputs`: HKDF-SHA-512
    /// (RFC 5869) with the digest as salt and a label for each value.
    ///
    /// # Errors
    /// A seed of fewer than 32 bytes.
    pub fn derive(seed: &[u8], inputs: &Sha512) -> Result<Self> {
        if seed.len() < SEED_SIZE {
            let (found, expected) = (format!("{} bytes", seed.len()), "at least 32".to_string());
            return Err(Error::Value { what: "seed", offset: 0, found, expected });
        }
        let hkdf = Hkdf::<sha2::Sha512>::new(Some(&inputs.0), seed);
        Ok(Self {
            header_key: expand(&hkdf, "header key", 0),
            image_key: expand(&hkdf, "image key", 0),
            cck: expand(&hkdf, "customer communication key", 0),
            iv: expand(&hkdf, "header iv", 0),
            tweaks: [0, 1, 2, 3].map(|place| expand(&hkdf, "tweak", place)),
            customer: customer(&hkdf)?,
        })
    }
}

fn expand<const N: usize>(hkdf: &Hkdf<sha2::Sha512>, label: &str, number: u8) -> [u8; N] {
    let info: Vec<u8> = [b"guestsmith se 1: ", label.as_bytes(), &[number]].concat();
    let mut value = [0; N];
    // Fails only above 255 * 64 bytes.
    hkdf.expand(&info, &mut value).map(|()| value).unwrap_or(value)
}

/// A scalar below the order of P-521: candidates of 521 bits until one fits, which nearly always is
/// the first.
fn customer(hkdf: &Hkdf<sha2::Sha512>) -> Result<SecretKey> {
    let mut candidates = (0..=u8::MAX).filter_map(|number| {
        let mut scalar: [u8; 66] = expand(hkdf, "customer key", number);
        scalar[0] &= 1;
        SecretKey::from_slice(&scalar).ok()
    });
    let why = || "256 candidates are no scalars of P-521; use another seed".to_string();
    candidates.next().ok_or_else(|| Error::Missing { what: "customer key", why: why() })
}
