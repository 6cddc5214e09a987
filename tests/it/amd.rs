//! The AMD family at the command line: firmware by digest, VMSAs, seeds, lints, ID blocks.

use std::fs;
use std::path::Path;

use guestsmith::digest::{base64, unhex};
use guestsmith::format::ovmf;
use guestsmith::measure::id_block::{POLICY, policy, policy_names};
use p384::SecretKey;
use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};
use p384::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use serde_json::Value;

use crate::command::run;
use crate::inputs;

fn firmware(name: &str) -> String {
    inputs::path(name).display().to_string()
}

/// Standard output of `guestsmith measure` with these arguments.
fn measure(arguments: &[&str]) -> String {
    let (code, out, error) = run(&[&["measure", "--quiet"][..], arguments].concat());
    assert_eq!(code, 0, "{arguments:?}: {error}");
    out.trim().to_string()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&measure(&[arguments, &["--json"]].concat())).expect("JSON")
}

fn refused(arguments: &[&str]) -> String {
    let (code, out, error) = run(&[&["measure"][..], arguments].concat());
    assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
    error
}

const TWO_MILAN: [&str; 4] = ["--vcpus", "2", "--cpu", "EPYC-Milan"];

#[test]
fn a_verifier_needs_no_firmware() {
    let image = firmware("sid-OVMF.amdsev.fd");
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (kernel, metadata) = (file("kernel"), file("metadata.json"));
    fs::write(&kernel, b"kernel").expect("written");
    let machine = [&["--tee", "sev-snp", "--kernel", &kernel][..], &TWO_MILAN].concat();
    let whole = [&machine[..], &["--firmware", &image]].concat();
    let expected = measure(&[&whole[..], &["--dump-metadata", &metadata]].concat());
    let text = fs::read_to_string(&metadata).expect("written");
    let digest = serde_json::from_str::<Value>(&text).expect("JSON")["digest"].clone();
    let digest = digest.as_str().expect("a digest");
    let known = [&machine[..], &["--firmware-metadata", &metadata]].concat();
    assert_eq!(measure(&known), expected);
    assert_eq!(measure(&[&known[..], &["--firmware-digest", digest]].concat()), expected);
    // The metadata of an image, under the digest that somebody stated for it.
    assert_eq!(measure(&[&whole[..], &["--firmware-digest", digest]].concat()), expected);
    let other = "00".repeat(48);
    assert_ne!(measure(&[&whole[..], &["--firmware-digest", &other]].concat()), expected);
    let error = refused(&[&known[..], &["--firmware-digest", &other]].concat());
    assert!(error.contains("is for the firmware"), "{error}");
    let error = refused(&[&known[..], &["--firmware", &image]].concat());
    assert!(error.contains("cannot be used with"), "{error}");
}

/// The test of `sev-snp-measure-go` on its own metadata (`guest_test.go`), a firmware nobody has.
#[test]
fn metadata_of_another_tool() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("metadata.json").display().to_string();
    let item = |gpa: &str, kind: u32, size: &str| {
        format!(r#"{{"GPA": "{gpa}", "SectionTypeInt": {kind}, "Size": "{size}"}}"#)
    };
    let items = [
        item("0x800000", 1, "0x9000"),
        item("0x80a000", 1, "0x3000"),
        item("0x80d000", 2, "0x1000"),
        item("0x80e000", 3, "0x1000"),
        item("0x80f000", 1, "0x11000"),
    ];
    let digest = "a58211791a556a630a4319dc9e2ea96cc0e9784dd9f20a4fadf81b26c98d163fcdcb6703884bbbb80d7b1de45b3d84d0";
    let items = items.join(",");
    let text = format!(
        r#"{{"MetadataItems": [{items}], "ResetEIP": "0x80b004", "OVMFHash": "{digest}"}}"#
    );
    fs::write(&path, text).expect("written");
    let arguments = ["--tee", "sev-snp", "--firmware-metadata", &path, "--vmm", "ec2-legacy"];
    let expected = "4c6e33087d08fa770259484dddbef367086a15c3e2cf10038dc97229d39c942671c2e22b300178f8de594a3f2fa59303";
    assert_eq!(measure(&[&arguments[..], &["--vcpus", "2"]].concat()), expected);
}

