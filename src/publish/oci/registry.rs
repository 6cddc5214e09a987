//! Pushing to a registry: OCI distribution-spec 1.1, `spec.md`.
//!
//! What is there already, by digest, is not sent again; what was sent is asked for again. A registry
//! without the referrers API keeps referrers in an index under the tag `sha256-…` of their subject,
//! which is the client's work («Referrers Tag Schema»).

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};

use super::super::{Report, State, Target, loopback, token::Login};
use super::image::{INDEX, Images, MANIFEST, Manifest};
use crate::store::api::{Api, Request, Response, Secret};

/// Pushes `images`, each manifest after what it points to.
pub(super) fn push(images: &Images, target: &Target, mut report: Report) -> Result<Report> {
    let place = Place::parse(&target.place)?;
    if target.dry_run {
        plan(images, &place, &mut report);
        return Ok(report);
    }
    let api = Api::new(target.ca.as_deref(), target.patience)?;
    let mut registry =
        Registry { api, place, login: target.login.clone(), secret: Secret::default() };
    for (digest, bytes) in &images.blobs {
        let state = registry.blob(digest, bytes)?;
        report.note(&images.label(digest), state);
    }
    for manifest in &images.manifests {
        registry.manifest(manifest, &mut report)?;
    }
    Ok(report)
}

fn plan(images: &Images, place: &Place, report: &mut Report) {
    let base = format!("{}/v2/{}", place.base, place.name);
    for (digest, bytes) in &images.blobs {
        let request = format!(
            "POST {base}/blobs/uploads/\nPUT (the answer's location)?digest={digest}\n\
             content-type: application/octet-stream\n\n({} bytes)",
            bytes.len()
        );
        report.note(&images.label(digest), State::Planned(request));
    }
    for manifest in &images.manifests {
        let reference = place.reference(manifest);
        let text = String::from_utf8_lossy(&manifest.bytes);
        let request =
            format!("PUT {base}/manifests/{reference}\ncontent-type: {MANIFEST}\n\n{text}");
        report.note(&format!("manifest {reference}"), State::Planned(request));
    }
}

/// `HOST[:PORT]/NAME[:TAG]`.
struct Place {
    base: String,
    name: String,
    tag: Option<String>,
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some((other, _)) => bail!("`{other}` is no way to a registry: https://HOST/NAME[:TAG]"),
            None => (None, text),
        };
        let (host, name) = rest
            .split_once('/')
            .with_context(|| format!("expected HOST[:PORT]/NAME[:TAG], found `{text}`"))?;
        // As with docker, a registry on this machine is spoken to without TLS.
        let scheme = scheme.unwrap_or(if loopback(host) { "http" } else { "https" });
        if scheme == "http" && !loopback(host) {
            bail!("{host} is not on this machine: use https");
        }
        let (name, tag) = match name.split_once(':') {
            Some((name, tag)) => (name, Some(tag.to_string())),
            None => (name, None),
        };
        let part = |part: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(plain)
        };
        if !name.split('/').all(part) {
            bail!("`{name}` is no name of a repository: lower-case letters, digits, . _ - and /");
        }
        Ok(Self { base: format!("{scheme}://{host}"), name: name.to_string(), tag })
    }

    /// Under which a manifest is put: the place's tag or its own, or its digest.
    fn reference(&self, manifest: &Manifest) -> String {
        let digest = manifest.descriptor["digest"].as_str().unwrap_or_default();
        let own = manifest.tag.as_ref().map(|own| self.tag.as_ref().unwrap_or(own));
        own.map_or_else(|| digest.to_string(), Clone::clone)
    }
}

struct Registry {
    api: Api,
    place: Place,
    login: Option<Login>,
    secret: Secret,
}

impl Registry {
    fn request(&self, method: &'static str, path: &str) -> Request {
        let url = match path.starts_with("http") {
            true => path.to_string(),
            false => format!("{}/v2/{}/{path}", self.place.base, self.place.name),
        };
        let secret = self.secret.clone();
        Request { method, url, headers: Vec::new(), secret, body: Vec::new() }
    }

    /// Sends a request; once more with what the registry's challenge asks for.
    fn send(&mut self, mut request: Request) -> Result<Response> {
        let answer = self.api.send(&request)?;
        let Some(challenge) = answer.challenge.clone().filter(|_| answer.status == 401) else {
            return Ok(answer);
        };
        self.secret = self.answer(&challenge)?;
        request.secret = self.secret.clone();
        self.api.send(&request)
    }

