//! SEV-SNP attestation report, as the guest gets it from the firmware or from configfs-tsm.
//!
//! AMD 56860 «SEV Secure Nested Paging Firmware ABI Specification» revision 1.58, section 7.3,
//! table «ATTESTATION_REPORT Structure»; the table of certificates that may follow a report is that
//! of AMD 56421 «GHCB Standardization» section 4.1.8.1.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Bytes of a report, its signature included.
pub const SIZE: usize = 0x4a0;

/// Bytes of a report that its signature covers.
pub const SIGNED: usize = 0x2a0;

/// Versions of the report that are laid out as this module reads them.
pub const VERSIONS: core::ops::RangeInclusive<u32> = 2..=5;

/// An attestation report. Numbers are named as in the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Version of the layout.
    pub version: u32,
    /// Security version of the guest, from its ID block.
    pub guest_svn: u32,
    /// Policy that the guest was launched with.
    pub policy: u64,
    /// Family of the guest, from its ID block.
    pub family_id: [u8; 16],
    /// Image of the guest, from its ID block.
    pub image_id: [u8; 16],
    /// Privilege level that asked for the report; 0xffffffff where the host did.
    pub vmpl: u32,
    /// Algorithm of the signature; 1 is ECDSA P-384 with SHA-384.
    pub signature_algo: u32,
    /// Security versions that the platform runs now.
    pub current_tcb: Tcb,
    /// Features of the platform that are on.
    pub platform_info: u64,
    /// AUTHOR_KEY_EN, MASK_CHIP_KEY and SIGNING_KEY.
    pub flags: u64,
    /// What the guest asked to be bound to the report.
    pub report_data: [u8; 64],
    /// Digest of the launch.
    pub measurement: [u8; 48],
    /// What the host bound to the launch.
    pub host_data: [u8; 32],
    /// Digest of the key that signed the ID block.
    pub id_key_digest: [u8; 48],
    /// Digest of the key that certified the ID key.
    pub author_key_digest: [u8; 48],
    /// Number of this guest, new at each launch.
    pub report_id: [u8; 32],
    /// Number of the migration agent of this guest.
    pub report_id_ma: [u8; 32],
    /// Security versions that the signing key is derived from.
    pub reported_tcb: Tcb,
    /// Family, model and stepping of the processor; from version 3 on.
    pub cpuid: Option<[u8; 3]>,
    /// Number of the processor, unless masked.
    pub chip_id: [u8; 64],
    /// Security versions below which the platform cannot go back.
    pub committed_tcb: Tcb,
    /// Firmware that runs: major, minor, build.
    pub current: [u8; 3],
    /// Firmware that is committed: major, minor, build.
    pub committed: [u8; 3],
    /// Security versions at the launch of the guest.
    pub launch_tcb: Tcb,
    /// Mitigations that were on at the launch; from version 5 on.
    pub launch_mit_vector: Option<u64>,
    /// Mitigations that are on now; from version 5 on.
    pub current_mit_vector: Option<u64>,
    /// R and S of the signature, each a little-endian number of 72 bytes.
    pub signature: [[u8; 72]; 2],
}

/// Security versions of the parts of a platform, one byte each; which byte is which depends on the
/// generation of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb(pub [u8; 8]);

impl Tcb {
    /// Names and values: table «TCB_VERSION», from Turin (family 0x1a) on in another order.
    pub fn parts(&self, turin: bool) -> Vec<(&'static str, u8)> {
        let names: &[(&str, usize)] = match turin {
            false => &[("boot loader", 0), ("tee", 1), ("snp", 6), ("microcode", 7)],
            true => &[("fmc", 0), ("boot loader", 1), ("tee", 2), ("snp", 3), ("microcode", 7)],
        };
        names.iter().map(|(name, byte)| (*name, self.0[*byte])).collect()
    }
}

impl Report {
    /// True if the report was signed by a processor of the Turin generation or a later one. Reports
    /// of version 2 don't tell, and were written before it.
    pub fn is_turin(&self) -> bool {
        self.cpuid.is_some_and(|[family, _, _]| family >= 0x1a)
    }

    /// Which key signed: 0 the chip's own (VCEK), 1 the cloud's (VLEK), 7 none.
    pub fn signing_key(&self) -> u64 {
        self.flags >> 2 & 7
    }

    /// True if CHIP_ID is masked.
    pub fn chip_is_masked(&self) -> bool {
        self.flags & 2 != 0
    }

