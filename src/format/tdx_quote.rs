//! TDX quotes, versions 4 and 5, and the TDREPORT that a quote is made of.
//!
//! Intel «TDX DCAP Quoting Library API» revision 0.9, appendix A.3 (version 4) and A.4 (version 5);
//! Intel «TDX Module ABI Specification» 348551, section «TDREPORT_STRUCT».

use alloc::string::{String, ToString};

use super::{Error, Reader, Result};

/// QE vendor of Intel, in every quote of its quoting enclave.
const INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// TEE type of TDX in the header of a quote.
const TEE_TDX: u32 = 0x81;

/// Bytes of a TDREPORT.
pub const TDREPORT_SIZE: usize = 1024;

/// What a TD reports of itself; the same in a quote and in a TDREPORT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Td {
    /// Security versions of the TDX module and what it depends on.
    pub tee_tcb_svn: [u8; 16],
    /// Measurement of the TDX module.
    pub mr_seam: [u8; 48],
    /// Signer of the TDX module; zeros for Intel.
    pub mr_signer_seam: [u8; 48],
    /// Attributes of the TDX module.
    pub seam_attributes: [u8; 8],
    /// ATTRIBUTES of the TD.
    pub attributes: u64,
    /// Extended features that the TD may use.
    pub xfam: u64,
    /// Measurement of the TD's initial memory.
    pub mr_td: [u8; 48],
    /// Configuration that the VMM stated.
    pub mr_config_id: [u8; 48],
    /// Owner that the VMM stated.
    pub mr_owner: [u8; 48],
    /// Owner's configuration that the VMM stated.
    pub mr_owner_config: [u8; 48],
    /// Run-time registers.
    pub rtmr: [[u8; 48]; 4],
    /// What the guest asked to be bound to the report.
    pub report_data: [u8; 64],
    /// TEE_TCB_SVN_2 and the measurement of the service TDs (TDX 1.5).
    pub service: Option<([u8; 16], [u8; 48])>,
}

/// A quote, without the insides of its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Version of the layout: 4 or 5.
    pub version: u16,
    /// Type of the attestation key: 2 ECDSA P-256, 3 ECDSA P-384.
    pub key_type: u16,
    /// What the quoting enclave adds of its own.
    pub user_data: [u8; 20],
    /// What the TD reports.
    pub td: Td,
    /// The bytes that the signature covers.
    pub signed: &'a [u8],
    /// Signature, attestation key and its certification, as they stand.
    pub signature: &'a [u8],
    /// The certificates of the platform's key, PEM, if the quote carries them.
    pub pem: Option<&'a str>,
}

/// What a body of type 4 adds to one of type 3, which no register is among: VMID, TD_ID, DEV_INFO, and
/// the service TD and TCB at creation (Intel DCAP `sgx_quote_5.h`, `sgx_report2_body_v1_5_ex_t`).
const EXTENDED: usize = 237;

/// True if `bytes` start with the header of a TDX quote.
pub fn is_quote(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes);
    let version = matches!(r.u16("version"), Ok(4 | 5));
    let _ = r.u16("key type");
    version && r.u32("TEE type") == Ok(TEE_TDX) && bytes.get(12..28) == Some(&INTEL)
}

/// Parses a quote. Bytes behind it are ignored: files pad it to their liking.
///
/// # Errors
/// The bytes end too early, or are no TDX quote of version 4 or 5.
pub fn parse(bytes: &[u8]) -> Result<Quote<'_>> {
    let mut r = Reader::new(bytes);
    let version = expect(r.u16("version of the quote")?, &[4, 5], "version of the quote", 0)?;
    let key_type = r.u16("type of the attestation key")?;
    let tee = r.u32("TEE type of the quote")?;
    expect(tee, &[TEE_TDX], "TEE type of the quote", 4)?;
    r.take(4 + 16, "header of the quote")?;
    let user_data = r.array("user data of the quote")?;
    // Version 4 has bodies of type 2 alone, and does not say so.
    let kind = match version {
        4 => 2,
        _ => {
            let kind = r.u16("type of the quote's body")?;
            r.u32("size of the quote's body")?;
            expect(kind, &[2, 3, 4], "type of the quote's body", 48)?
        }
    };
    let td = body(&mut r, kind >= 3)?;
    if kind == 4 {
        r.take(EXTENDED, "what a body of type 4 adds")?;
    }
    let signed = bytes.get(..r.offset()).unwrap_or_default();
    let length = r.u32("length of the signature")?;
    let signature = r.take(usize::try_from(length).unwrap_or(usize::MAX), "signature")?;
    Ok(Quote { version, key_type, user_data, td, signed, signature, pem: pem(signature) })
}

