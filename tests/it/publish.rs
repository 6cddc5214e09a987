//! Publishing: what the services hold afterwards, and what is said when they refuse.
#![expect(clippy::disallowed_methods, reason = "tokens are valid from now on")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use guestsmith::publish::key::Key;
use serde_json::{Value, json};

use crate::command::run;
use crate::kbs_server::{Admin, Kbs, Setup, Storage};
use crate::service::Fault;

/// The private key of RFC 8410 section 10.3: known to everybody.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

/// A build's output directory with two artifacts, a key, and room for more.
pub(crate) struct Build {
    dir: tempfile::TempDir,
}

impl Build {
    pub(crate) fn new() -> Self {
        let build = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir(build.path("out")).expect("a directory");
        let artifact = |name: &str, bytes: &[u8]| {
            fs::write(build.path("out").join(name), bytes).expect("a file");
            let sha256 = guestsmith::digest::Sha256::of(bytes).to_string();
            json!({"name": name, "size": bytes.len(), "sha256": sha256})
        };
        let artifacts = [artifact("initrd", b"an initrd"), artifact("kernel", b"a kernel")];
        let document = json!({
            "version": 1,
            "tool": "guestsmith 0.1.0",
            "recipe": {
                "name": "guest", "arch": "x86_64", "epoch": "2026-11-01T00:00:00Z",
                "sha256": "0a".repeat(32), "lock_sha256": "0b".repeat(32),
            },
            "artifacts": artifacts,
            "machines": [
                {
                    "tee": "sev-snp", "vmm": "qemu", "vcpus": 1, "confidence": "tools-agree",
                    "registers": {"measurement": "01".repeat(48)},
                },
                {
                    "tee": "tdx", "vmm": "qemu", "confidence": "source",
                    "registers": {
                        "mrtd": "02".repeat(48), "rtmr1": "03".repeat(48), "rtmr2": "04".repeat(48),
                    },
                },
            ],
        });
        fs::write(build.path("out/reference-values.json"), document.to_string()).expect("a file");
        build.secret("key.pem", ED25519, 0o600);
        build
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn secret(&self, name: &str, text: &str, mode: u32) -> String {
        fs::write(self.path(name), text).expect("a file");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("mode");
        self.text(name)
    }

    /// A run of `publish` on the build with further arguments.
    pub(crate) fn publish(&self, arguments: &[&str]) -> (i32, String, String) {
        let out = self.text("out");
        run(&[&["publish", &out], arguments].concat())
    }
}

fn key() -> Key {
    Key::from_pem(ED25519).expect("a key")
}

/// A token as an identity provider writes it.
fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "EdDSA", "typ": "JWT"})), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key().sign(text.as_bytes()));
    format!("{text}.{signature}\n")
}

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 3600
}

#[test]
fn a_kbs_of_each_generation_holds_the_values_afterwards() {
    let build = Build::new();
    let token = token(&json!({"role": "admin", "exp": in_an_hour()}));
    let token = build.secret("token.jwt", &token, 0o640);
    let key_file = build.text("key.pem");
    for (admin, arguments) in [
        (Admin::Open, vec![]),
        (Admin::Key(key().public()), vec!["--auth-key", &key_file]),
        (Admin::Role(key().public(), "admin"), vec!["--token", &token]),
    ] {
        let kbs = Kbs::start(admin, &[]);
        let to = [&["--to", "kbs", "--place", &kbs.url][..], &arguments].concat();
        let (code, stdout, stderr) = build.publish(&to);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        assert!(stdout.ends_with("4 written, 0 unchanged, 0 not there\n"), "{stdout}");
        assert_eq!(kbs.values()["snp_launch_measurement"], json!(["01".repeat(48)]));
        assert_eq!(
            kbs.values().keys().collect::<Vec<_>>(),
            ["mr_td", "rtmr_1", "rtmr_2", "snp_launch_measurement",]
        );
        let posts = |kbs: &Kbs| kbs.requests().iter().filter(|r| r.starts_with("POST")).count();
        assert_eq!(posts(&kbs), 1);
        let (code, stdout, _) = build.publish(&to);
        assert_eq!(code, 0);
        assert!(stdout.ends_with("holds all of it already: nothing to do\n"), "{stdout}");
        assert_eq!(posts(&kbs), 1, "the second time writes nothing");
    }
}