#[test]
fn vmsas_are_written_one_by_one() {
    let image = firmware("sid-OVMF.amdsev.fd");
    for (tee, features) in [("sev-snp", 1), ("sev-es", 0)] {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().display().to_string();
        let arguments = ["--tee", tee, "--firmware", &image, "--dump-vmsa", &place];
        measure(&[&arguments[..], &["--vcpus", "3", "--cpu", "EPYC-Milan"]].concat());
        let vmsa = |vcpu: u32| fs::read(dir.path().join(format!("vmsa{vcpu}.bin"))).ok();
        let (first, second) = (vmsa(0).expect("the first"), vmsa(1).expect("the second"));
        assert_eq!((first.len(), vmsa(2).as_ref(), vmsa(3)), (4096, Some(&second), None));
        assert_eq!(first[0x310..0x314], 0xa0_0f11_u32.to_le_bytes(), "RDX: the signature");
        assert_eq!(first[0x178..0x17c], 0xfff0_u32.to_le_bytes(), "RIP: the reset vector");
        assert_eq!(second[0x178..0x17c], 0xb004_u32.to_le_bytes(), "RIP: the reset block");
        assert_eq!(first[0x3b0], features, "SEV features under {tee}");
    }
    let error = refused(&["--tee", "sev", "--firmware", &image, "--dump-vmsa", "unused"]);
    assert!(error.contains("sev knows no --dump-vmsa"), "{error}");
    assert!(!Path::new("unused").exists());
}

#[test]
fn values_in_hex_and_base64() {
    let image = firmware("sid-OVMF.amdsev.fd");
    let machine = [&["--tee", "sev-snp", "--firmware", &image][..], &TWO_MILAN].concat();
    let hex = measure(&machine);
    let encoded = measure(&[&machine[..], &["--format", "base64"]].concat());
    assert_eq!(encoded, base64(&unhex(&hex).expect("hexadecimal")));
    assert_eq!((hex.len(), encoded.len()), (96, 64));
}

#[test]
fn a_seed_is_taken_back_for_any_count() {
    let image = firmware("sid-OVMF.amdsev.fd");
    let counts = ["--vcpus", "1,2,7,64", "--vmm", "gce", "--cpu", "EPYC-Genoa"];
    let whole = [&["--tee", "sev-snp", "--firmware", &image][..], &counts].concat();
    let value = json(&whole);
    let parts = &value["machines"][0]["parts"];
    let text = |name: &str| parts[name].as_str().expect("a part").to_string();
    let digests = ["before_vmsas", "first_vmsa", "other_vmsa"].map(text);
    assert_eq!(text("seed"), digests.concat());
    for seed in [text("seed"), digests.join(":")] {
        assert_eq!(
            measure(&[&["--tee", "sev-snp", "--seed", &seed][..], &counts].concat()),
            measure(&whole)
        );
    }
    let error = refused(&[&["--tee", "sev-snp", "--seed", "00:11"][..], &counts].concat());
    assert!(error.contains("96 hexadecimal digits each"), "{error}");
}

/// The firmware at `path` with its second section moved onto the first.
fn with_overlap(path: &str) -> Vec<u8> {
    let mut image = fs::read(path).expect("a firmware");
    let entries = ovmf::table(&image).expect("a table");
    let metadata = ovmf::find(&entries, ovmf::SEV_METADATA).expect("metadata");
    let first = 16 + ovmf::pointed_to(&image, &metadata, "offset").expect("within the file");
    image.copy_within(first..first + 4, first + 12);
    image
}

#[test]
fn lints_are_warnings_and_errors_with_strict() {
    let dir = tempfile::tempdir().expect("a directory");
    let kernel = dir.path().join("kernel").display().to_string();
    fs::write(&kernel, b"kernel").expect("written");
    let (old, generic) = (firmware("trixie-OVMF.fd"), firmware("sid-OVMF.fd"));
    let (split, vars) = (firmware("bookworm-OVMF_CODE_4M.fd"), firmware("sid-OVMF_VARS_4M.fd"));
    let sound = firmware("sid-OVMF.amdsev.fd");
    let overlapping = dir.path().join("overlapping.fd").display().to_string();
    fs::write(&overlapping, with_overlap(&sound)).expect("written");
    for (image, more, expected) in [
        (&old, ["--kernel", &kernel], "no place for its hash"),
        (&generic, ["--kernel", &kernel], "does not compare the kernel"),
        (&split, ["--vmm", "qemu"], "no SEV metadata"),
        (&split, ["--vmm", "qemu"], "not a multiple of 64 KiB"),
        (&generic, ["--vars", &vars], "refuses a flash split"),
        (&overlapping, ["--vmm", "qemu"], "at 0x800000 and memory at 0x800000 overlap"),
        (&sound, ["--vmm", "qemu@9.1"], "`EPYC-Milan-v3` is a CPU model of QEMU 10.2"),
        (&sound, ["--guest-features", "0x20"], "lack SNPActive"),
        (&sound, ["--guest-features", "0x8000000001"], "bits without a name: 0x8000000000"),
        (&sound, ["--initrd", &kernel], "measured only beside a kernel"),
    ] {
        let two = ["--vcpus", "2", "--cpu", "EPYC-Milan-v3"];
        let machine = [&["--tee", "sev-snp", "--firmware", image][..], &two, &more].concat();
        let value = json(&machine);
        let warnings = value["machines"][0]["warnings"].as_array().expect("a list");
        let said = |w: &Value| w.as_str().is_some_and(|text| text.contains(expected));
        assert!(warnings.iter().any(said), "{expected}: {warnings:?}");
        let (code, out, error) = run(&[&["measure"][..], &machine].concat());
        assert!(code == 0 && !out.is_empty() && error.contains(expected), "{error}");
        let error = refused(&[&machine[..], &["--strict"]].concat());
        assert!(error.starts_with("error: "), "{error}");
    }
    let machine = [&["--tee", "sev-snp", "--firmware", &sound][..], &TWO_MILAN].concat();
    let kernel = firmware("trixie-vmlinuz-cloud");
    measure(&[&machine[..], &["--kernel", &kernel, "--strict"]].concat());
}

