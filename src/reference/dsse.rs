//! DSSE, the envelope of a signed statement (secure-systems-lab/dsse, v1). Pure: whoever holds the
//! key signs what [`to_be_signed`] gives.

use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::digest::base64;

/// Type of an in-toto payload.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A payload with signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Standard base64 of the payload.
    pub payload: String,
    /// What the payload is.
    #[serde(rename = "payloadType")]
    pub payload_type: String,
    /// Signatures of [`to_be_signed`].
    pub signatures: Vec<Signature>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Name of the key; a hint, never trusted.
    pub keyid: String,
    /// Standard base64 of the signature.
    pub sig: String,
}

impl Envelope {
    /// An envelope with one signature.
    pub fn new(payload_type: &str, payload: &[u8], keyid: &str, signature: &[u8]) -> Self {
        let signature = Signature { keyid: keyid.to_string(), sig: base64(signature) };
        let payload_type = payload_type.to_string();
        Self { payload: base64(payload), payload_type, signatures: vec![signature] }
    }

    /// The payload's bytes.
    ///
    /// # Errors
    /// It is not base64.
    pub fn payload(&self) -> Result<Vec<u8>> {
        decoded("payload", &self.payload)
    }
}

impl Signature {
    /// The signature's bytes.
    ///
    /// # Errors
    /// It is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        decoded("signature", &self.sig)
    }
}

fn decoded(what: &str, text: &str) -> Result<Vec<u8>> {
    use ::base64::Engine as _;
    let bytes = ::base64::engine::general_purpose::STANDARD.decode(text);
    bytes.map_err(|error| Error::Text(format!("{what} of the envelope: {error}")))
}

/// The pre-authentication encoding: what is signed.
pub fn to_be_signed(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_protocol() {
        // dsse/protocol.md, test vectors.
        let signed = to_be_signed("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