    /// What proves us to a registry that challenged: Basic (RFC 7617), or a token fetched where the
    /// challenge says (distribution, `docs/spec/auth/token.md`).
    fn answer(&self, challenge: &str) -> Result<Secret> {
        let (kind, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        let basic = || self.login.as_ref().map(Login::basic).unwrap_or_default();
        if kind.eq_ignore_ascii_case("basic") {
            return match &self.login {
                Some(_) => Ok(basic()),
                None => bail!("{} wants a user and password: --login FILE", self.place.base),
            };
        }
        let parameter = |name: &str| parameter(parameters, name);
        let realm = parameter("realm").context("the registry's challenge names no realm")?;
        if !realm.starts_with("https://") && !loopback(host(&realm)) {
            bail!("the registry sends us to {realm} for a token, without TLS");
        }
        let query = ["service", "scope"].iter().filter_map(|name| {
            parameter(name).map(|value| format!("{name}={}", value.replace(' ', "%20")))
        });
        let url = format!("{realm}?{}", query.collect::<Vec<_>>().join("&"));
        let request =
            Request { method: "GET", url, headers: Vec::new(), secret: basic(), body: Vec::new() };
        let answer = self.api.send(&request)?;
        let token: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = token["token"].as_str().or_else(|| token["access_token"].as_str());
        let token = token.filter(|_| answer.status == 200).ok_or_else(|| {
            anyhow!("{realm} gives no token (status {}): is --login right?", answer.status)
        })?;
        Ok(Secret(Some(format!("Bearer {token}"))))
    }

    /// Puts a blob there, unless it is.
    fn blob(&mut self, digest: &str, bytes: &[u8]) -> Result<State> {
        let path = format!("blobs/{digest}");
        if self.send(self.request("HEAD", &path))?.status == 200 {
            return Ok(State::Unchanged);
        }
        let begun = self.send(self.request("POST", "blobs/uploads/"))?;
        if begun.status != 202 {
            return Err(self.failure("an upload", &begun));
        }
        let location = begun.location.context("the registry names no place for the upload")?;
        let location = self.absolute(&location)?;
        let mark = if location.contains('?') { '&' } else { '?' };
        let mut put = self.request("PUT", &format!("{location}{mark}digest={digest}"));
        put.headers.push(("content-type", "application/octet-stream".to_string()));
        put.body = bytes.to_vec();
        let done = self.send(put)?;
        let held = self.send(self.request("HEAD", &path))?.status == 200;
        match held {
            true => Ok(State::Written),
            false => Ok(State::Refused(self.failure("the blob", &done).to_string())),
        }
    }

    /// A location as an address: registries answer with paths, too.
    fn absolute(&self, location: &str) -> Result<String> {
        let absolute = match location.starts_with('/') {
            true => format!("{}{location}", self.place.base),
            false => location.to_string(),
        };
        let secure = absolute.starts_with("https://") || loopback(host(&absolute));
        match secure && absolute.starts_with("http") {
            true => Ok(absolute),
            false => bail!("the registry sends the upload to `{location}`"),
        }
    }

    fn manifest(&mut self, manifest: &Manifest, report: &mut Report) -> Result<()> {
        let reference = self.place.reference(manifest);
        let name = format!("manifest {reference}");
        if self.held(&reference)?.as_deref() == Some(&manifest.bytes[..]) {
            report.note(&name, State::Unchanged);
        } else {
            let answer = self.put(&reference, MANIFEST, &manifest.bytes)?;
            let there = self.held(&reference)?.as_deref() == Some(&manifest.bytes[..]);
            report.note(
                &name,
                match there {
                    true => State::Written,
                    false => State::Refused(self.failure("the manifest", &answer).to_string()),
                },
            );
        }
        match &manifest.subject {
            Some(subject) => self.refer(subject, &manifest.descriptor, report),
            None => Ok(()),
        }
    }

    fn put(&mut self, reference: &str, kind: &str, bytes: &[u8]) -> Result<Response> {
        let mut put = self.request("PUT", &format!("manifests/{reference}"));
        put.headers.push(("content-type", kind.to_string()));
        put.body = bytes.to_vec();
        self.send(put)
    }

    /// The manifest or index that is held under `reference`.
    fn held(&mut self, reference: &str) -> Result<Option<Vec<u8>>> {
        let mut get = self.request("GET", &format!("manifests/{reference}"));
        get.headers.push(("accept", format!("{MANIFEST}, {INDEX}")));
        let answer = self.send(get)?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            _ => Err(self.failure("a manifest", &answer)),
        }
    }