#[test]
fn a_dry_run_shows_the_request_and_sends_none() {
    let build = Build::new();
    let kbs = Kbs::start(Admin::Open, &[]);
    let key = build.text("key.pem");
    let to = ["--to", "kbs", "--place", &kbs.url, "--auth-key", &key, "--dry-run"];
    let (code, stdout, stderr) = build.publish(&to);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("POST http://127.0.0.1:"), "{stdout}");
    assert!(stdout.contains("authorization: Bearer (not shown)"), "{stdout}");
    assert!(stdout.contains("\"type\": \"sample\""), "{stdout}");
    assert_eq!(kbs.requests(), [""; 0]);
}

#[test]
fn what_one_refused_value_leaves_behind_is_told() {
    let build = Build::new();
    let kbs = Kbs::start(Admin::Open, &[]);
    let to = ["--to", "kbs", "--place", &kbs.url, "--form", "rvps,rvps-uri", "--release", "v1"];
    let (code, stdout, stderr) = build.publish(&to);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("storages refuse"), "{stderr}");
    let refused = "NOT THERE  rvps:///guestsmith/guest/snp/snp_launch_measurement:v1: RVPS";
    assert!(stdout.contains(refused), "{stdout}");
    assert!(stdout.contains("letters, digits"), "{stdout}");
    assert!(stdout.contains("written    snp_launch_measurement"), "{stdout}");
    assert!(stdout.ends_with("4 written, 0 unchanged, 4 not there\n"), "{stdout}");
}

#[test]
fn a_401_about_the_token_is_told_apart_from_one_about_a_value() {
    let build = Build::new();
    let old = token(&json!({"role": "admin", "exp": 1}));
    let other = token(&json!({"role": "reader", "exp": in_an_hour()}));
    let kbs = Kbs::start(Admin::Role(key().public(), "admin"), &[]);
    let token = build.secret("other.jwt", &other, 0o600);
    let (code, _, stderr) = build.publish(&["--to", "kbs", "--place", &kbs.url, "--token", &token]);
    assert_eq!(code, 2);
    assert!(stderr.contains("does not accept the administrator's key or token"), "{stderr}");
    assert!(stderr.contains("AdminAuthAccess: admin access denied: role"), "{stderr}");
    assert!(stderr.contains("clock says Tue, 24 Nov 2026"), "{stderr}");
    assert!(!stderr.contains(other.trim()), "the token is shown");
    let (code, _, stderr) = build.publish(&["--to", "kbs", "--place", &kbs.url]);
    assert_eq!(code, 2);
    assert!(stderr.contains("asks who its administrator is, and nothing was shown"), "{stderr}");
    let token = build.secret("old.jwt", &old, 0o600);
    let (code, _, stderr) = build.publish(&["--to", "kbs", "--place", &kbs.url, "--token", &token]);
    assert_eq!(code, 2);
    assert!(stderr.contains("has expired"), "{stderr}");
    let endless = build.secret("endless.jwt", &self::token(&json!({"role": "admin"})), 0o600);
    let (code, _, stderr) =
        build.publish(&["--to", "kbs", "--place", &kbs.url, "--token", &endless]);
    assert_eq!(code, 2);
    assert!(stderr.contains("has no `exp`"), "{stderr}");
    assert_eq!(kbs.values().len(), 0);
}

