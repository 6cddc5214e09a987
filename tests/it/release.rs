//! Two releases that differ in one input, from the recipe to the word of two rebuilders: what each
//! verb says of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use guestsmith::publish::key::Key;
use p384::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::Value;

use crate::command::run;
use crate::inputs;

const RECIPE: &str = "
name: guest
arch: x86_64
epoch: 2026-11-01T00:00:00Z
firmware:
  own: {file: own.fd}
kernel: {file: vmlinuz}
initrd:
  files:
    - write: {at: /etc/motd, text: \"hello\\n\"}
cmdline: [console=ttyS0, quiet]
machines:
  - sev-snp: {firmware: own, vcpus: [1, 2], cpu: EPYC-Milan}
";

/// A directory with recipes, keys and releases.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        for (number, name) in [(1, "maker"), (2, "alice"), (3, "bob")] {
            let key = p256::SecretKey::from_slice(&[number; 32]).expect("a scalar");
            let pem = key.to_pkcs8_pem(LineEnding::LF).expect("PEM");
            let path = place.path(&format!("{name}.pem"));
            fs::write(&path, pem.as_bytes()).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
            let public = Key::from_pem(&pem).expect("a key").public().to_pem().expect("PEM");
            fs::write(place.path(&format!("{name}.pub")), public).expect("written");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs with the store of this place; paths are those that begin with `@`.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let own = |word: &&str| match word.strip_prefix('@') {
            Some(name) => self.text(name),
            None => (*word).to_string(),
        };
        let all: Vec<_> = arguments.iter().map(own).chain(["--store".into()]).collect();
        let all: Vec<_> = all.into_iter().chain([self.text("store")]).collect();
        run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (code, out, error) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{error}");
        out
    }

    /// Locks, builds and releases a recipe in a directory of that name.
    fn release(&self, name: &str, recipe: &str) {
        let directory = self.path(name);
        fs::create_dir(&directory).expect("made");
        let mut kernel = vec![0; 0x1000];
        kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        kernel[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
        fs::write(directory.join("vmlinuz"), kernel).expect("written");
        fs::copy(inputs::path("sid-OVMF.amdsev.fd"), directory.join("own.fd")).expect("copied");
        fs::write(directory.join("guest.yaml"), recipe).expect("written");
        let [recipe, out, bundle] = ["guest.yaml", "out", "bundle"].map(|f| format!("@{name}/{f}"));
        self.good(&["lock", &recipe]);
        self.good(&["build", &recipe, "--out", &out]);
        let place = self.text(&format!("{name}/bundle"));
        self.good(&["publish", &out, "--to", "bundle", "--place", &place, "--key", "@maker.pem"]);
        assert!(self.path(&bundle[1..]).is_dir());
    }
}

#[test]
fn a_release_is_rebuilt_and_two_words_make_it_acceptable() {
    let place = Place::new();
    place.release("one", RECIPE);
    let verify = ["verify", "@one/bundle", "--key", "@maker.pub"];
    for name in ["alice", "bob"] {
        let (word, key) = (format!("@{name}.intoto.jsonl"), format!("@{name}.pem"));
        let rebuild = ["--rebuild", "@one/guest.yaml", "--attest", &word, "--signing-key", &key];
        let told = place.good(&[&verify[..], &rebuild].concat());
        assert!(told.contains("checked: built again, bit for bit: "), "{told}");
        assert!(told.contains("checked: 2 machines measured again"), "{told}");
    }
    let who =
        |name: &str| format!("  {name}: {{key: {name}.pub, attestation: {name}.intoto.jsonl}}\n");
    let list = format!("rebuilders:\n{}{}", who("alice"), who("bob"));
    fs::write(place.path("rebuilders.yaml"), list).expect("written");
    let require = |n| [&verify[..], &["--require", n, "@rebuilders.yaml"]].concat();
    let told = place.good(&require("2-of"));
    assert!(told.contains("alice vouches for it") && told.contains("bob vouches"), "{told}");
    // A word with a byte of it changed is none, and one is not enough.
    let path = place.path("bob.intoto.jsonl");
    let word = fs::read_to_string(&path).expect("a statement");
    fs::write(&path, word.replacen("\"payload\":\"e", "\"payload\":\"f", 1)).expect("written");
    let (code, told, _) = place.run(&require("2-of"));
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("bob does not vouch for it"), "{told}");
    assert!(told.contains("1 rebuilders vouch for it, 2 are required"), "{told}");
    place.good(&require("1-of"));
}

#[test]
fn what_changed_between_two_releases_and_which_registers_move() {
    let place = Place::new();
    place.release("one", RECIPE);
    place.release("two", &RECIPE.replace("quiet]", "debug]").replace("hello", "goodbye"));
    let (code, out, error) = place.run(&["diff", "@one/out", "@two/out", "--json"]);
    assert_eq!(code, 1, "{error}");
    let found: Value = serde_json::from_str(&out).expect("JSON");
    let causes = found["causes"].as_array().expect("causes").iter();
    let inputs: Vec<_> = causes.map(|cause| cause["input"].as_str().expect("text")).collect();
    assert_eq!(inputs, ["cmdline", "initrd"]);
    assert_eq!(found["causes"][0]["machines"], 2);
    assert_eq!(found["causes"][0]["registers"][0], "measurement");
    let moved = found["builds"]["moved"].as_array().expect("machines");
    assert_eq!(moved.len(), 2, "{out}");
    let (_, markdown, _) = place.run(&["diff", "@one/out", "@two/out", "--markdown"]);
    assert!(markdown.contains("### registers that move"), "{markdown}");
    assert!(markdown.contains("- hello") && markdown.contains("+ goodbye"), "{markdown}");
    // A release whose recipe is another's does not follow from it.
    let verify = ["verify", "@one/bundle", "--rebuild", "@two/guest.yaml"];
    let (code, _, error) = place.run(&verify);
    assert!(code == 2 && error.contains("is not the lock of the bundle"), "{error}");
}

#[test]
fn a_bundle_and_its_manifest_are_looked_into() {
    let place = Place::new();
    place.release("one", RECIPE);
    let told = place.good(&["inspect", "@one/bundle", "--json"]);
    let found: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(found["format"], "bundle");
    let files = found["facts"]["files"].as_array().expect("files");
    let is = |path: &str| {
        let file = files.iter().find(|file| file["path"] == path);
        file.map(|file| file["is"].clone()).unwrap_or_default()
    };
    assert_eq!(is("initrd.img"), "initial RAM disk (cpio)");
    assert_eq!(is("firmware-own.fd"), "UEFI firmware image");
    assert_eq!(is("reference-values.json"), "canonical document of reference values");
    let corim = "CoRIM (concise reference integrity manifest)";
    let manifest = files.iter().find(|file| file["is"] == corim).expect("a CoRIM");
    let path = format!("@one/bundle/{}", manifest["path"].as_str().expect("text"));
    let told = place.good(&["inspect", &path]);
    let value = &found["facts"]["reference_values"]["machines"][0]["measurement"];
    assert!(told.contains(value.as_str().expect("a digest")), "{told}");
    assert!(told.contains("environment:") && told.contains("signed:"), "{told}");
}
