//! Tokens that an administrator of trustee's KBS shows: its three generations.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::key::{Key, secret};
use crate::store::api::Secret;

/// How long a token that we sign is valid, in seconds: enough for a publication.
const VALIDITY: u64 = 600;

/// How to prove to the KBS that one is its administrator.
#[derive(Debug)]
pub enum Auth {
    /// Not at all: a server on this machine that asks for nothing.
    None,
    /// An Ed25519 key whose public half the server has; it signs a token for each publication
    /// (trustee up to 0.20).
    Key(Key),
    /// A ready token of an identity provider, with a role (trustee 0.21 and later).
    Bearer(Secret),
}

impl Auth {
    /// A token from a file or descriptor, checked as far as its holder can.
    ///
    /// # Errors
    /// It cannot be read, or the server would refuse it: no token, without a role or an end, expired.
    pub fn bearer(place: &str) -> Result<Self> {
        let token = secret(place)?.trim().to_string();
        let claims = claims(&token).with_context(|| format!("{place} holds no JWT"))?;
        if claims.get("role").and_then(Value::as_str).is_none() {
            bail!("the token in {place} has no `role`: trustee 0.21 asks for one");
        }
        match claims.get("exp").and_then(Value::as_u64) {
            None => bail!("the token in {place} has no `exp`: trustee takes none that never ends"),
            Some(expires) if expires <= now() => bail!("the token in {place} has expired"),
            Some(_) => {}
        }
        Ok(Self::Bearer(Secret(Some(format!("Bearer {token}")))))
    }

    /// The `authorization` header.
    ///
    /// # Errors
    /// The key is not Ed25519, the one kind that these servers take.
    pub fn header(&self) -> Result<Secret> {
        match self {
            Self::None => Ok(Secret(None)),
            Self::Bearer(secret) => Ok(secret.clone()),
            Self::Key(key @ Key::Ed25519(_)) => {
                Ok(Secret(Some(format!("Bearer {}", signed(key, now())))))
            }
            Self::Key(_) => bail!("the KBS takes only Ed25519 keys of administrators"),
        }
    }
}

/// User and password of a registry.
#[derive(Debug, Clone)]
pub struct Login(Secret);

impl Login {
    /// `USER:PASSWORD` from a file or descriptor.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn load(place: &str) -> Result<Self> {
        let text = secret(place)?;
        let text = text.trim_end_matches(['\r', '\n']);
        if !text.contains(':') || text.contains('\n') {
            bail!("{place}: expected one line, USER:PASSWORD");
        }
        let header = format!("Basic {}", crate::digest::base64(text.as_bytes()));
        Ok(Self(Secret(Some(header))))
    }

    /// The `authorization` header (RFC 7617).
    pub fn basic(&self) -> Secret {
        self.0.clone()
    }
}

/// A token signed by the administrator's key (RFC 7519, RFC 8037), as kbs-client makes it.
fn signed(key: &Key, now: u64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"alg": "EdDSA", "typ": "JWT"}));
    let claims = part(json!({"exp": now + VALIDITY, "iat": now, "nbf": now}));
    let text = format!("{head}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// The claims of a JWT. Its signature is for the server to check.
fn claims(token: &str) -> Result<Value> {
    // No part of the token may stand in an error.
    let parts: Vec<_> = token.split('.').collect();
    let [_, claims, _] = parts[..] else { bail!("expected three parts with dots between") };
    let bytes = URL_SAFE_NO_PAD.decode(claims).ok().context("the second part is no base64url")?;
    serde_json::from_slice(&bytes).ok().context("the second part is no JSON")
}

/// Seconds since 1970.
fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a token is valid from now on, not from an epoch"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_verifies_with_the_public_key_and_ends() {
        let key = Key::from_pem(crate::publish::tests::ED25519).expect("a key");
        let token = signed(&key, 1000);
        let (text, signature) = token.rsplit_once('.').expect("parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert!(key.public().verifies_der(text.as_bytes(), &signature));
        assert_eq!(claims(&token).expect("claims"), json!({"exp": 1600, "iat": 1000, "nbf": 1000}));
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let key = Auth::Key(Key::from_pem(crate::publish::tests::ED25519).expect("a key"));
        assert_eq!(format!("{key:?}"), "Key(key EdDsa)");
        assert_eq!(format!("{:?}", key.header().expect("a token")), "(not shown)");
        assert!(!format!("{:#}", claims("abc.!!!.def").expect_err("no JWT")).contains("!!!"));
    }
}