#[test]
fn passing_faults_are_overcome_and_lasting_ones_named() {
    let build = Build::new();
    for faults in [
        &[Fault::Reset][..],
        &[Fault::Truncated],
        &[Fault::Status(500), Fault::Status(503)],
        &[Fault::Slow(300)],
    ] {
        let kbs = Kbs::start(Admin::Open, faults);
        let (code, stdout, stderr) = build.publish(&["--to", "kbs", "--place", &kbs.url]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    }
    let kbs = Kbs::start(Admin::Open, &[Fault::Status(500); 3]);
    let (code, _, stderr) = build.publish(&["--to", "kbs", "--place", &kbs.url]);
    assert_eq!(code, 2);
    assert!(stderr.contains("answered status 500"), "{stderr}");
    let kbs = Kbs::start(Admin::Open, &[Fault::Slow(5000); 3]);
    let to = ["--to", "kbs", "--place", &kbs.url, "--patience", "1"];
    let (code, _, stderr) = build.publish(&to);
    assert_eq!(code, 2);
    assert!(stderr.contains("timeout") && stderr.contains("attempt 3"), "{stderr}");
}

#[test]
fn keys_that_everybody_can_read_are_refused_and_none_is_shown() {
    let build = Build::new();
    let open = build.secret("open.pem", ED25519, 0o644);
    let (code, _, stderr) = build.publish(&["--to", "dir", "--place", "/nowhere", "--key", &open]);
    assert_eq!(code, 2);
    assert!(stderr.contains("can be used by everybody (mode 644)"), "{stderr}");
    let broken = build.secret("broken.pem", &ED25519.replace("MC4C", "MC5C"), 0o600);
    let (code, _, stderr) =
        build.publish(&["--to", "dir", "--place", "/nowhere", "--key", &broken]);
    assert_eq!(code, 2);
    assert!(stderr.contains("broken.pem is no key"), "{stderr}");
    assert!(!stderr.contains("NTuctv5E1hK1bbY8fdp"), "{stderr}");
}

#[test]
fn a_bundle_verifies_until_a_byte_of_it_changes() {
    let build = Build::new();
    let (bundle, key_file) = (build.text("bundle"), build.text("key.pem"));
    let (code, _, stderr) =
        build.publish(&["--to", "bundle", "--place", &bundle, "--key", &key_file]);
    assert_eq!(code, 0, "{stderr}");
    let bundle = Path::new(&bundle);
    let public = key().public();
    let verify = || guestsmith::publish::verify_bundle(bundle, Some(&public)).expect("a bundle");
    let verdict = verify();
    assert!(verdict.signed && verdict.files >= 10, "{verdict:?}");
    assert_eq!(verdict.problems, [""; 0]);
    let (code, stdout, _) =
        build.publish(&["--to", "bundle", "--place", &build.text("bundle"), "--key", &key_file]);
    assert_eq!(code, 0);
    assert!(stdout.contains("nothing to do"), "{stdout}");
    for name in fs::read_dir(bundle).expect("files").map(|e| e.expect("a file").file_name()) {
        let path = bundle.join(&name);
        let good = fs::read(&path).expect("a file");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, bad).expect("a file");
        let verdict = guestsmith::publish::verify_bundle(bundle, Some(&public));
        let found = verdict.map_or(true, |verdict| !verdict.problems.is_empty());
        assert!(found, "{name:?} was changed");
        fs::write(&path, good).expect("a file");
    }
    fs::write(build.path("pub.pem"), public.to_pem().expect("PEM")).expect("a file");
    let (dir, public_key) = (build.text("bundle"), build.text("pub.pem"));
    let (code, stdout, _) = run(&["verify", &dir, "--key", &public_key]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.starts_with("good\n"), "{stdout}");
    assert!(stdout.contains("checked: 15 files have their checksums\n"), "{stdout}");
    assert!(stdout.contains("  checked: signed by this key\n"), "{stdout}");
    fs::write(bundle.join("extra"), "x").expect("a file");
    let (code, stdout, stderr) = run(&["verify", &dir]);
    assert_eq!(code, 1);
    assert!(stdout.contains("extra is not listed in SHA256SUMS"), "{stdout}");
    assert!(stdout.contains("not checked: who made it"), "{stdout}{stderr}");
    assert_eq!(verify().problems, ["extra is not listed in SHA256SUMS"]);
}

#[test]
fn an_oci_layout_is_the_same_each_time_and_its_descriptors_hold() {
    let build = Build::new();
    let key_file = build.text("key.pem");
    for place in ["a", "b"] {
        let place = build.text(place);
        let to = ["--to", "oci", "--place", &place, "--key", &key_file, "--release", "v1"];
        assert_eq!(build.publish(&to).0, 0);
    }
    let index = |place: &str| fs::read(build.path(place).join("index.json")).expect("an index");
    assert_eq!(index("a"), index("b"));
    let index: Value = serde_json::from_slice(&index("a")).expect("JSON");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest").replace(':', "/");
        let bytes = fs::read(build.path("a/blobs").join(&digest)).expect("a blob");
        let found = guestsmith::digest::Sha256::of(&bytes).to_string();
        assert!(digest.ends_with(&found) && descriptor["size"] == bytes.len());
        bytes
    };
    let manifests = index["manifests"].as_array().expect("manifests");
    assert_eq!(manifests.len(), 2, "the values, and the provenance that refers to them");
    let statement: Value = serde_json::from_slice(&blob(&manifests[1])).expect("JSON");
    assert_eq!(statement["subject"]["digest"], manifests[0]["digest"]);
    for manifest in manifests {
        let manifest: Value = serde_json::from_slice(&blob(manifest)).expect("JSON");
        manifest["layers"].as_array().expect("layers").iter().for_each(|layer| {
            blob(layer);
        });
    }
}

