//! A Key Broker Service that keeps the contract strictly.
//!
//! What is checked stands in trustee's `kbs/src` and `rvps/src`: tokens by signature, time and role,
//! the message's version, its base64, its extractor, and the characters that `LocalFs` allows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use guestsmith::publish::key::PublicKey;
use serde_json::{Value, json};

use crate::service::{Answer, Fault, Request, Service};

/// How administrators prove themselves.
#[derive(Clone)]
pub(crate) enum Admin {
    /// Not at all.
    Open,
    /// By a token that they sign with their own key (up to 0.20).
    Key(PublicKey),
    /// By a token with a role, signed by an identity provider (0.21).
    Role(PublicKey, &'static str),
}

/// Where the values are kept (`deps/key-value-storage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Any name.
    Memory,
    /// Names that a file may have.
    LocalFs,
    /// It cannot be reached.
    Gone,
}

/// A running server; it ends with the test's process.
pub(crate) struct Kbs {
    /// Its address.
    pub(crate) url: String,
    service: Service,
    state: Arc<Mutex<State>>,
}

struct State {
    admin: Admin,
    storage: Storage,
    /// How far its clock is ahead of ours, in seconds.
    ahead: i64,
    values: BTreeMap<String, Value>,
}

/// How a server is set up.
pub(crate) struct Setup<'a> {
    pub(crate) admin: Admin,
    pub(crate) storage: Storage,
    pub(crate) tls: bool,
    pub(crate) ahead: i64,
    pub(crate) faults: &'a [Fault],
}

impl Kbs {
    /// A server over plain HTTP with files, that meets its first requests with `faults`.
    pub(crate) fn start(admin: Admin, faults: &[Fault]) -> Self {
        Self::set_up(Setup { admin, storage: Storage::LocalFs, tls: false, ahead: 0, faults })
    }

    /// A server.
    pub(crate) fn set_up(setup: Setup<'_>) -> Self {
        let Setup { admin, storage, tls, ahead, faults } = setup;
        let state = State { admin, storage, ahead, values: BTreeMap::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let service = Service::start(tls, faults, move |request| {
            let (status, body) = shared.lock().expect("state").answer(request);
            Answer::new(status, body)
        });
        Self { url: service.url.clone(), service, state }
    }

    /// What it holds.
    pub(crate) fn values(&self) -> BTreeMap<String, Value> {
        self.state.lock().expect("state").values.clone()
    }

    /// Methods and paths of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.service.requests()
    }
}

/// The texts of trustee 0.21, of a value that is not there and of any refusal.
const ABSENT: &str = "Failed to get reference_values: No reference value found for the given id: ";
const REFUSED: &str = "RVPS configuration failed: Failed to register reference value: register \
                       reference value";

const GONE: &str = "Failed to get reference_values: query reference value";

fn problem(kind: &str, detail: &str) -> (u16, String) {
    let kind = format!("https://github.com/confidential-containers/kbs/errors/{kind}");
    (401, json!({"type": kind, "detail": detail}).to_string())
}

impl State {
    fn answer(&mut self, request: &Request) -> (u16, String) {
        let (method, path) = (request.method.as_str(), request.path.as_str());
        let Some(rest) = path.strip_prefix("/kbs/v0/reference-value") else {
            return (404, json!({"type": "PluginNotFound", "detail": path}).to_string());
        };
        if let Err(why) = self.admin.check(request.header("authorization"), self.ahead) {
            return problem("AdminAuthAccess", &format!("admin access denied: {why}"));
        }
        match (method, rest.strip_prefix('/')) {
            _ if self.storage == Storage::Gone => problem("RvpsError", GONE),
            ("GET", Some(name)) => match self.values.get(name) {
                Some(value) => (200, value.to_string()),
                None => problem("RvpsError", &format!("{ABSENT}{name}")),
            },
            ("POST", None) => match self.register(&request.body) {
                Ok(()) => (200, String::new()),
                // Whatever the reason, the text is this one.
                Err(_) => problem("RvpsError", REFUSED),
            },
            _ => (404, String::new()),
        }
    }

    fn register(&mut self, body: &[u8]) -> Result<(), String> {
        let message: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        if message["version"] != "0.1.0" {
            return Err("version".to_string());
        }
        if message["type"] != "sample" {
            return Err("extractor".to_string());
        }
        let payload = message["payload"].as_str().ok_or("payload")?;
        let payload = STANDARD.decode(payload).map_err(|e| e.to_string())?;
        let values: BTreeMap<String, Value> =
            serde_json::from_slice(&payload).map_err(|e| e.to_string())?;
        // One by one, and in no order that helps: the last name first.
        for (name, value) in values.into_iter().rev() {
            let files = self.storage == Storage::LocalFs;
            if files && !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
                return Err(format!("key {name}"));
            }
            self.values.insert(name, value);
        }
        Ok(())
    }
}

impl Admin {
    fn check(&self, header: Option<&str>, ahead: i64) -> Result<(), &'static str> {
        let (key, role) = match self {
            Self::Open => return Ok(()),
            Self::Key(key) => (key, None),
            Self::Role(key, role) => (key, Some(*role)),
        };
        let token = header.and_then(|text| text.strip_prefix("Bearer ")).ok_or("no token")?;
        let (text, signature) = token.rsplit_once('.').ok_or("no JWT")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no base64url")?;
        if !key.verifies_der(text.as_bytes(), &signature) {
            return Err("signature");
        }
        let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).ok_or("no claims")?);
        let claims: Value =
            serde_json::from_slice(&claims.map_err(|_| "no base64url")?).map_err(|_| "no JSON")?;
        #[expect(clippy::disallowed_methods, reason = "a server knows the time")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = now.saturating_add_signed(ahead);
        match claims["exp"].as_u64() {
            Some(expires) if expires > now => {}
            _ => return Err("expired"),
        }
        if claims["nbf"].as_u64().is_some_and(|from| from > now) {
            return Err("not yet valid");
        }
        match role {
            Some(role) if claims["role"] != role => Err("role"),
            _ => Ok(()),
        }
    }
}
