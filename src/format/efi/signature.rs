//! Signature lists: the value of `PK`, `KEK`, `db` and `dbx` (UEFI 2.10 section 32.4.1).

use alloc::format;
use alloc::vec::Vec;

use crate::format::guid::Guid;
use crate::format::{Error, Reader, Result};

/// `EFI_CERT_X509_GUID`: the signature is a certificate.
pub const CERT_X509: Guid = Guid::of("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");

/// `EFI_CERT_SHA256_GUID`: the signature is the SHA-256 digest of an image.
pub const CERT_SHA256: Guid = Guid::of("c1c41626-504c-4092-aca9-41f936934328");

/// One signature with the list's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Type: [`CERT_X509`], [`CERT_SHA256`], ….
    pub kind: Guid,
    /// `EFI_SIGNATURE_DATA`: owner, then the signature itself.
    pub entry: &'a [u8],
}

impl<'a> Signature<'a> {
    /// The signature without its owner.
    pub fn data(&self) -> &'a [u8] {
        self.entry.get(16..).unwrap_or_default()
    }
}

/// Signatures of all lists in `value`, in order.
///
/// # Errors
/// A list does not fit its sizes.
pub fn signatures(value: &[u8]) -> Result<Vec<Signature<'_>>> {
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < value.len() {
        let mut reader = Reader::at(value, offset);
        let kind = Guid(reader.array("signature list")?);
        let mut number =
            || Ok(usize::try_from(reader.u32("signature list")?).unwrap_or(usize::MAX));
        let (size, header, each) = (number()?, number()?, number()?);
        let entries = size.checked_sub(28).and_then(|rest| rest.checked_sub(header));
        let list = Reader::at(value, offset).take(size, "signature list")?;
        let entries = entries.filter(|entries| each > 16 && entries.is_multiple_of(each));
        if entries.is_none() {
            return Err(Error::Value {
                what: "signature list",
                offset,
                found: format!("{size} bytes, a header of {header}, entries of {each}"),
                expected: "28 bytes, the header and whole entries longer than 16".into(),
            });
        }
        let entries = list.get(28 + header..).unwrap_or_default().chunks_exact(each);
        found.extend(entries.map(|entry| Signature { kind, entry }));
        offset += size;
    }
    Ok(found)
}
