//! Pushing to a registry: a strict one of our own (OCI distribution-spec 1.1), with and without the
//! referrers API, open and behind tokens.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use guestsmith::digest::{Sha256, base64};
use serde_json::{Value, json};

use crate::publish::Build;
use crate::service::{Answer, Fault, Request, Service};

/// A registry with one repository, `guests/quickstart`.
struct Registry {
    service: Service,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    referrers: bool,
    /// User and password that buy a token.
    login: Option<&'static str>,
    url: String,
    uploads: usize,
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    tags: BTreeMap<String, String>,
}

const TOKEN: &str = "a-token-of-the-registry";

impl Registry {
    fn start(referrers: bool, login: Option<&'static str>, faults: &[Fault]) -> Self {
        let state = Arc::new(Mutex::new(State { referrers, login, ..State::default() }));
        let shared = Arc::clone(&state);
        let service = Service::start(false, faults, move |request| {
            shared.lock().expect("state").answer(request)
        });
        state.lock().expect("state").url.clone_from(&service.url);
        Self { service, state }
    }

    /// Where to push: the repository, by address without scheme.
    fn place(&self) -> String {
        format!("{}/guests/quickstart", self.service.url.trim_start_matches("http://"))
    }

    fn manifest(&self, reference: &str) -> Value {
        let state = self.state.lock().expect("state");
        let digest = state.tags.get(reference).map_or(reference, String::as_str);
        serde_json::from_slice(&state.manifests[digest].1).expect("JSON")
    }

    fn writes(&self) -> usize {
        let requests = self.service.requests();
        requests.iter().filter(|request| request.starts_with('P')).count()
    }
}

fn error(status: u16, code: &str) -> Answer {
    Answer::new(status, json!({"errors": [{"code": code, "message": "no"}]}).to_string())
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/token" {
            assert!(query.contains("service=registry") && query.contains("scope=repository:"));
            let basic = self.login.map(|login| format!("Basic {}", base64(login.as_bytes())));
            return match request.header("authorization") == basic.as_deref() {
                true => Answer::new(200, json!({"token": TOKEN}).to_string()),
                false => error(401, "UNAUTHORIZED"),
            };
        }
        let authorised = format!("Bearer {TOKEN}");
        if self.login.is_some() && request.header("authorization") != Some(&authorised) {
            let challenge = format!(
                "Bearer realm=\"{}/token\",service=\"registry\",\
                 scope=\"repository:guests/quickstart:pull,push\"",
                self.url
            );
            return error(401, "UNAUTHORIZED").with("www-authenticate", challenge);
        }
        let Some(rest) = path.strip_prefix("/v2/guests/quickstart/") else {
            return error(404, "NAME_UNKNOWN");
        };
        match (request.method.as_str(), rest.split_once('/').unwrap_or_default()) {
            ("HEAD" | "GET", ("blobs", digest)) => match self.blobs.get(digest) {
                Some(bytes) => Answer::new(200, bytes.clone()),
                None => error(404, "BLOB_UNKNOWN"),
            },
            ("POST", ("blobs", "uploads/")) => {
                self.uploads += 1;
                let location = format!("/v2/guests/quickstart/blobs/uploads/{}?s=1", self.uploads);
                Answer::new(202, "").with("location", location)
            }
            ("PUT", ("blobs", upload)) => self.upload(upload, query, &request.body),
            ("PUT", ("manifests", reference)) => self.put(reference, request),
            ("GET", ("manifests", reference)) => {
                let digest = self.tags.get(reference).map_or(reference, String::as_str);
                match self.manifests.get(digest) {
                    Some((kind, bytes)) => {
                        assert!(request.header("accept").is_some_and(|text| text.contains(kind)));
                        Answer::new(200, bytes.clone()).with("content-type", kind.clone())
                    }
                    None => error(404, "MANIFEST_UNKNOWN"),
                }
            }
            ("GET", ("referrers", digest)) if self.referrers => self.referrers(digest),
            _ => error(404, "UNSUPPORTED"),
        }
    }

    fn upload(&mut self, upload: &str, query: &str, body: &[u8]) -> Answer {
        assert_eq!(upload, format!("uploads/{}", self.uploads));
        let digest = query.split_once("digest=").expect("a digest").1;
        if digest != format!("sha256:{}", Sha256::of(body)) {
            return error(400, "DIGEST_INVALID");
        }
        self.blobs.insert(digest.to_string(), body.to_vec());
        Answer::new(201, "")
    }

    fn put(&mut self, reference: &str, request: &Request) -> Answer {
        let kind = request.header("content-type").expect("a type").to_string();
        let manifest: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(manifest["mediaType"], kind.as_str());
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        let blobs = layers.iter().chain(manifest.get("config"));
        for descriptor in blobs {
            let held = descriptor["digest"].as_str().and_then(|digest| self.blobs.get(digest));
            if held.is_none_or(|bytes| descriptor["size"] != bytes.len()) {
                return error(404, "MANIFEST_BLOB_UNKNOWN");
            }
        }
        let digest = format!("sha256:{}", Sha256::of(&request.body));
        match reference.starts_with("sha256:") {
            true => assert_eq!(reference, digest),
            false => drop(self.tags.insert(reference.to_string(), digest.clone())),
        }
        self.manifests.insert(digest, (kind, request.body.clone()));
        Answer::new(201, "")
    }

    fn referrers(&self, subject: &str) -> Answer {
        let refers = |bytes: &[u8]| {
            let manifest: Value = serde_json::from_slice(bytes).expect("JSON");
            manifest["subject"]["digest"] == subject
        };
        let found = self.manifests.iter().filter(|(_, (_, bytes))| refers(bytes));
        let found: Vec<_> = found.map(|(digest, _)| json!({"digest": digest})).collect();
        Answer::new(200, json!({"manifests": found}).to_string())
    }
}