#[test]
fn policies_both_ways() {
    for (bit, name) in POLICY {
        let value = 1 << 17 | 1 << bit;
        assert_eq!(policy(name), Ok(value), "{name}");
        assert!(policy_names(value).iter().any(|known| known == name), "{name}");
    }
    for value in [0x3_0000, 0xb_0137, 0x3ff_ff01, 1 << 17 | 1 << 63] {
        assert_eq!(policy(&policy_names(value).join(",")), Ok(value), "{value:#x}");
    }
}

/// Made by `snp-create-id-block` of `sev-snp-measure` 0.0.13 for the same digest and keys; its
/// signatures are random.
#[test]
fn an_id_block_signed_here_and_elsewhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let secret = |byte: u8| SecretKey::from_slice(&[byte; 48]).expect("a scalar");
    let written = |name: &str, key: &SecretKey| {
        let pem = key.to_pkcs8_pem(p384::pkcs8::LineEnding::LF).expect("PEM");
        fs::write(file(name), pem.as_bytes()).expect("written");
        let public = key.public_key().to_public_key_pem(p384::pkcs8::LineEnding::LF);
        fs::write(file(&format!("{name}.pub")), public.expect("PEM")).expect("written");
    };
    let keys = [("id", secret(1)), ("author", secret(2))];
    keys.iter().for_each(|(name, key)| written(name, key));
    let digest = "5a".repeat(48);
    let id_block = |arguments: &[&str]| {
        let (code, out, error) =
            run(&[&["id-block", "--json", "--measurement", &digest][..], arguments].concat());
        (code, serde_json::from_str::<Value>(&out).unwrap_or_default(), error)
    };
    let (id, author) = (file("id"), file("author"));
    let (code, here, error) = id_block(&["--id-key", &id, "--author-key", &author]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(here["id_block"], ID_BLOCK);
    assert_eq!(here["id_key_digest"], ID_KEY);
    assert_eq!(here["author_key_digest"], AUTHOR_KEY);
    let qemu = here["qemu"].as_str().expect("text");
    assert!(
        qemu.starts_with("policy=0x30000,id-block=Wlpa") && qemu.contains("author-key-enabled=on")
    );

    let (payload, key) = (file("payload"), file("key"));
    let (id_pub, author_pub) = (file("id.pub"), file("author.pub"));
    id_block(&["--payload", &payload, "--public-key", &id_pub, "--author-payload", &key]);
    let sign = |key: &SecretKey, path: &str, raw: bool| {
        let message = fs::read(path).expect("a payload");
        let signature: Signature = SigningKey::from(key).sign(&message);
        let bytes = if raw { signature.to_vec() } else { signature.to_der().as_bytes().to_vec() };
        fs::write(format!("{path}.sig"), bytes).expect("written");
        format!("{path}.sig")
    };
    let (id_sig, author_sig) = (sign(&keys[0].1, &payload, false), sign(&keys[1].1, &key, true));
    let given = ["--signature", &id_sig, "--public-key", &id_pub];
    let authored = ["--author-signature", &author_sig, "--author-public-key", &author_pub];
    let (code, elsewhere, error) = id_block(&[&given[..], &authored].concat());
    assert_eq!((code, &elsewhere), (0, &here), "{error}");
    // A signature over anything else is no signature of this block.
    let (code, _, error) = id_block(&[&given[..], &["--svn", "1"]].concat());
    assert!(code == 2 && error.contains("over the 96 bytes of the ID block"), "{error}");
}

const ID_BLOCK: &str = "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAwAAAAAA";
const ID_KEY: &str = "070fb0a1cdfa094726c80f5a9cb4a5d0a8bb5195225d026f6102e04f6e676bbbc214e4c477f8ade7c2b37d0a470a33dd";
const AUTHOR_KEY: &str = "88e72344ccbedcafc0468a2fa0d26bf8b76595347a4620fe597169f2451298b7d0b92d917ff81bf380ffbf325a216a64";
