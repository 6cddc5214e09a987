//! CoCo trustee's Key Broker Service, administrator's interface (`kbs/src/api_server.rs`).
//!
//! Nearly every failure is a 401; what went wrong stands in the body's `type`
//! (`kbs/src/error.rs`): `AdminAuthAccess` is about the token, `RvpsError` about the value.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::registry::{self, Registry};
use super::token::Auth;
use super::{Content, Destination, Report, Target, loopback};
use crate::format::percent;
use crate::store::api::{Api, Request, Response, Secret};

/// The row of this destination.
pub(super) const DESTINATION: Destination = Destination {
    name: "kbs",
    about: "trustee's KBS over HTTPS: --to kbs --place https://HOST:8080 --token FILE",
    publish,
};

/// Path of reference values (`kbs/docs/kbs.yaml`).
const PATH: &str = "/kbs/v0/reference-value";

/// What the detail of a value that is not there says (`kbs/src/attestation/backend.rs`, 0.16 to 0.21):
/// its `type` is that of every failure of RVPS.
const ABSENT: &str = "No reference value found";

fn publish(content: &Content, target: &Target) -> Result<Report> {
    let base = target.place.trim_end_matches('/').to_string();
    check_address(&base, &target.auth)?;
    let api = Api::new(target.ca.as_deref(), target.patience)?;
    let mut kbs = Kbs { api, base, secret: target.auth.header()? };
    registry::publish(&mut kbs, content, target.dry_run)
}

/// A token goes over TLS, and nothing goes without a token but on this machine.
fn check_address(base: &str, auth: &Auth) -> Result<()> {
    let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
    let Some(rest) = rest else { bail!("expected https://HOST[:PORT], found `{base}`") };
    let loopback = loopback(rest.split('/').next().unwrap_or_default());
    match auth {
        Auth::None if !loopback => bail!(
            "{base} is not on this machine: name the administrator's key (--auth-key) or token \
             (--token); a server that asks for neither lets anybody replace the values"
        ),
        Auth::Key(_) | Auth::Bearer(_) if base.starts_with("http://") && !loopback => {
            bail!("a token would go to {base} in the clear: use https")
        }
        _ => Ok(()),
    }
}

struct Kbs {
    api: Api,
    base: String,
    secret: Secret,
}

/// What the server says of a failure.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    detail: String,
}

impl Problem {
    fn of(answer: &Response) -> Option<Self> {
        serde_json::from_slice(&answer.body).ok()
    }

    /// The last part of the type: `RvpsError`.
    fn kind(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }
}

impl Kbs {
    fn request(&self, method: &'static str, path: &str, body: &[u8]) -> Request {
        let headers = match body.is_empty() {
            true => Vec::new(),
            false => vec![("content-type", "application/json".to_string())],
        };
        let (url, secret) = (format!("{}{PATH}{path}", self.base), self.secret.clone());
        Request { method, url, headers, secret, body: body.to_vec() }
    }

    /// The failure of a request that has nothing to do with a value.
    fn failure(&self, answer: &Response) -> anyhow::Error {
        let clock = answer.date.as_deref().unwrap_or("unknown");
        let base = &self.base;
        let problem = Problem::of(answer);
        let said = problem.as_ref().map(|p| format!("{}: {}", p.kind(), p.detail));
        let said = said.unwrap_or_else(|| format!("status {}", answer.status));
        match (answer.status, problem) {
            (401, Some(problem)) if problem.kind() == "RvpsError" => {
                anyhow::anyhow!("the RVPS behind {base} fails: {}", problem.detail)
            }
            (401 | 403, _) if self.secret.0.is_none() => anyhow::anyhow!(
                "{base} asks who its administrator is, and nothing was shown ({said}): trustee up to \
                 0.20 takes --auth-key, 0.21 takes --token with a role"
            ),
            (401 | 403, _) => anyhow::anyhow!(
                "{base} does not accept the administrator's key or token ({said}); trustee up to \
                 0.20 takes --auth-key, 0.21 takes --token with a role; the server's clock says \
                 {clock}"
            ),
            (404, _) => anyhow::anyhow!(
                "{base} has no {PATH}, or cannot be asked what it holds ({said}): is it a KBS of \
                 trustee 0.17 or later?"
            ),
            _ => anyhow::anyhow!("{base} answered {said}"),
        }
    }
}

impl Registry for Kbs {
    fn get(&mut self, name: &str) -> Result<Option<Value>> {
        let answer = self.api.send(&self.request("GET", &format!("/{}", escaped(name)), b""))?;
        let absent = || {
            let problem = Problem::of(&answer).filter(|problem| problem.kind() == "RvpsError");
            problem.is_some_and(|problem| problem.detail.contains(ABSENT))
        };
        match answer.status {
            200 => Ok(Some(serde_json::from_slice(&answer.body)?)),
            401 if absent() => Ok(None),
            _ => Err(self.failure(&answer)),
        }
    }

    fn register(&mut self, message: &[u8]) -> Result<Result<(), String>> {
        let answer = self.api.send(&self.request("POST", "", message))?;
        let refused = Problem::of(&answer).filter(|problem| problem.kind() == "RvpsError");
        match (answer.status, refused) {
            (200..=299, _) => Ok(Ok(())),
            (_, Some(problem)) => Ok(Err(problem.detail)),
            _ => Err(self.failure(&answer)),
        }
    }

    fn plan(&self, message: &[u8]) -> String {
        let auth = if self.secret.0.is_some() { "authorization: Bearer (not shown)\n" } else { "" };
        let text = String::from_utf8_lossy(message);
        format!("POST {}{PATH}\ncontent-type: application/json\n{auth}\n{text}", self.base)
    }
}

/// A name as the rest of a path: slashes stay, the server takes them as part of the name.
fn escaped(name: &str) -> String {
    percent::encoded(name, "/:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_goes_in_the_clear_and_nothing_goes_unasked() {
        let bearer = || Auth::Bearer(Secret(Some("Bearer x".to_string())));
        for (base, auth, fine) in [
            ("http://127.0.0.1:8080", Auth::None, true),
            ("http://[::1]:8080", bearer(), true),
            ("http://localhost:8080", bearer(), true),
            ("https://kbs.example:8080", bearer(), true),
            ("https://kbs.example:8080", Auth::None, false),
            ("http://kbs.example:8080", bearer(), false),
            ("http://127.0.0.1.example", Auth::None, false),
            ("http://localhost.example", bearer(), false),
            ("ftp://127.0.0.1", Auth::None, false),
        ] {
            assert_eq!(check_address(base, &auth).is_ok(), fine, "{base}");
        }
    }
}