    /// True if the ID key is certified by an author key.
    pub fn has_author_key(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// True if `bytes` look like a report: a known version and algorithm, and zeros where they must be.
pub fn is_report(bytes: &[u8]) -> bool {
    let word = |offset| Reader::at(bytes, offset).u32("report").ok();
    let algorithm = matches!(word(0x34), Some(0 | 1));
    let vmpl = matches!(word(0x30), Some(0..=3 | u32::MAX));
    let known = word(0).is_some_and(|version| VERSIONS.contains(&version));
    let zero = bytes.get(0x208..SIGNED).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    bytes.len() >= SIZE && known && algorithm && vmpl && zero
}

/// Parses a report; what follows it is left to [`certificates`].
///
/// # Errors
/// The bytes end too early, or the version is not one of [`VERSIONS`].
pub fn parse(bytes: &[u8]) -> Result<Report> {
    let mut r = Reader::new(bytes);
    let version = r.u32("VERSION")?;
    if !VERSIONS.contains(&version) {
        let (what, offset) = ("VERSION of the attestation report", 0);
        let expected = alloc::format!("{} to {}", VERSIONS.start(), VERSIONS.end());
        return Err(Error::Value { what, offset, found: version.to_string(), expected });
    }
    let mut report = Report {
        version,
        guest_svn: r.u32("GUEST_SVN")?,
        policy: r.u64("POLICY")?,
        family_id: r.array("FAMILY_ID")?,
        image_id: r.array("IMAGE_ID")?,
        vmpl: r.u32("VMPL")?,
        signature_algo: r.u32("SIGNATURE_ALGO")?,
        current_tcb: Tcb(r.array("CURRENT_TCB")?),
        platform_info: r.u64("PLATFORM_INFO")?,
        flags: r.u64("SIGNING_KEY")?,
        report_data: r.array("REPORT_DATA")?,
        measurement: r.array("MEASUREMENT")?,
        host_data: r.array("HOST_DATA")?,
        id_key_digest: r.array("ID_KEY_DIGEST")?,
        author_key_digest: r.array("AUTHOR_KEY_DIGEST")?,
        report_id: r.array("REPORT_ID")?,
        report_id_ma: r.array("REPORT_ID_MA")?,
        reported_tcb: Tcb(r.array("REPORTED_TCB")?),
        cpuid: None,
        chip_id: [0; 64],
        committed_tcb: Tcb([0; 8]),
        current: [0; 3],
        committed: [0; 3],
        launch_tcb: Tcb([0; 8]),
        launch_mit_vector: None,
        current_mit_vector: None,
        signature: [[0; 72]; 2],
    };
    second_half(&mut report, &mut r)?;
    Ok(report)
}

/// From CPUID_FAM_ID at 0x188 to the signature.
fn second_half(report: &mut Report, r: &mut Reader<'_>) -> Result<()> {
    let cpuid = r.array("CPUID_FAM_ID")?;
    report.cpuid = (report.version >= 3).then_some(cpuid);
    r.take(21, "reserved")?;
    report.chip_id = r.array("CHIP_ID")?;
    report.committed_tcb = Tcb(r.array("COMMITTED_TCB")?);
    report.current = build(r, "CURRENT_BUILD")?;
    report.committed = build(r, "COMMITTED_BUILD")?;
    report.launch_tcb = Tcb(r.array("LAUNCH_TCB")?);
    let (launch, current) = (r.u64("LAUNCH_MIT_VECTOR")?, r.u64("CURRENT_MIT_VECTOR")?);
    if report.version >= 5 {
        (report.launch_mit_vector, report.current_mit_vector) = (Some(launch), Some(current));
    }
    r.take(SIGNED - r.offset(), "reserved")?;
    report.signature = [r.array("SIGNATURE R")?, r.array("SIGNATURE S")?];
    r.take(512 - 2 * 72, "SIGNATURE").map(drop)
}

/// Build, minor, major and a reserved byte; given most significant first.
fn build(r: &mut Reader<'_>, what: &'static str) -> Result<[u8; 3]> {
    let [build, minor, major, _] = r.array(what)?;
    Ok([major, minor, build])
}

/// A certificate behind a report, or a list of revoked ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// What it is for.
    pub guid: u128,
    /// The certificate, DER (some hosts put PEM here).
    pub der: &'a [u8],
}

/// GUIDs of AMD 56421 section 4.1.8.1. Unlike those of UEFI they stand in the order of their text, as
/// hosts write them (virtee/sev `CertTableEntry`, google/go-sev-guest `CertTableHeaderEntry`).
const CERTIFICATES: [(u128, &str); 5] = [
    (0x63da758d_e664_4564_adc5_f4b93be8accd, "VCEK"),
    (0xa8074bc2_a25a_483e_aae6_39c045a0b8a1, "VLEK"),
    (0x4ab7b379_bbac_4fe4_a02f_05aef327c782, "ASK"),
    (0xc0b406a4_a803_4952_9743_3fb6014cd0ae, "ARK"),
    (0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea, "CRL"),
];

impl Certificate<'_> {
    /// What the certificate is for, by AMD's short name.
    pub fn name(&self) -> &'static str {
        let known = CERTIFICATES.iter().find(|(guid, _)| *guid == self.guid);
        known.map_or("unknown certificate", |(_, name)| name)
    }

    /// True for the known kinds.
    pub fn is_known(&self) -> bool {
        CERTIFICATES.iter().any(|(guid, _)| *guid == self.guid)
    }
}

