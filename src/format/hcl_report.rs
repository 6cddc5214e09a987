//! Azure's wrapping of a report: what its paravisor keeps in NV index 0x01400001 of the virtual TPM.
//!
//! Microsoft openvmm, `openhcl/underhill_attestation` (`AttestReport`): a header of 32 bytes, the
//! hardware report in 1184 bytes whatever the TEE, then run-time data whose digest is the start of
//! the hardware report's REPORTDATA.

use super::{Reader, Result};

/// Signature of the header, as stored.
const SIGNATURE: &[u8; 4] = b"HCLA";

/// Bytes kept for the hardware report.
const HARDWARE: usize = 1184;

/// A wrapped report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrapped<'a> {
    /// Version of the wrapping.
    pub version: u32,
    /// Which hardware report: 2 SEV-SNP, 4 TDX (a TDREPORT).
    pub kind: u32,
    /// The hardware report.
    pub hardware: &'a [u8],
    /// Claims that the paravisor makes, JSON; REPORTDATA starts with their digest.
    pub claims: &'a [u8],
}

/// True if `bytes` start with the signature of the wrapping.
pub fn is_wrapped(bytes: &[u8]) -> bool {
    bytes.starts_with(SIGNATURE)
}

/// Parses the wrapping.
///
/// # Errors
/// The bytes end too early.
pub fn parse(bytes: &[u8]) -> Result<Wrapped<'_>> {
    let mut r = Reader::new(bytes);
    r.take(SIGNATURE.len(), "signature of the wrapped report")?;
    let version = r.u32("version of the wrapped report")?;
    r.take(24, "header of the wrapped report")?;
    let hardware = r.take(HARDWARE, "hardware report")?;
    r.take(8, "size and version of the run-time data")?;
    let kind = r.u32("type of the hardware report")?;
    r.u32("type of the digest")?;
    let length = r.u32("length of the claims")?;
    let claims = r.take(usize::try_from(length).unwrap_or(usize::MAX), "claims")?;
    Ok(Wrapped { version, kind, hardware, claims })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Error;

    #[test]
    fn the_hardware_report_and_the_claims() {
        let mut bytes = alloc::vec![0; 32];
        bytes[..8].copy_from_slice(b"HCLA\x02\0\0\0");
        bytes.extend([7; HARDWARE]);
        for word in [0u32, 1, 2, 1, 2] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(b"{}");
        assert!(is_wrapped(&bytes));
        let wrapped = parse(&bytes).expect("a wrapped report");
        assert_eq!((wrapped.version, wrapped.kind), (2, 2));
        assert_eq!((wrapped.hardware, wrapped.claims), (&[7; HARDWARE][..], &b"{}"[..]));
        for length in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..length]), Err(Error::Truncated { .. })), "{length}");
        }
    }
}
