//! The signature of a TDX quote: Intel «TDX DCAP Quoting Library API» 0.9 appendix A.3.8 (signature
//! data) and «SGX PCK Certificate and Certificate Revocation List Profile» for the chain. With
//! collateral, `dcap-qvl` decides on the whole, the state of the platform included.

use anyhow::{Context as _, Result, ensure};
use p256::ecdsa::signature::Verifier as _;

use super::certificate::Certificate;
use super::material::Material;
use super::{Means, Signature};
use crate::digest::Sha256;
use crate::format::sgx_quote;
use crate::format::tdx_quote::{self, SignatureData};

/// SHA-256 of the key (SubjectPublicKeyInfo, DER) of «Intel SGX Root CA», which signs the certificates
/// of TDX as well (`https://certificates.trustedservices.intel.com/IntelSGXRootCA.der`).
const ROOT: &str = "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e";

/// Checks a quote of TDX, or of SGX, with the chain in it, and with collateral where it was given.
pub(super) fn check(quote: &[u8], means: &Means) -> Signature {
    let (covered, data) = match parts(quote) {
        Ok(parts) => parts,
        Err(error) => return Signature::unchecked(format!("{error:#}")),
    };
    let mut found = Signature::begun();
    let own = signed(covered, &data.signature, &data.attestation_key);
    found.check("the quote is signed by its attestation key", own);
    let text = "the quoting enclave vouches for the attestation key";
    found.check(text, vouched(&data));
    chain(&data, means, &mut found);
    match &means.collateral {
        Some(collateral) => appraise(quote, collateral, means.now, &mut found),
        None => found.open(format!("{PLATFORM}: give the collateral with --collateral")),
    }
    found
}

/// What the signature covers, and the signature.
fn parts(quote: &[u8]) -> Result<(&[u8], SignatureData<'_>)> {
    if sgx_quote::is_quote(quote) {
        let parsed = sgx_quote::parse(quote)?;
        return Ok((parsed.signed, parsed.signature_data().context("the signature's data")?));
    }
    let parsed = tdx_quote::parse(quote)?;
    let kind = parsed.key_type;
    ensure!(kind == 2, "attestation keys of type {kind} are not known here");
    Ok((parsed.signed, parsed.signature_data().context("the signature's data")?))
}

/// A signature as P-256 keys of quotes make it: R and S, 32 bytes each.
fn verifies(key: &p256::ecdsa::VerifyingKey, bytes: &[u8], signature: &[u8; 64]) -> bool {
    p256::ecdsa::Signature::from_slice(signature).is_ok_and(|s| key.verify(bytes, &s).is_ok())
}

fn signed(bytes: &[u8], signature: &[u8; 64], key: &[u8; 64]) -> Result<()> {
    let point = [&[4][..], key].concat(); // SEC 1: uncompressed
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok();
    let key = key.context("the attestation key is no point on P-256")?;
    ensure!(verifies(&key, bytes, signature), "the quote is not signed by its attestation key");
    Ok(())
}

/// REPORTDATA of the quoting enclave's report starts with SHA-256 of the attestation key and of the
/// enclave's own data.
fn vouched(data: &SignatureData<'_>) -> Result<()> {
    let digest = Sha256::of_parts([&data.attestation_key[..], data.enclave_data]);
    let report_data = data.enclave_report.get(320..384).context("the report is cut")?;
    let same = report_data[..32] == digest.0 && report_data[32..].iter().all(|byte| *byte == 0);
    ensure!(same, "the quoting enclave's report is of another attestation key");
    Ok(())
}

