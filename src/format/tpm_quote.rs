//! Quotes of a TPM: `TPMS_ATTEST` of type quote (TCG «Trusted Platform Module Library» part 2,
//! revision 1.59, sections 10.12.8 and 10.12.1), big-endian, alone or within a `TPM2B_ATTEST`.

use alloc::format;
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// TPM_GENERATED_VALUE, which no key of a TPM signs but for the TPM itself.
const GENERATED: [u8; 4] = [0xff, b'T', b'C', b'G'];

/// TPM_ST_ATTEST_QUOTE.
const QUOTE: [u8; 2] = [0x80, 0x18];

/// Selections of banks in one quote; the registry has fewer hashes.
const MAX_BANKS: u32 = 16;

/// A quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What the asker wanted to be bound to it.
    pub extra: Vec<u8>,
    /// Version of the TPM's firmware.
    pub firmware: u64,
    /// Banks by identifier, each with its PCRs.
    pub selected: Vec<(u16, Vec<u32>)>,
    /// Digest over the values of the selected PCRs.
    pub digest: Vec<u8>,
}

/// Where the quote starts: behind the size of a `TPM2B_ATTEST`, if there is one.
fn start(bytes: &[u8]) -> Option<usize> {
    let at = |offset: usize| {
        bytes.get(offset..offset + 4) == Some(&GENERATED)
            && bytes.get(offset + 4..offset + 6) == Some(&QUOTE)
    };
    [0, 2].into_iter().find(|offset| at(*offset))
}

/// True if `bytes` start with a quote.
pub fn is_quote(bytes: &[u8]) -> bool {
    start(bytes).is_some()
}

/// Parses a quote.
///
/// # Errors
/// The bytes end too early, or are no quote.
pub fn parse(bytes: &[u8]) -> Result<Quote> {
    let offset = start(bytes).ok_or_else(|| Error::Value {
        what: "magic and type of the TPM's attestation",
        offset: 0,
        found: format!("{:02x?}", bytes.get(..6).unwrap_or(bytes)),
        expected: "ff544347 8018 (a quote)".into(),
    })?;
    let mut r = Reader::at(bytes, offset);
    r.take(6, "magic and type")?;
    sized(&mut r, "qualified signer")?;
    let extra = sized(&mut r, "extra data")?.to_vec();
    r.take(17, "clock")?;
    let firmware = u64::from_be_bytes(r.array("firmware version")?);
    let offset = r.offset();
    let count = u32::from_be_bytes(r.array("number of PCR selections")?);
    if count > MAX_BANKS {
        let (what, found) = ("number of PCR selections", format!("{count}"));
        return Err(Error::Value { what, offset, found, expected: format!("at most {MAX_BANKS}") });
    }
    let selected = (0..count).map(|_| selection(&mut r)).collect::<Result<_>>()?;
    let digest = sized(&mut r, "PCR digest")?.to_vec();
    Ok(Quote { extra, firmware, selected, digest })
}

/// Bytes with their length before them.
fn sized<'a>(r: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8]> {
    let length = u16::from_be_bytes(r.array(what)?);
    r.take(length.into(), what)
}

/// Hash, number of bytes, and a bit for each PCR.
fn selection(r: &mut Reader<'_>) -> Result<(u16, Vec<u32>)> {
    let hash = u16::from_be_bytes(r.array("hash of a PCR selection")?);
    let size = r.u8("size of a PCR selection")?;
    let bits = r.take(size.into(), "PCR selection")?;
    let set =
        |pcr: &u32| bits.get(*pcr as usize / 8).is_some_and(|byte| byte >> (pcr % 8) & 1 == 1);
    Ok((hash, (0..8 * u32::from(size)).filter(set).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tpm2_quote writes the message, by the specification's tables.
    fn quote() -> Vec<u8> {
        let mut bytes = [&GENERATED[..], &QUOTE, &[0, 2, 7, 7], &[0, 3, 1, 2, 3]].concat();
        bytes.extend([0; 17]);
        bytes.extend(0x2024_u64.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 0x0b, 3, 0x11, 0x02, 0]);
        bytes.extend([0, 4, 9, 9, 9, 9]);
        bytes
    }

    #[test]
    fn what_was_selected_and_its_digest() {
        let parsed = parse(&quote()).expect("a quote");
        assert_eq!((parsed.extra, parsed.firmware), (alloc::vec![1, 2, 3], 0x2024));
        assert_eq!(parsed.selected, [(0x0b, alloc::vec![0, 4, 9])]);
        assert_eq!(parsed.digest, [9; 4]);
        let wrapped = [&[0, 58][..], &quote()].concat();
        assert!(is_quote(&wrapped) && parse(&wrapped).is_ok());
        for length in 6..quote().len() {
            let error = parse(&quote()[..length]);
            assert!(matches!(error, Err(Error::Truncated { .. })), "{length}");
        }
        assert!(parse(b"\xffTCG\x80\x17").is_err());
    }
}
