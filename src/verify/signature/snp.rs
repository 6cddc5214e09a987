//! The signature of a SEV-SNP report: AMD 56860 section 7.3 (ATTESTATION_REPORT), and AMD 57230
//! «Versioned Chip Endorsement Key Certificate and KDS Interface Specification» for the chain and
//! what stands in its certificates.

use anyhow::{Context as _, Result, ensure};
use p384::ecdsa::signature::Verifier as _;

use super::certificate::Certificate;
use super::material::Material;
use super::{Means, Signature};
use crate::digest::hex;
use crate::format::snp_report::{self, Report};

/// AMD's roots: the processors that they stand for, and SHA-256 of the key (SubjectPublicKeyInfo, DER)
/// of `https://kdsintf.amd.com/vcek/v1/PRODUCT/cert_chain`.
const ROOTS: &[(&str, &str)] = &[
    ("Milan", "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
    ("Genoa", "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
    ("Turin", "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
];

/// Extensions with the security versions that the key is derived from (AMD 57230, table 8), by the
/// names of [`snp_report::Tcb::parts`].
const VERSIONS: &[(&str, &str)] = &[
    ("boot loader", "1.3.6.1.4.1.3704.1.3.1"),
    ("tee", "1.3.6.1.4.1.3704.1.3.2"),
    ("snp", "1.3.6.1.4.1.3704.1.3.3"),
    ("microcode", "1.3.6.1.4.1.3704.1.3.8"),
    ("fmc", "1.3.6.1.4.1.3704.1.3.9"),
];

/// The extension with the chip's number.
const HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";

/// Checks the signature of `report` with the certificates that came with it and those of `means`.
pub(super) fn check(report: &[u8], certificates: &[Vec<u8>], means: &Means) -> Signature {
    let parsed = match snp_report::parse(report) {
        Ok(parsed) => parsed,
        Err(error) => return Signature::unchecked(error.to_string()),
    };
    if parsed.signing_key() == 7 {
        return Signature::unchecked("the report says that it is not signed");
    }
    let files = certificates.iter().chain(&means.certificates).map(Vec::as_slice);
    let material = match Material::of(files) {
        Ok(material) => material,
        Err(error) => return Signature::unchecked(format!("the certificates: {error:#}")),
    };
    let kind = if parsed.signing_key() == 1 { "VLEK" } else { "VCEK" };
    let Some(leaf) = leaf(report, &parsed, &material) else {
        return Signature::unchecked(format!(
            "no {kind} certificate is at hand: give it and its chain (ASK, ARK) with --certificate"
        ));
    };
    let mut found = Signature::begun();
    found.check(&format!("the report is signed by this {kind}"), signature(report, &parsed, leaf));
    found.check("the certificate is of this report's TCB", versions(&parsed, leaf));
    match kind {
        "VCEK" if !parsed.chip_is_masked() => {
            found.check("the certificate is of this report's chip", chip(&parsed, leaf));
        }
        "VCEK" => found.open("which chip it was: the report masks its number"),
        _ => {}
    }
    chain(leaf, &material, means.now, &mut found);
    found
}

/// The certificate of the key that signed the report; if none did, one that could have.
fn leaf<'a>(bytes: &[u8], report: &Report, material: &'a Material) -> Option<&'a Certificate> {
    let could = || material.certificates.iter().filter(|certificate| certificate.p384().is_ok());
    could().find(|leaf| signature(bytes, report, leaf).is_ok()).or_else(|| could().next())
}

fn signature(bytes: &[u8], report: &Report, leaf: &Certificate) -> Result<()> {
    ensure!(report.signature_algo == 1, "the report is not signed by ECDSA P-384 with SHA-384");
    // Numbers of 48 bytes in fields of 72, least significant byte first.
    let number = |field: &[u8; 72]| -> Result<[u8; 48]> {
        ensure!(field[48..].iter().all(|byte| *byte == 0), "the signature is longer than P-384");
        let mut number = [0; 48];
        number.iter_mut().zip(field[..48].iter().rev()).for_each(|(to, from)| *to = *from);
        Ok(number)
    };
    let (r, s) = (number(&report.signature[0])?, number(&report.signature[1])?);
    let signature = p384::ecdsa::Signature::from_scalars(r, s).ok();
    let signature = signature.context("the report's signature is no pair of numbers of P-384")?;
    let signed = bytes.get(..snp_report::SIGNED).context("the report is cut")?;
    let good = leaf.p384()?.verify(signed, &signature).is_ok();
    ensure!(good, "the report is not signed by {}", leaf.subject());
    Ok(())
}

/// The security versions of the certificate are those that the report says its key is derived from.
fn versions(report: &Report, leaf: &Certificate) -> Result<()> {
    for (name, expected) in report.reported_tcb.parts(report.is_turin()) {
        let oid = VERSIONS.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid);
        let value = oid.and_then(|oid| leaf.extension(oid));
        let value = value.with_context(|| format!("the certificate has no version of {name}"))?;
        // INTEGER, up to 255: a leading zero byte keeps it positive.
        let found = match *value {
            [2, 1, version] | [2, 2, 0, version] => version,
            _ => anyhow::bail!("the certificate's version of {name} is no small number"),
        };
        ensure!(
            found == expected,
            "the certificate is of {name} {found}, the report of {name} {expected}: fetch the \
             certificate of the report's reported TCB"
        );
    }
    Ok(())
}

/// The chip's number: 64 bytes, from Turin on the first 8 of them.
fn chip(report: &Report, leaf: &Certificate) -> Result<()> {
    let id = leaf.extension(HARDWARE_ID).context("the certificate names no chip")?;
    let id = match id {
        [4, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        raw => raw,
    };
    let (own, rest) = report.chip_id.split_at(id.len().min(report.chip_id.len()));
    let same = !id.is_empty() && own == id && rest.iter().all(|byte| *byte == 0);
    ensure!(same, "the certificate is of chip {}, the report of {}", hex(id), hex(own));
    Ok(())
}

/// From the signing key to AMD's root.
fn chain(leaf: &Certificate, material: &Material, now: u64, found: &mut Signature) {
    let Some(middle) = material.issuer(leaf) else {
        return found.incomplete(format!(
            "who made {}: the certificate of {} is not at hand, and without it \
             anybody could have made the key; give ASK (of a VLEK: ASVK) and ARK with --certificate",
            leaf.subject(),
            leaf.issuer()
        ));
    };
    let Some(root) = material.issuer(middle) else {
        return found.incomplete(format!(
            "who made {}: the certificate of {} is not at hand; give the ARK with --certificate",
            middle.subject(),
            middle.issuer()
        ));
    };
    for (lower, upper) in [(leaf, middle), (middle, root), (root, root)] {
        let what = format!("{} is signed by {}", lower.subject(), upper.subject());
        found.check(&what, lower.signed_by(upper));
    }
    let digest = root.key_digest().map(|digest| digest.to_string()).unwrap_or_default();
    match ROOTS.iter().find(|(_, known)| *known == digest) {
        Some((product, _)) => found.fits(format!("the root is AMD's for {product}")),
        None => found.bad(format!("the root {} (key {digest}) is not AMD's", root.subject())),
    }
    for certificate in [leaf, middle, root] {
        if let Some(problem) = certificate.dates(now) {
            found.expired(problem);
        }
    }
    material.revocation(&[(leaf, middle), (middle, root)], now, found);
}