#[test]
fn documents_of_two_builds_are_not_mixed() {
    let (one, two) = (Build::new(), Build::new());
    let path = two.path("out/reference-values.json");
    let text = fs::read_to_string(&path).expect("a file").replace("0b0b", "0c0c");
    fs::write(&path, text).expect("a file");
    let (code, _, stderr) = one.publish(&[&two.text("out"), "--to", "dir", "--place", "/nowhere"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("values of two builds, mixed"), "{stderr}");
}

#[test]
fn what_is_stated_must_be_sound_even_where_a_form_could_be_left_out() {
    let build = Build::new();
    let place = build.text("made");
    for (values, why) in [
        (r#"{"snp_bootloader": []}"#, "expected at least one value"),
        (r#"{"snp_bootloader": null}"#, "platform value snp_bootloader"),
        (r#"{"snp_bootloader": "7"}"#, "a number without fraction or sign"),
        (r#"{"snp_bootlader": 7}"#, "one of snp_bootloader, "),
        (r#"{"xfam": 1, "xfam": 2}"#, "`xfam` stands twice"),
    ] {
        let platform = build.secret("host.json", values, 0o644);
        let (code, _, stderr) =
            build.publish(&["--to", "dir", "--place", &place, "--platform", &platform]);
        assert_eq!(code, 2, "{values}");
        assert!(stderr.contains(why), "{stderr}");
    }
    for (option, value) in [("--release", "a b"), ("--trustee", "0.5")] {
        let (code, _, stderr) = build.publish(&["--to", "dir", "--place", &place, option, value]);
        assert_eq!(code, 2);
        assert!(stderr.contains(&format!("found {value}")), "{stderr}");
    }
    assert!(!build.path("made").exists(), "nothing half-written");
}

/// A server with a certificate of the first authority, whose clock is `ahead` of ours.
fn tls(admin: Admin, ahead: i64) -> Kbs {
    Kbs::set_up(Setup { admin, storage: Storage::Memory, tls: true, ahead, faults: &[] })
}

const AUTHORITY: &str = "tests/it/pki/ca-one.pem";

#[test]
fn the_servers_own_authority_is_trusted_and_no_other() {
    let build = Build::new();
    let key = build.text("key.pem");
    let kbs = tls(Admin::Key(key_public()), 0);
    let to = ["--to", "kbs", "--place", &kbs.url, "--auth-key", &key];
    let (code, stdout, stderr) = build.publish(&[&to[..], &["--ca", AUTHORITY]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(kbs.values().len(), 4);
    for more in [&["--ca", "tests/it/pki/ca-two.pem"][..], &[]] {
        let (code, _, stderr) = build.publish(&[&to[..], more].concat());
        assert_eq!(code, 2);
        assert!(stderr.contains("certificate") && stderr.contains("attempt 1"), "{stderr}");
    }
    let (code, _, stderr) = build.publish(&[&to[..], &["--ca", "Cargo.toml"]].concat());
    assert_eq!(code, 2);
    assert!(stderr.contains("holds no certificate (PEM)"), "{stderr}");
}

#[test]
fn a_clock_that_goes_wrong_is_shown() {
    let build = Build::new();
    let key = build.text("key.pem");
    for (ahead, why) in [(-3600, "not yet valid"), (3600, "expired")] {
        let kbs = tls(Admin::Key(key_public()), ahead);
        let to = ["--to", "kbs", "--place", &kbs.url, "--auth-key", &key, "--ca", AUTHORITY];
        let (code, _, stderr) = build.publish(&to);
        assert_eq!(code, 2);
        assert!(stderr.contains(why), "{stderr}");
        assert!(stderr.contains("server's clock says Tue, 24 Nov 2026 00:00:00 GMT"), "{stderr}");
    }
}

fn key_public() -> guestsmith::publish::key::PublicKey {
    key().public()
}

#[test]
fn storages_differ_in_the_names_that_they_take() {
    let build = Build::new();
    let kbs = tls(Admin::Key(key_public()), 0);
    let key = build.text("key.pem");
    let to = ["--to", "kbs", "--place", &kbs.url, "--auth-key", &key, "--ca", AUTHORITY];
    let uris = ["--form", "rvps-uri", "--release", "v1"];
    let (code, stdout, stderr) = build.publish(&[&to[..], &uris].concat());
    assert_eq!(code, 0, "{stdout}");
    assert!(stderr.contains("only Memory and LocalJson take them"), "{stderr}");
    let name = "rvps:///guestsmith/guest/snp/snp_launch_measurement:v1";
    assert_eq!(kbs.values()[name], json!(["01".repeat(48)]));
}

#[test]
fn a_store_that_fails_is_no_absent_value() {
    let build = Build::new();
    let (tls, ahead, faults) = (false, 0, &[][..]);
    let kbs = Kbs::set_up(Setup { admin: Admin::Open, storage: Storage::Gone, tls, ahead, faults });
    let (code, _, stderr) = build.publish(&["--to", "kbs", "--place", &kbs.url]);
    assert_eq!(code, 2);
    assert!(stderr.contains("the RVPS behind http://127.0.0.1:"), "{stderr}");
    assert!(stderr.contains("fails: Failed to get reference_values"), "{stderr}");
    assert!(kbs.requests().iter().all(|request| request.starts_with("GET")));
}

#[test]
fn the_double_refuses_what_trustee_refuses() {
    use guestsmith::store::api::{Api, Request, Secret};
    let kbs = Kbs::start(Admin::Open, &[]);
    let api = Api::new(None, std::time::Duration::from_secs(10)).expect("a client");
    let post = |body: Value| {
        let url = format!("{}/kbs/v0/reference-value", kbs.url);
        let secret = Secret::default();
        let body = body.to_string().into_bytes();
        api.send(&Request { method: "POST", url, headers: Vec::new(), secret, body })
            .expect("an answer")
    };
    let payload = guestsmith::digest::base64(br#"{"mr_td": ["ab"]}"#);
    let good = json!({"version": "0.1.0", "type": "sample", "payload": payload});
    for (name, value) in [
        ("version", json!("0.1.1")),
        ("type", json!("in-toto")),
        ("payload", json!("{}")),
        ("payload", json!(guestsmith::digest::base64(br#"{"a:b": 1}"#))),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        let answer = post(bad);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer.status, 401, "{name}");
        assert!(body["type"].as_str().is_some_and(|kind| kind.ends_with("/RvpsError")), "{body}");
    }
    assert_eq!(kbs.values().len(), 0);
    assert_eq!(post(good).status, 200);
}

#[test]
fn a_key_comes_through_a_descriptor() {
    let build = Build::new();
    let kbs = Kbs::start(Admin::Key(key_public()), &[]);
    let key = fs::File::open(build.path("key.pem")).expect("a key");
    let out = build.text("out");
    let arguments = ["publish", &out, "--to", "kbs", "--place", &kbs.url, "--auth-key", "fd:0"];
    let output = crate::command::guestsmith(&arguments).stdin(key).output().expect("the command");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(kbs.values().len(), 4);
    let (code, _, stderr) = build.publish(&["--to", "dir", "--place", "/x", "--key", "fd:x"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("`fd:x` is no descriptor: write fd:3"), "{stderr}");
}

/// Bytes of all files below `dir`.
fn everything(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path())
    {
        match entry.is_dir() {
            true => bytes.extend(everything(&entry)),
            false => bytes.extend(fs::read(entry).expect("a file")),
        }
    }
    bytes
}

#[test]
fn no_secret_is_in_a_log_an_error_or_an_artifact() {
    let build = Build::new();
    let token = token(&json!({"role": "admin", "exp": in_an_hour()}));
    let token_file = build.secret("token.jwt", &token, 0o600);
    let (key, refused) = (build.text("key.pem"), Kbs::start(Admin::Role(key_public(), "x"), &[]));
    let kbs = Kbs::start(Admin::Role(key_public(), "admin"), &[]);
    let (bundle, oci) = (build.text("made/bundle"), build.text("made/oci"));
    let mut said = String::new();
    for to in [
        vec!["--to", "bundle", "--place", &bundle, "--key", &key],
        vec!["--to", "oci", "--place", &oci, "--key", &key],
        vec!["--to", "kbs", "--place", &kbs.url, "--token", &token_file],
        vec!["--to", "kbs", "--place", &kbs.url, "--token", &token_file, "--dry-run"],
        vec!["--to", "kbs", "--place", &refused.url, "--token", &token_file],
        vec!["--to", "kbs", "--place", &refused.url, "--auth-key", &key],
    ] {
        let (_, stdout, stderr) = build.publish(&[&to[..], &["-vv"]].concat());
        let (_, json, _) = build.publish(&[&to[..], &["--json"]].concat());
        said += &(stdout + &stderr + &json);
    }
    let made = everything(&build.path("made"));
    let all = [said.as_bytes(), &made].concat();
    let inner = ED25519.lines().nth(1).expect("base64");
    let raw = base64::engine::general_purpose::STANDARD.decode(inner).expect("base64");
    let seed = &raw[raw.len() - 32..];
    let hex = guestsmith::digest::hex(seed);
    let signature = token.trim().rsplit('.').next().expect("a signature");
    for secret in [inner.as_bytes(), seed, hex.as_bytes(), signature.as_bytes()] {
        let found = all.windows(secret.len()).any(|window| window == secret);
        assert!(!found, "{} stands somewhere", String::from_utf8_lossy(secret));
    }
    assert!(made.len() > 1000 && said.len() > 1000, "something was looked through");
}
