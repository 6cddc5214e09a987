//! Signed forms: the CoRIM as COSE_Sign1, the provenance as DSSE.

use anyhow::{Context as _, Result, bail};

use super::key::{Key, PublicKey};
use crate::reference::{Document, Settings, cose, dsse, emitter};

/// Who signs, as the CoRIM's header says it: the name of the key.
fn signer(key: &Key) -> Result<String> {
    key.public().id()
}

/// The CoRIM of `document`, signed.
///
/// # Errors
/// The document does not check.
pub fn corim(document: &Document, key: &Key) -> Result<Vec<u8>> {
    let corim = emitter("corim")?.emit(document, &Settings::default())?.content;
    let (algorithm, signer) = (key.algorithm(), signer(key)?);
    let signature = key.sign(&cose::to_be_signed(algorithm, &signer, &corim)?);
    Ok(cose::signed(algorithm, &signer, &corim, &signature)?)
}

/// An in-toto statement in a DSSE envelope, one line of JSON.
///
/// # Errors
/// The envelope has no JSON form.
pub fn statement(statement: &[u8], key: &Key) -> Result<Vec<u8>> {
    let signature = key.sign_der(&dsse::to_be_signed(dsse::IN_TOTO, statement));
    let id = key.public().id()?;
    let mut line =
        serde_json::to_vec(&dsse::Envelope::new(dsse::IN_TOTO, statement, &id, &signature))?;
    line.push(b'\n');
    Ok(line)
}

/// The statement in an envelope, if `key` signed it.
///
/// # Errors
/// The bytes are no envelope, carry something else, or no signature is by `key`.
pub fn open_statement(envelope: &[u8], key: &PublicKey) -> Result<Vec<u8>> {
    let envelope: dsse::Envelope = serde_json::from_slice(envelope).context("no DSSE envelope")?;
    if envelope.payload_type != dsse::IN_TOTO {
        bail!("the envelope carries {} instead of {}", envelope.payload_type, dsse::IN_TOTO);
    }
    let payload = envelope.payload()?;
    let signed = dsse::to_be_signed(&envelope.payload_type, &payload);
    let good = |s: &dsse::Signature| s.bytes().is_ok_and(|bytes| key.verifies_der(&signed, &bytes));
    match envelope.signatures.iter().any(good) {
        true => Ok(payload),
        false => bail!("no signature of the envelope is by this key"),
    }
}