/// What signs a quote, and what vouches for that (appendix A.3.8 of the Quoting Library API).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureData<'a> {
    /// R and S over the header and the body.
    pub signature: [u8; 64],
    /// The attestation key, X and Y.
    pub attestation_key: [u8; 64],
    /// Report of the quoting enclave, 384 bytes.
    pub enclave_report: &'a [u8],
    /// Signature of it by the platform's key (PCK).
    pub enclave_signature: [u8; 64],
    /// What the quoting enclave binds into its report beside the key.
    pub enclave_data: &'a [u8],
    /// The certificates of the platform's key, PEM, if they are there.
    pub pem: Option<&'a str>,
}

/// Certification data of type 6: a report of the quoting enclave with its own.
const ENCLAVE_REPORT: u16 = 6;

impl<'a> SignatureData<'a> {
    /// What follows the attestation key: report, signature, data, certificates.
    pub(super) fn enclave(
        r: &mut Reader<'a>,
        signature: [u8; 64],
        attestation_key: [u8; 64],
    ) -> Result<Self> {
        let enclave_report = r.take(384, "report of the quoting enclave")?;
        let enclave_signature = r.array("signature of the quoting enclave")?;
        let length = r.u16("length of the quoting enclave's data")?;
        let enclave_data = r.take(length.into(), "data of the quoting enclave")?;
        r.u16("type of the certification data")?;
        let length = r.u32("length of the certification data")?;
        let data = r.take(usize::try_from(length).unwrap_or(usize::MAX), "certification data")?;
        Ok(Self {
            signature,
            attestation_key,
            enclave_report,
            enclave_signature,
            enclave_data,
            pem: pem(data),
        })
    }
}

impl<'a> Quote<'a> {
    /// The parts of the signature.
    ///
    /// # Errors
    /// The bytes end too early, or the certification is of another type.
    pub fn signature_data(&self) -> Result<SignatureData<'a>> {
        let mut r = Reader::new(self.signature);
        let (signature, attestation_key) = (r.array("signature")?, r.array("attestation key")?);
        let offset = r.offset();
        let kind = r.u16("type of the certification data")?;
        expect(kind, &[ENCLAVE_REPORT], "type of the certification data", offset)?;
        r.u32("length of the certification data")?;
        SignatureData::enclave(&mut r, signature, attestation_key)
    }
}

fn expect<T: PartialEq + core::fmt::Display + Copy>(
    found: T,
    allowed: &[T],
    what: &'static str,
    offset: usize,
) -> Result<T> {
    if allowed.contains(&found) {
        return Ok(found);
    }
    let allowed: alloc::vec::Vec<String> = allowed.iter().map(|n| n.to_string()).collect();
    let expected = allowed.join(" or ");
    Err(Error::Value { what, offset, found: found.to_string(), expected })
}

/// The body of a TD 1.0 report, and what TD 1.5 adds.
fn body(r: &mut Reader<'_>, newer: bool) -> Result<Td> {
    let mut td = Td {
        tee_tcb_svn: r.array("TEE_TCB_SVN")?,
        mr_seam: r.array("MRSEAM")?,
        mr_signer_seam: r.array("MRSIGNERSEAM")?,
        seam_attributes: r.array("SEAMATTRIBUTES")?,
        attributes: r.u64("TDATTRIBUTES")?,
        xfam: r.u64("XFAM")?,
        mr_td: r.array("MRTD")?,
        mr_config_id: r.array("MRCONFIGID")?,
        mr_owner: r.array("MROWNER")?,
        mr_owner_config: r.array("MROWNERCONFIG")?,
        rtmr: rtmr(r)?,
        report_data: r.array("REPORTDATA")?,
        service: None,
    };
    if newer {
        td.service = Some((r.array("TEE_TCB_SVN_2")?, r.array("MRSERVICETD")?));
    }
    Ok(td)
}

