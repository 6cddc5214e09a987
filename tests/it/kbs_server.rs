//! A Key Broker Service that keeps the contract strictly, and misbehaves when told to.
//!
//! What is checked stands in trustee's `kbs/src` and `rvps/src`: tokens by signature, time and role,
//! the message's version, its base64, its extractor, and the characters that `LocalFs` allows.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use guestsmith::publish::key::PublicKey;
use serde_json::{Value, json};

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

/// What goes wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The answer comes this many milliseconds late.
    Slow(u64),
    /// The connection ends without an answer.
    Reset,
    /// A status instead of an answer.
    Status(u16),
    /// The answer ends in the middle.
    Truncated,
}

/// A running server; it ends with the test's process.
pub(crate) struct Kbs {
    /// Its address.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    admin: Admin,
    faults: Vec<Fault>,
    values: BTreeMap<String, Value>,
    requests: Vec<String>,
}

impl Kbs {
    /// A server on a port of its own, that meets its first requests with `faults`.
    pub(crate) fn start(admin: Admin, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let faults = faults.iter().rev().copied().collect();
        let (values, requests) = (BTreeMap::new(), Vec::new());
        let state = Arc::new(Mutex::new(State { admin, faults, values, requests }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { url, state }
    }

    /// What it holds.
    pub(crate) fn values(&self) -> BTreeMap<String, Value> {
        self.state.lock().expect("state").values.clone()
    }

    /// Methods and paths of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().expect("state").requests.clone()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut head = Vec::new();
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        head.push(line);
    }
    let Some(first) = head.first().cloned() else { return };
    let header = |name: &str| {
        let found = head.iter().find(|line| line.to_lowercase().starts_with(name));
        found.and_then(|line| Some(line.split_once(": ")?.1.to_string()))
    };
    let length = header("content-length:").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let mut words = first.split(' ');
    let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
    let mut state = state.lock().expect("state");
    state.requests.push(format!("{method} {path}"));
    let fault = state.faults.pop();
    let (status, answer) = state.answer(method, path, header("authorization:"), &body);
    drop(state);
    let (status, answer) = match fault {
        Some(Fault::Slow(milliseconds)) => {
            std::thread::sleep(Duration::from_millis(milliseconds));
            (status, answer)
        }
        Some(Fault::Reset) => {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        Some(Fault::Status(status)) => (status, String::new()),
        _ => (status, answer),
    };
    let length = answer.len();
    let sent = if fault == Some(Fault::Truncated) { length / 2 } else { length };
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\ndate: Tue, 24 Nov 2026 00:00:00 GMT\r\n\
         connection: close\r\n\r\n",
        if fault == Some(Fault::Truncated) { length + 7 } else { length }
    );
    let _ = stream.write_all(&[head.as_bytes(), &answer.as_bytes()[..sent]].concat());
}

fn problem(kind: &str, detail: &str) -> (u16, String) {
    let kind = format!("https://github.com/confidential-containers/kbs/errors/{kind}");
    (401, json!({"type": kind, "detail": detail}).to_string())
}

impl State {
    fn answer(
        &mut self,
        method: &str,
        path: &str,
        auth: Option<String>,
        body: &[u8],
    ) -> (u16, String) {
        let Some(rest) = path.strip_prefix("/kbs/v0/reference-value") else {
            return (404, json!({"type": "PluginNotFound", "detail": path}).to_string());
        };
        if let Err(why) = self.admin.check(auth.as_deref()) {
            return problem("AdminAuthAccess", &format!("admin access denied: {why}"));
        }
        match (method, rest.strip_prefix('/')) {
            ("GET", Some(name)) => match self.values.get(name) {
                Some(value) => (200, value.to_string()),
                None => problem("RvpsError", &format!("No reference value found for {name}")),
            },
            ("POST", None) => match self.register(body) {
                Ok(()) => (200, String::new()),
                // Whatever the reason, the text is this one.
                Err(_) => {
                    problem("RvpsError", "RVPS configuration failed: register reference value")
                }
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
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
                return Err(format!("key {name}"));
            }
            self.values.insert(name, value);
        }
        Ok(())
    }
}

impl Admin {
    fn check(&self, header: Option<&str>) -> Result<(), &'static str> {
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
