//! The signature of a Nitro document: COSE_Sign1 by ECDSA P-384 (RFC 9052 section 4.4; AWS «Verifying
//! the root of trust»), with the chain in the document itself.

use anyhow::{Context as _, Result, bail, ensure};
use ciborium::Value;
use p384::ecdsa::signature::Verifier as _;

use super::certificate::Certificate;
use super::{Means, Signature};

/// SHA-256 of the certificate «aws.nitro-enclaves» as AWS publishes it beside
/// `https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip`.
const ROOT: &str = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b";

/// Certificates between the document's and the root, at most.
const MAX_CHAIN: usize = 8;

pub(super) fn check(document: &[u8], means: &Means) -> Signature {
    let mut found = Signature::begun();
    match parts(document) {
        Ok((signed, signature, certificates)) => {
            let leaf = &certificates[0];
            let good = || -> Result<()> {
                let signature = p384::ecdsa::Signature::from_slice(&signature);
                let signature = signature.ok().context("the signature is no pair of numbers")?;
                let good = leaf.p384()?.verify(&signed, &signature).is_ok();
                ensure!(good, "the document is not signed by {}", leaf.subject());
                Ok(())
            };
            found.check("the document is signed by the enclave's certificate", good());
            chain(&certificates, means, &mut found);
            found.open("revocation: AWS publishes no list for these short-lived certificates");
            found
        }
        Err(error) => {
            found.bad(format!("what signs the document cannot be read: {error:#}"));
            found
        }
    }
}

/// What is signed, the signature, and the certificates from the document's up to the root.
fn parts(document: &[u8]) -> Result<(Vec<u8>, Vec<u8>, Vec<Certificate>)> {
    let value: Value = ciborium::from_reader(document).context("the document is no CBOR")?;
    let inner = match value {
        Value::Tag(18, inner) => *inner,
        other => other,
    };
    let Value::Array(parts) = inner else { bail!("the document is no COSE_Sign1") };
    let [protected, _, payload, signature] = &parts[..] else {
        bail!("the document is no COSE_Sign1");
    };
    let claims = payload.as_bytes().context("the payload is no byte string")?;
    let claims: Value = ciborium::from_reader(claims.as_slice()).context("the payload")?;
    let get = |key: &str| {
        let map = claims.as_map()?;
        map.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    };
    let leaf = get("certificate").and_then(Value::as_bytes).context("no certificate")?;
    let bundle = get("cabundle").and_then(Value::as_array).context("no bundle of authorities")?;
    ensure!((1..=MAX_CHAIN).contains(&bundle.len()), "a bundle of {} authorities", bundle.len());
    let mut certificates = vec![Certificate::parse(leaf)?];
    for authority in bundle.iter().rev() {
        certificates.push(Certificate::parse(authority.as_bytes().context("no certificate")?)?);
    }
    let signed = Value::Array(vec![
        Value::Text("Signature1".to_string()),
        protected.clone(),
        Value::Bytes(Vec::new()),
        payload.clone(),
    ]);
    let mut bytes = Vec::new();
    ciborium::into_writer(&signed, &mut bytes).context("the signed structure")?;
    let signature = signature.as_bytes().context("the signature is no byte string")?;
    Ok((bytes, signature.clone(), certificates))
}

fn chain(certificates: &[Certificate], means: &Means, found: &mut Signature) {
    for pair in certificates.windows(2) {
        let what = format!("{} is signed by {}", pair[0].subject(), pair[1].subject());
        found.check(&what, pair[0].signed_by(&pair[1]));
    }
    let Some(root) = certificates.last() else { return };
    match root.digest().to_string() == ROOT {
        true => found.fits("the root is AWS's"),
        false => found.bad(format!("the root {} is not AWS's", root.subject())),
    }
    for certificate in certificates {
        if let Some(problem) = certificate.dates(means.now) {
            found.expired(problem);
        }
    }
}
