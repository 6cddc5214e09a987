//! Opening a header by its key, as `pvimg info --hdr-key` does.

use alloc::string::ToString as _;

use aes_gcm::aead::AeadInPlace as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};

use crate::format::se_header::Header;
use crate::format::{Error, Reader, Result};

/// What the encrypted part says, but for the two keys in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// PSW with which the guest starts: mask and address.
    pub psw: (u64, u64),
    /// Secret control flags.
    pub scf: u64,
}

/// Opens `header` with `key`; its tag vouches for all of it.
///
/// # Errors
/// The key is another one, or the header was changed.
pub fn open(header: &Header, key: &[u8; 32]) -> Result<Opened> {
    let mut area = header.encrypted;
    let opened = Aes256Gcm::new(key.into()).decrypt_in_place_detached(
        &header.fixed.iv.into(),
        &header.authenticated(),
        &mut area,
        &header.tag.into(),
    );
    opened.map_err(|_| Error::Value {
        what: "header tag",
        offset: header.authenticated().len() + area.len(),
        found: "one that this key does not make".to_string(),
        expected: "the tag of the header under its own key".to_string(),
    })?;
    let (_, numbers) = area.split_at(32 + 64);
    let mut numbers = Reader::new(numbers);
    let mut next = || numbers.array("encrypted area").map(u64::from_be_bytes);
    Ok(Opened { psw: (next()?, next()?), scf: next()? })
}