    /// Sees to it that `referrer` is found from its subject.
    fn refer(&mut self, subject: &str, referrer: &Value, report: &mut Report) -> Result<()> {
        let digest = referrer["digest"].clone();
        let mut get = self.request("GET", &format!("referrers/{subject}"));
        get.headers.push(("accept", INDEX.to_string()));
        let answer = self.send(get)?;
        let listed = |index: &[u8]| -> Vec<Value> {
            let index: Value = serde_json::from_slice(index).unwrap_or_default();
            index["manifests"].as_array().cloned().unwrap_or_default()
        };
        if answer.status == 200 {
            let found = listed(&answer.body).iter().any(|entry| entry["digest"] == digest);
            if !found {
                let why = "the registry has the referrers API and does not list it".to_string();
                report.note(&format!("referrer of {subject}"), State::Refused(why));
            }
            return Ok(());
        }
        let tag = subject.replace(':', "-");
        let mut entries = self.held(&tag)?.map(|index| listed(&index)).unwrap_or_default();
        let name = format!("index {tag}");
        if entries.iter().any(|entry| entry["digest"] == digest) {
            report.note(&name, State::Unchanged);
            return Ok(());
        }
        entries.push(referrer.clone());
        entries.sort_by_key(|entry| entry["digest"].to_string());
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let index = serde_json::to_vec(&index)?;
        let answer = self.put(&tag, INDEX, &index)?;
        report.note(
            &name,
            match self.held(&tag)?.as_deref() == Some(&index[..]) {
                true => State::Written,
                false => {
                    State::Refused(self.failure("the index of referrers", &answer).to_string())
                }
            },
        );
        Ok(())
    }

    /// What went wrong, in the registry's words (distribution-spec, «Error Codes»).
    fn failure(&self, what: &str, answer: &Response) -> anyhow::Error {
        let errors: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let first = &errors["errors"][0];
        let word = |name: &str| first[name].as_str().unwrap_or_default().to_string();
        let base = &self.place.base;
        let said = match answer.status {
            401 | 403 => "it does not let us push: is --login right, and may it push there?".into(),
            _ => format!("{} {}", word("code"), word("message")),
        };
        anyhow!("{base} answered {what} with status {}: {}", answer.status, said.trim())
    }
}

/// The value of a challenge's parameter (RFC 9110 section 11.2), quoted or not.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.trim_matches([' ', ',']).eq_ignore_ascii_case(name) {
            return Some(value.to_string());
        }
        rest = next;
    }
    None
}

/// Host and port of an address.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::image::descriptor;
    use super::*;
    use crate::digest::Sha256;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let text = r#"realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        assert_eq!(parameter(text, "realm").as_deref(), Some("https://auth.example/token"));
        assert_eq!(parameter(text, "scope").as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(parameter("realm=x, service=y", "service").as_deref(), Some("y"));
        assert_eq!(parameter(text, "error"), None);
    }

    #[test]
    fn places() {
        let place = |text| Place::parse(text).map(|p| (p.base, p.name, p.tag)).ok();
        let of = |base: &str, name: &str, tag: Option<&str>| {
            Some((base.to_string(), name.to_string(), tag.map(str::to_string)))
        };
        assert_eq!(place("r.example/a/b:v1"), of("https://r.example", "a/b", Some("v1")));
        assert_eq!(place("127.0.0.1:5000/a"), of("http://127.0.0.1:5000", "a", None));
        for bad in ["r.example", "http://r.example/a", "ftp://r.example/a", "r.example/A", "r/../x"]
        {
            assert_eq!(place(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_referrers_tag_is_that_of_the_specification() {
        let subject = format!("sha256:{}", Sha256::of(b"x"));
        assert!(subject.replace(':', "-").starts_with("sha256-2d711642b726"));
        assert_eq!(descriptor("a/b", b"x")["digest"], subject);
    }
}