/// From the quoting enclave's report over the platform's key to Intel's root.
fn chain(data: &SignatureData<'_>, means: &Means, found: &mut Signature) {
    let given = means.certificates.iter().map(Vec::as_slice);
    let texts = data.pem.map(str::as_bytes).into_iter().chain(given);
    let material = match Material::of(texts) {
        Ok(material) => material,
        Err(error) => return found.bad(format!("the certificates: {error:#}")),
    };
    let signed = |leaf: &&Certificate| {
        let key = leaf.p256();
        key.is_ok_and(|key| verifies(&key, data.enclave_report, &data.enclave_signature))
    };
    let all = &material.certificates;
    let Some(leaf) = all.iter().find(signed).or_else(|| all.first()) else {
        return found.incomplete(
            "who vouches for the quoting enclave: the quote carries no certificate of the \
             platform's key (PCK); give it and its chain with --certificate",
        );
    };
    let report = match signed(&leaf) {
        true => Ok(()),
        false => {
            let name = leaf.subject();
            Err(anyhow::anyhow!("the quoting enclave's report is not signed by {name}"))
        }
    };
    let what = format!("the quoting enclave's report is signed by {}", leaf.subject());
    found.check(&what, report);
    let mut lower = leaf;
    let mut links = Vec::new();
    // Three certificates make the chain; more than eight are no chain of Intel's.
    while let Some(upper) = material.issuer(lower) {
        let what = format!("{} is signed by {}", lower.subject(), upper.subject());
        found.check(&what, lower.signed_by(upper));
        if lower.names_issuer(lower) || links.len() > 8 {
            break;
        }
        links.push((lower, upper));
        lower = upper;
    }
    root(lower, found);
    for certificate in links.iter().map(|(one, _)| *one).chain([lower]) {
        if let Some(problem) = certificate.dates(means.now) {
            found.expired(problem);
        }
    }
    if means.collateral.is_none() {
        material.revocation(&links, means.now, found);
    }
}

/// The upper end of a chain: Intel's root, somebody else's, or nobody's.
fn root(last: &Certificate, found: &mut Signature) {
    if !last.names_issuer(last) {
        let (name, issuer) = (last.subject(), last.issuer());
        return found.incomplete(format!(
            "who made {name}: the certificate of {issuer} is not at hand; give it with --certificate"
        ));
    }
    let digest = last.key_digest().map(|digest| digest.to_string()).unwrap_or_default();
    match digest == ROOT {
        true => found.fits("the root is Intel's"),
        false => found.bad(format!(
            "the root {} (key {digest}) is not Intel's: a machine with keys of its own, or one \
             from before production",
            last.subject()
        )),
    }
}

/// The whole again by Intel's rules, with the collateral.
fn appraise(quote: &[u8], collateral: &[u8], now: u64, found: &mut Signature) {
    let collateral: dcap_qvl::QuoteCollateralV3 = match serde_json::from_slice(collateral) {
        Ok(collateral) => collateral,
        Err(error) => {
            return found.open(format!("collateral: it is no QuoteCollateralV3: {error}"));
        }
    };
    // What is unsafe about the TD is told beside; here its signature is asked for.
    let verifier = dcap_qvl::verify::QuoteVerifier::new_prod();
    match verifier.allow_debug(true).allow_service_td(true).verify(quote, &collateral, now) {
        Ok(report) => {
            let advisories = match report.advisory_ids.is_empty() {
                true => String::new(),
                false => format!(" ({})", report.advisory_ids.join(", ")),
            };
            found.fits(format!(
                "dcap-qvl: revocation, collateral and quoting enclave; the platform's TCB is {}{advisories}",
                report.status
            ));
        }
        Err(error) => refused(&format!("{error:#}"), found),
    }
}

/// What a verifier would have said of the platform.
const PLATFORM: &str = "state of the platform (TCB), identity of the quoting enclave, revocation";

/// Words of dcap-qvl that say that the collateral is of another platform or TEE than the quote.
const OTHER: [&str; 3] = ["Fmspc mismatch", "TCB info in the collateral", "Identity id/version"];

/// A date that does not fit is no forgery, nor is the wrong collateral; the verifier tells them apart
/// in words alone.
fn refused(error: &str, found: &mut Signature) {
    let list = ["CrlExpired", "CrlNotValidYet"].iter().any(|word| error.contains(word));
    let dated = ["xpired", "in the future", "NotValidYet"].iter().any(|word| error.contains(word));
    if OTHER.iter().any(|word| error.contains(word)) {
        return found.open(format!("{PLATFORM}: the collateral is not this quote's ({error})"));
    }
    if !list && !dated {
        return found.bad(format!("dcap-qvl: {error}"));
    }
    found.expired(match list {
        true => {
            "dcap-qvl: a list of revoked certificates in the collateral is not valid at this time"
                .to_string()
        }
        false => format!("dcap-qvl: {error}"),
    });
    found.open(format!(
        "{PLATFORM}: the collateral is not of this time; fetch it anew, or give the time at which it \
         was with --at"
    ));
}
