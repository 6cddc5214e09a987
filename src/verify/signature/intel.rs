//! The signature of a TDX quote: Intel «TDX DCAP Quoting Library API» 0.9 appendix A.3.8 (signature
//! data) and «SGX PCK Certificate and Certificate Revocation List Profile» for the chain. With
//! collateral, `dcap-qvl` decides on the whole, the state of the platform included.

use anyhow::{Context as _, Result, ensure};
use p256::ecdsa::signature::Verifier as _;

use super::certificate::Certificate;
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
        None => found.open(
            "state of the platform (TCB), identity of the quoting enclave, revocation: give the \
             collateral with --collateral",
        ),
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
    let all: Result<Vec<_>> = texts.map(Certificate::parse_all).collect();
    let all = match all {
        Ok(all) => all.concat(),
        Err(error) => return found.bad(format!("the certificates: {error:#}")),
    };
    let Some(leaf) = all.first() else {
        return found.bad(
            "no certificate of the platform's key (PCK) is at hand: the quote carries none; give \
             it with --certificate",
        );
    };
    let report = || -> Result<()> {
        let good = verifies(&leaf.p256()?, data.enclave_report, &data.enclave_signature);
        ensure!(good, "the quoting enclave's report is not signed by {}", leaf.subject());
        Ok(())
    };
    let what = format!("the quoting enclave's report is signed by {}", leaf.subject());
    found.check(&what, report());
    let mut lower = leaf;
    let mut links = vec![leaf];
    // Three certificates make the chain; more than eight are no chain of Intel's.
    while let Some(upper) = all.iter().find(|other| lower.names_issuer(other)) {
        let what = format!("{} is signed by {}", lower.subject(), upper.subject());
        found.check(&what, lower.signed_by(upper));
        if lower.names_issuer(lower) || links.len() > 8 {
            break;
        }
        links.push(upper);
        lower = upper;
    }
    let digest = lower.key_digest().map(|digest| digest.to_string()).unwrap_or_default();
    match digest == ROOT {
        true => found.fits("the root is Intel's"),
        false => found.bad(format!(
            "the root {} (key {digest}) is not Intel's: a machine with keys of its own, or one \
             from before production",
            lower.subject()
        )),
    }
    for certificate in links {
        if let Some(problem) = certificate.dates(means.now) {
            found.expired(problem);
        }
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

/// A date that does not fit is no forgery; the verifier tells them apart in words alone.
fn refused(error: &str, found: &mut Signature) {
    let list = ["CrlExpired", "CrlNotValidYet"].iter().any(|word| error.contains(word));
    let dated = ["xpired", "in the future", "NotValidYet"].iter().any(|word| error.contains(word));
    match (list, dated) {
        (true, _) => found.expired(
            "dcap-qvl: a list of revoked certificates in the collateral is not valid at this time"
                .to_string(),
        ),
        (false, true) => found.expired(format!("dcap-qvl: {error}")),
        (false, false) => found.bad(format!("dcap-qvl: {error}")),
    }
}