/// The certificates of a table as the host hands it out, or as configfs-tsm shows it in `auxblob`.
///
/// # Errors
/// An entry points out of the table.
pub fn certificates(table: &[u8]) -> Result<Vec<Certificate<'_>>> {
    let mut r = Reader::new(table);
    let mut found = Vec::new();
    while r.remaining() >= 24 {
        let guid = u128::from_be_bytes(r.array("GUID of a certificate")?);
        let (offset, length) = (r.u32("offset of a certificate")?, r.u32("length")?);
        if guid == 0 {
            break;
        }
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let der = Reader::at(table, at).take(length, "certificate")?;
        found.push(Certificate { guid, der });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report in which every byte of `at..at + length` is `value`.
    fn report(version: u8, fields: &[(usize, usize, u8)]) -> Vec<u8> {
        let mut bytes = alloc::vec![0; SIZE];
        bytes[0] = version;
        bytes[0x34] = 1;
        for (at, length, value) in fields {
            bytes[*at..at + length].fill(*value);
        }
        bytes
    }

    #[test]
    fn every_field_stands_where_the_specification_says() {
        let bytes = report(
            5,
            &[
                (0x08, 8, 0x11),
                (0x30, 4, 0x02),
                (0x38, 8, 0x12),
                (0x40, 8, 0x13),
                (0x48, 1, 0x07),
                (0x50, 64, 0x14),
                (0x90, 48, 0x15),
                (0xc0, 32, 0x16),
                (0xe0, 48, 0x17),
                (0x110, 48, 0x18),
                (0x140, 32, 0x19),
                (0x180, 8, 0x1a),
                (0x188, 3, 0x1b),
                (0x1a0, 64, 0x1c),
                (0x1e0, 8, 0x1d),
                (0x1f0, 8, 0x1e),
                (0x1f8, 8, 0x1f),
                (0x200, 8, 0x20),
                (0x2a0, 72, 0x21),
                (0x2e8, 72, 0x22),
            ],
        );
        let r = parse(&bytes).expect("a report");
        assert_eq!((r.policy, r.vmpl), (0x1111_1111_1111_1111, 0x0202_0202));
        assert_eq!((r.current_tcb, r.platform_info), (Tcb([0x12; 8]), 0x1313_1313_1313_1313));
        assert_eq!((r.has_author_key(), r.chip_is_masked(), r.signing_key()), (true, true, 1));
        assert_eq!((r.report_data, r.measurement), ([0x14; 64], [0x15; 48]));
        assert_eq!((r.host_data, r.id_key_digest), ([0x16; 32], [0x17; 48]));
        assert_eq!((r.author_key_digest, r.report_id), ([0x18; 48], [0x19; 32]));
        assert_eq!((r.reported_tcb, r.cpuid), (Tcb([0x1a; 8]), Some([0x1b; 3])));
        assert_eq!((r.chip_id, r.committed_tcb), ([0x1c; 64], Tcb([0x1d; 8])));
        assert_eq!(r.launch_tcb, Tcb([0x1e; 8]));
        assert_eq!(r.launch_mit_vector, Some(0x1f1f_1f1f_1f1f_1f1f));
        assert_eq!(r.current_mit_vector, Some(0x2020_2020_2020_2020));
        assert_eq!(r.signature, [[0x21; 72], [0x22; 72]]);
        assert!(r.is_turin());
    }

    #[test]
    fn versions_and_ends() {
        assert_eq!(
            parse(&report(2, &[])).map(|r| (r.cpuid, r.launch_mit_vector)),
            Ok((None, None))
        );
        assert!(parse(&report(3, &[])).is_ok_and(|r| r.cpuid == Some([0; 3])));
        assert!(is_report(&report(2, &[])) && is_report(&report(5, &[(0x1f8, 16, 1)])));
        assert!(!is_report(&report(6, &[])) && !is_report(&report(2, &[(0x208, 1, 1)])));
        assert!(matches!(parse(&report(6, &[])), Err(Error::Value { offset: 0, .. })));
        for length in 0..SIZE {
            let bytes = report(2, &[]);
            assert!(matches!(parse(&bytes[..length]), Err(Error::Truncated { .. })), "{length}");
        }
    }

    #[test]
    fn certificates_are_found_and_confined() {
        let mut table = CERTIFICATES[0].0.to_be_bytes().to_vec();
        table.extend([48, 0, 0, 0, 3, 0, 0, 0]);
        table.extend([0; 24]);
        table.extend(b"DER");
        let found = certificates(&table).expect("a table");
        assert_eq!((found[0].name(), found[0].der), ("VCEK", &b"DER"[..]));
        assert_eq!(table[..4], [0x63, 0xda, 0x75, 0x8d]);
        table[20..24].fill(0xff); // 4 GiB long
        assert!(matches!(certificates(&table), Err(Error::Truncated { .. })));
        assert_eq!(certificates(&[]), Ok(Vec::new()));
    }
}