fn rtmr(r: &mut Reader<'_>) -> Result<[[u8; 48]; 4]> {
    Ok([r.array("RTMR0")?, r.array("RTMR1")?, r.array("RTMR2")?, r.array("RTMR3")?])
}

/// The PEM text in the certification data, wherever its nesting has it: it is text between bytes.
fn pem(signature: &[u8]) -> Option<&str> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let start = signature.windows(BEGIN.len()).position(|window| window == BEGIN)?;
    let text = signature.get(start..)?;
    let end = text.iter().position(|byte| !byte.is_ascii() || *byte == 0).unwrap_or(text.len());
    core::str::from_utf8(text.get(..end)?).ok().map(str::trim_end)
}

/// A TDREPORT: what the TDX module gives to the guest, authenticated for this machine alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the TD reports.
    pub td: Td,
    /// True if the digests in the report are those of its parts.
    pub is_consistent: bool,
}

/// True if `bytes` start as a TDREPORT does, and are as long.
pub fn is_report(bytes: &[u8]) -> bool {
    bytes.len() == TDREPORT_SIZE && bytes.starts_with(&[0x81, 0]) && bytes.get(3) == Some(&0)
}

/// Parses a TDREPORT: REPORTMACSTRUCT (256 bytes), TEE_TCB_INFO (239), 17 reserved, TDINFO (512).
///
/// # Errors
/// The bytes end too early, or the type is not that of TDX.
pub fn parse_report(bytes: &[u8]) -> Result<Report> {
    use crate::digest::Sha384;
    let mut r = Reader::new(bytes);
    expect(r.u8("REPORTTYPE")?, &[0x81], "REPORTTYPE of the TDREPORT", 0)?;
    r.take(31, "REPORTMACSTRUCT")?;
    let hashes: [[u8; 48]; 2] = [r.array("TEE_TCB_INFO_HASH")?, r.array("TEE_INFO_HASH")?];
    let report_data = r.array("REPORTDATA")?;
    r.take(64, "REPORTMACSTRUCT")?;
    let tcb_info = Reader::at(bytes, 256).take(239, "TEE_TCB_INFO")?;
    let td_info = Reader::at(bytes, 512).take(512, "TDINFO")?;
    let is_consistent = hashes == [Sha384::of(tcb_info).0, Sha384::of(td_info).0];
    let (mut tcb, mut td) = (Reader::at(tcb_info, 8), Reader::new(td_info));
    let td = Td {
        tee_tcb_svn: tcb.array("TEE_TCB_SVN")?,
        mr_seam: tcb.array("MRSEAM")?,
        mr_signer_seam: tcb.array("MRSIGNERSEAM")?,
        seam_attributes: tcb.array("SEAMATTRIBUTES")?,
        attributes: td.u64("ATTRIBUTES")?,
        xfam: td.u64("XFAM")?,
        mr_td: td.array("MRTD")?,
        mr_config_id: td.array("MRCONFIGID")?,
        mr_owner: td.array("MROWNER")?,
        mr_owner_config: td.array("MROWNERCONFIG")?,
        rtmr: rtmr(&mut td)?,
        report_data,
        service: None,
    };
    Ok(Report { td, is_consistent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha384;
    use alloc::vec;
    use alloc::vec::Vec;

    fn header(version: u8) -> Vec<u8> {
        let mut bytes = vec![version, 0, 2, 0, 0x81, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(INTEL);
        bytes.extend([9; 20]);
        bytes
    }

    /// A body in which each field is filled with a number of its own, from 1 on.
    fn fields(service: bool) -> Vec<u8> {
        let mut widths = vec![16, 48, 48, 8, 8, 8, 48, 48, 48, 48, 48, 48, 48, 48, 64];
        widths.extend(if service { vec![16, 48] } else { vec![] });
        let filled = widths.iter().zip(1u8..).map(|(width, n)| vec![n; *width]);
        filled.collect::<Vec<_>>().concat()
    }

    fn quote(version: u8, kind: Option<u8>) -> Vec<u8> {
        let mut bytes = header(version);
        let body = fields(kind == Some(3));
        if let Some(kind) = kind {
            bytes.extend([kind, 0]);
            bytes.extend(u32::try_from(body.len()).expect("small").to_le_bytes());
        }
        bytes.extend(body);
        let pem = b"\x05\0-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\0";
        bytes.extend(u32::try_from(pem.len()).expect("small").to_le_bytes());
        bytes.extend(pem);
        bytes
    }

    #[test]
    fn every_field_of_a_quote_stands_in_its_place() {
        for (version, kind) in [(4, None), (5, Some(2)), (5, Some(3))] {
            let mut bytes = quote(version, kind);
            bytes.extend([0; 100]); // padding
            assert!(is_quote(&bytes));
            let quote = parse(&bytes).expect("a quote");
            assert_eq!((quote.version, quote.key_type), (version.into(), 2));
            assert_eq!(quote.user_data, [9; 20]);
            assert_eq!((quote.td.tee_tcb_svn, quote.td.mr_seam), ([1; 16], [2; 48]));
            assert_eq!(
                (quote.td.attributes, quote.td.xfam),
                (0x0505050505050505, 0x0606060606060606)
            );
            assert_eq!((quote.td.mr_td, quote.td.mr_config_id), ([7; 48], [8; 48]));
            assert_eq!((quote.td.mr_owner, quote.td.mr_owner_config), ([9; 48], [10; 48]));
            assert_eq!(quote.td.rtmr, [[11; 48], [12; 48], [13; 48], [14; 48]]);
            assert_eq!(quote.td.report_data, [15; 64]);
            assert_eq!(quote.td.service, (kind == Some(3)).then_some(([16; 16], [17; 48])));
            assert!(quote.pem.is_some_and(|pem| pem.ends_with("-----END CERTIFICATE-----")));
        }
    }

    #[test]
    fn what_is_no_quote_or_ends_early_is_refused() {
        let bytes = quote(5, Some(3));
        for length in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..length]), Err(Error::Truncated { .. })), "{length}");
        }
        let broken = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            parse(&bytes).map(drop)
        };
        assert!(matches!(broken(0, 3), Err(Error::Value { offset: 0, .. })));
        assert!(matches!(broken(4, 0), Err(Error::Value { offset: 4, .. })));
        assert!(matches!(broken(48, 1), Err(Error::Value { offset: 48, .. })));
        // A signature of 2 GiB that isn't there.
        assert!(matches!(broken(54 + 648 + 3, 0x7f), Err(Error::Truncated { .. })));
    }

    #[test]
    fn a_report_is_read_and_its_digests_are_checked() {
        let mut bytes = vec![0; TDREPORT_SIZE];
        bytes[0] = 0x81;
        bytes[128..192].fill(3); // REPORTDATA
        bytes[264..280].fill(1); // TEE_TCB_SVN
        bytes[528..576].fill(7); // MRTD
        bytes[720..768].fill(11); // RTMR0
        bytes[864..912].fill(14); // RTMR3
        let hashes = [Sha384::of(&bytes[256..495]).0, Sha384::of(&bytes[512..]).0].concat();
        bytes[32..128].copy_from_slice(&hashes);
        assert!(is_report(&bytes));
        let report = parse_report(&bytes).expect("a report");
        assert!(report.is_consistent);
        assert_eq!((report.td.tee_tcb_svn, report.td.mr_td), ([1; 16], [7; 48]));
        assert_eq!((report.td.rtmr[0], report.td.rtmr[3]), ([11; 48], [14; 48]));
        assert_eq!(report.td.report_data, [3; 64]);
        bytes[530] ^= 1;
        assert!(parse_report(&bytes).is_ok_and(|report| !report.is_consistent));
    }
}
