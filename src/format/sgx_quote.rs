//! SGX quotes of version 3, with an ECDSA key (Intel «SGX ECDSA QuoteLibReference DCAP API» appendix
//! A.4), and the report of an enclave in them (Intel SDM volume 3D, table «Layout of REPORT»).

use super::tdx_quote::SignatureData;
use super::{Error, Reader, Result};

/// Bytes of the header and of the report of an enclave.
const HEADER: usize = 48;
/// Bytes of the report of an enclave.
const REPORT: usize = 384;

/// A quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Measurement of the enclave.
    pub mr_enclave: [u8; 32],
    /// Digest of the key that signed it.
    pub mr_signer: [u8; 32],
    /// ATTRIBUTES: flags and XFRM.
    pub attributes: [u64; 2],
    /// Number of the product.
    pub isv_prod_id: u16,
    /// Security version of the enclave.
    pub isv_svn: u16,
    /// What the enclave asked to be bound to it.
    pub report_data: [u8; 64],
    /// The bytes that the signature covers.
    pub signed: &'a [u8],
    /// The signature's data.
    pub signature: &'a [u8],
}

/// True if `bytes` start as such a quote.
pub fn is_quote(bytes: &[u8]) -> bool {
    // Version 3, key type 2, no TEE type: that of SGX.
    bytes.starts_with(&[3, 0, 2, 0, 0, 0, 0, 0]) && bytes.len() > HEADER + REPORT
}

/// Parses a quote.
///
/// # Errors
/// The bytes end too early, or are no such quote.
pub fn parse(bytes: &[u8]) -> Result<Quote<'_>> {
    if !is_quote(bytes) {
        let why = "it must start with version 3 and key type 2".into();
        return Err(Error::Missing { what: "header of an SGX quote", why });
    }
    let mut r = Reader::at(bytes, HEADER);
    r.take(16 + 4 + 12 + 16, "CPUSVN to ISVEXTPRODID")?;
    let attributes = [r.u64("ATTRIBUTES")?, r.u64("XFRM")?];
    let mr_enclave = r.array("MRENCLAVE")?;
    r.take(32, "reserved")?;
    let mr_signer = r.array("MRSIGNER")?;
    r.take(32 + 64, "CONFIGID")?;
    let (isv_prod_id, isv_svn) = (r.u16("ISVPRODID")?, r.u16("ISVSVN")?);
    r.take(2 + 42 + 16, "ISVFAMILYID")?;
    let report_data = r.array("REPORTDATA")?;
    let signed = bytes.get(..r.offset()).unwrap_or_default();
    let length = r.u32("length of the signature")?;
    let signature = r.take(usize::try_from(length).unwrap_or(usize::MAX), "signature")?;
    Ok(Quote {
        mr_enclave,
        mr_signer,
        attributes,
        isv_prod_id,
        isv_svn,
        report_data,
        signed,
        signature,
    })
}

impl<'a> Quote<'a> {
    /// The parts of the signature: as in a TDX quote of version 4, without the wrapping.
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn signature_data(&self) -> Result<SignatureData<'a>> {
        let mut r = Reader::new(self.signature);
        let (signature, attestation_key) = (r.array("signature")?, r.array("attestation key")?);
        SignatureData::enclave(&mut r, signature, attestation_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_stands_in_its_place() {
        let mut bytes = alloc::vec![0; HEADER + REPORT + 4];
        bytes[..4].copy_from_slice(&[3, 0, 2, 0]);
        let fields: [(usize, usize, u8); 5] =
            [(64, 32, 1), (128, 32, 2), (256, 2, 3), (258, 2, 4), (320, 64, 5)];
        for (at, length, value) in fields {
            bytes[HEADER + at..HEADER + at + length].fill(value);
        }
        let quote = parse(&bytes).expect("a quote");
        assert_eq!((quote.mr_enclave, quote.mr_signer), ([1; 32], [2; 32]));
        assert_eq!((quote.isv_prod_id, quote.isv_svn), (0x0303, 0x0404));
        assert_eq!((quote.report_data, quote.signed.len()), ([5; 64], HEADER + REPORT));
        bytes[HEADER + REPORT + 3] = 0x7f; // a signature of 2 GiB
        assert!(matches!(parse(&bytes), Err(Error::Truncated { .. })));
    }
}