#[test]
fn the_artifact_and_its_referrer_are_there_and_not_sent_twice() {
    let build = Build::new();
    let key = build.text("key.pem");
    for referrers in [true, false] {
        let registry = Registry::start(referrers, None, &[]);
        let place = format!("{}:v1", registry.place());
        let to = ["--to", "registry", "--place", &place, "--key", &key];
        let (code, stdout, stderr) = build.publish(&to);
        assert_eq!(code, 0, "{stdout}{stderr}");
        let subject = registry.manifest("v1");
        let layers = subject["layers"].as_array().expect("layers");
        let titles = layers.iter().map(|l| &l["annotations"]["org.opencontainers.image.title"]);
        assert!(titles.clone().any(|title| title == "reference-values.json"));
        assert!(titles.clone().any(|title| title == "reference-values.cose"));
        let digest = registry.state.lock().expect("state").tags["v1"].clone();
        let tag = digest.replace(':', "-");
        let fallback = registry.state.lock().expect("state").tags.contains_key(&tag);
        assert_eq!(fallback, !referrers, "the tag is for registries without the API");
        if fallback {
            let index = registry.manifest(&tag);
            let referrer = index["manifests"][0]["digest"].as_str().expect("a digest");
            assert_eq!(registry.manifest(referrer)["subject"]["digest"], digest.as_str());
            assert_eq!(
                index["manifests"][0]["artifactType"],
                registry.manifest(referrer)["artifactType"]
            );
        }
        let writes = registry.writes();
        let (code, stdout, _) = build.publish(&to);
        assert_eq!(code, 0);
        assert!(stdout.ends_with("holds all of it already: nothing to do\n"), "{stdout}");
        assert_eq!(registry.writes(), writes, "the second time writes nothing");
    }
}

#[test]
fn a_token_is_bought_with_the_login_and_neither_is_shown() {
    let build = Build::new();
    let registry = Registry::start(true, Some("robot:a-password"), &[]);
    let login = build.secret("login", "robot:a-password\n", 0o600);
    let to = ["--to", "registry", "--place", &registry.place(), "--form", "json"];
    let (code, _, stderr) = build.publish(&[&to[..], &["--login", &login]].concat());
    assert_eq!(code, 0, "{stderr}");
    let wrong = build.secret("wrong", "robot:another-one\n", 0o600);
    for (more, said) in [
        (&["--login", wrong.as_str()][..], "gives no token (status 401): is --login right?"),
        (&[], "gives no token (status 401)"),
    ] {
        let (code, stdout, stderr) = build.publish(&[&to[..], more].concat());
        assert_eq!(code, 2, "{stdout}");
        assert!(stderr.contains(said), "{stderr}");
        for secret in ["another-one", "a-password", TOKEN] {
            assert!(!stderr.contains(secret) && !stdout.contains(secret));
        }
    }
    let open = build.secret("open", "robot:a-password\n", 0o644);
    let (code, _, stderr) = build.publish(&[&to[..], &["--login", &open]].concat());
    assert_eq!(code, 2);
    assert!(stderr.contains("can be used by everybody"), "{stderr}");
}

#[test]
fn passing_faults_are_overcome_and_a_dry_run_sends_nothing() {
    let build = Build::new();
    let faults = [Fault::Reset, Fault::Status(500), Fault::None, Fault::Truncated];
    let registry = Registry::start(true, None, &faults);
    let to = ["--to", "registry", "--place", &registry.place(), "--form", "json"];
    let (code, stdout, _) = build.publish(&[&to[..], &["--dry-run"]].concat());
    assert_eq!(code, 0);
    assert!(stdout.contains("/v2/guests/quickstart/manifests/latest"), "{stdout}");
    assert_eq!(registry.service.requests(), [""; 0]);
    let (code, stdout, stderr) = build.publish(&to);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let held = registry.state.lock().expect("state").blobs.clone();
    let document = fs::read(build.path("out/reference-values.json")).expect("a document");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    let same = |bytes: &Vec<u8>| {
        serde_json::from_slice(bytes).is_ok_and(|held: Value| held["recipe"] == document["recipe"])
    };
    assert!(held.values().any(same), "the canonical document is there");
}
