//! Whether a signed text is one that a trusted key has signed, and at a time when it could.
//!
//! The library checks the arithmetic; what a signature is worth is decided here:
//! - at least one signature by a key of the keyring must hold; signatures by other keys don't count,
//!   and one by a key of the keyring that is *wrong* spoils the whole;
//! - the key was not revoked, at any time, for any reason;
//! - digests weaker than SHA-256 and RSA keys below 2048 bits don't count;
//! - a key that had expired when it signed never counts; one that has expired since then counts only
//!   where the caller accepts what is expired.

use anyhow::{Context as _, Result, bail};
use pgp::composed::{CleartextSignedMessage, SignedPublicKey};
use pgp::packet::Signature;
use pgp::types::{KeyDetails, VerifyingKey};

use super::date::Time;
use super::keyring::{self, Keyring, Validity};

/// How far the clock of who signed may be ahead of ours, in seconds.
pub const SKEW: u64 = 3600;

/// A text that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The text, and nothing that stood around it.
    pub text: String,
    /// Fingerprints of the primary keys whose signatures hold, sorted.
    pub signers: Vec<String>,
    /// True if it holds only because what is expired is accepted.
    pub expired: bool,
}

/// When a signature is judged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judge {
    /// The time now.
    pub now: Time,
    /// Whether keys count that have expired since they signed.
    pub accept_expired: bool,
}

/// What became of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Holds { signer: String, expired: bool },
    Unknown(String),
    Refused(String),
    Wrong(String),
}

/// Checks a text in the cleartext signature framework (RFC 9580 section 7).
///
/// # Errors
/// It is not in that form, no signature on it holds, or one by a trusted key is wrong.
pub fn verify(bytes: &[u8], keyring: &Keyring, judge: Judge) -> Result<Signed> {
    let text = std::str::from_utf8(bytes).context("it is no UTF-8 text")?;
    let parsed = CleartextSignedMessage::from_string(text);
    let (message, _) = parsed.context("it is no OpenPGP cleartext signed message")?;
    let text = message.signed_text().replace("\r\n", "\n");
    let data = message.signed_text();
    let verdicts: Vec<_> =
        message.signatures().iter().map(|s| judge.verdict(s, data.as_bytes(), keyring)).collect();
    let wrong = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Wrong(why) => Some(why),
        _ => None,
    });
    if let Some(why) = wrong {
        bail!("a signature on it is wrong: {why}; it was altered on its way");
    }
    let holding = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Holds { signer, expired } => Some((signer.clone(), *expired)),
        _ => None,
    });
    let (mut signers, expired): (Vec<_>, Vec<_>) = holding.unzip();
    if signers.is_empty() {
        bail!("no signature on it holds:\n    {}", reasons(&verdicts));
    }
    signers.sort();
    signers.dedup();
    Ok(Signed { text, signers, expired: expired.into_iter().all(|expired| expired) })
}

fn reasons(verdicts: &[Verdict]) -> String {
    let reasons: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Unknown(key) => Some(format!("the key {key} is not in the keyring")),
            Verdict::Refused(why) | Verdict::Wrong(why) => Some(why.clone()),
            Verdict::Holds { .. } => None,
        })
        .collect();
    if reasons.is_empty() { "there is none".into() } else { reasons.join("\n    ") }
}

impl Judge {
    fn verdict(&self, signature: &Signature, data: &[u8], keyring: &Keyring) -> Verdict {
        for key in &keyring.keys {
            let revoked = keyring::is_revoked(key);
            let primary = &key.primary_key;
            if is_by(signature, primary) {
                let validity = keyring::primary_validity(key);
                return self.weigh(signature, data, primary, Facts { key, revoked, validity });
            }
            if let Some(subkey) = key.public_subkeys.iter().find(|s| is_by(signature, &s.key)) {
                let revoked = revoked || keyring::is_subkey_revoked(key, subkey);
                let of_primary = keyring::primary_validity(key);
                let of_subkey = keyring::subkey_validity(key, subkey);
                let validity = of_primary.zip(of_subkey).map(|(a, b)| a.and(b));
                return self.weigh(signature, data, &subkey.key, Facts { key, revoked, validity });
            }
        }
        Verdict::Unknown(issuer(signature))
    }

    fn weigh<K: VerifyingKey + KeyDetails>(
        &self,
        signature: &Signature,
        data: &[u8],
        key: &K,
        facts: Facts<'_>,
    ) -> Verdict {
        let signer = format!("{:X}", facts.key.primary_key.fingerprint());
        let refused = |why: &str| Verdict::Refused(format!("the signature by {signer} {why}"));
        if !keyring::is_strong(signature.hash_alg()) {
            return refused("uses a digest weaker than SHA-256");
        }
        if let Some(weakness) = keyring::weakness(key) {
            return refused(&format!("is by a weak key: {weakness}"));
        }
        if let Err(error) = signature.verify(key, data) {
            return Verdict::Wrong(format!("the one by {signer} ({error})"));
        }
        if facts.revoked {
            return refused("is by a key that was revoked");
        }
        let (Some(validity), Some(created)) = (facts.validity, signature.created()) else {
            return refused("is by a key that nothing says may sign, or names no time");
        };
        let created = Time(created.as_secs().into());
        match self.timing(created, lifetime(signature), validity) {
            Ok(expired) => Verdict::Holds { signer, expired },
            Err(why) => refused(&why),
        }
    }

    /// Whether the signature holds only because what is expired is accepted.
    fn timing(
        &self,
        created: Time,
        lifetime: Option<u64>,
        validity: Validity,
    ) -> Result<bool, String> {
        if created.0 > self.now.0 + SKEW {
            let now = self.now;
            return Err(format!(
                "is of {created}, which is in the future: is the clock of this machine ({now}) right?"
            ));
        }
        if created < validity.from || validity.until.is_some_and(|until| created >= until) {
            return Err(format!("was made at {created}, when its key was not valid"));
        }
        let signature_until = lifetime.map(|lifetime| Time(created.0 + lifetime));
        let until = [validity.until, signature_until].into_iter().flatten().min();
        match until.filter(|until| self.now >= *until) {
            None => Ok(false),
            Some(_) if self.accept_expired => Ok(true),
            Some(until) => Err(format!(
                "is by a key that expired at {until}; --accept-expired takes it all the same"
            )),
        }
    }
}

/// What a key says about itself.
struct Facts<'a> {
    key: &'a SignedPublicKey,
    revoked: bool,
    validity: Option<Validity>,
}

/// RFC 9580 section 5.2.3.18: seconds after its creation; 0 is never.
fn lifetime(signature: &Signature) -> Option<u64> {
    let lasts = signature.signature_expiration_time().map(|time| u64::from(time.as_secs()));
    lasts.filter(|lasts| *lasts > 0)
}

fn is_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprint = key.fingerprint();
    let prints = signature.issuer_fingerprint();
    match prints.is_empty() {
        false => prints.into_iter().any(|print| *print == fingerprint),
        true => signature.issuer_key_id().into_iter().any(|id| *id == key.legacy_key_id()),
    }
}

fn issuer(signature: &Signature) -> String {
    let print = signature.issuer_fingerprint().first().map(|print| format!("{print:X}"));
    let id = || signature.issuer_key_id().first().map(ToString::to_string);
    print.or_else(id).unwrap_or_else(|| "(unnamed)".into())
}
