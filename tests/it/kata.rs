//! The hand-over to Kata Containers: real firmware and kernel, and what a node would get.

use std::fs;
use std::path::Path;

use guestsmith::digest::Sha256;
use guestsmith::format::tar::{self, Kind};
use serde_json::{Value, json};

use crate::command::run;
use crate::inputs;

/// A build's output directory with Debian's firmware and kernel and an initrd of our own.
fn build(dir: &Path) -> String {
    let files = [
        ("firmware-amdsev.fd", inputs::read("sid-OVMF.amdsev.fd")),
        ("firmware-generic.fd", inputs::read("sid-OVMF.fd")),
        ("vmlinuz", inputs::read("trixie-vmlinuz-cloud")),
        ("initrd.img", b"an initrd".repeat(1000)),
        ("cmdline", b"console=ttyS0 panic=-1".to_vec()),
    ];
    let artifact = |(name, bytes): &(&str, Vec<u8>)| {
        fs::write(dir.join(name), bytes).expect("a file");
        json!({"name": name, "size": bytes.len(), "sha256": Sha256::of(bytes).to_string()})
    };
    let artifacts: Vec<_> = files.iter().map(artifact).collect();
    let machine = |tee: &str, firmware: &str, vcpus: u32, register: &str| {
        json!({
            "tee": tee, "vmm": "qemu", "firmware": firmware, "vcpus": vcpus,
            "memory": if tee == "tdx" { json!(2_u64 << 30) } else { json!(null) },
            "confidence": "source", "registers": {register: "01".repeat(48)},
        })
    };
    let document = json!({
        "version": 1, "tool": "guestsmith 0.1.0",
        "recipe": {
            "name": "guest", "arch": "x86_64", "epoch": "2026-11-01T00:00:00Z",
            "sha256": "0a".repeat(32), "lock_sha256": "0b".repeat(32),
        },
        "artifacts": artifacts,
        "machines": [
            machine("sev-snp", "amdsev", 1, "measurement"),
            machine("sev-snp", "amdsev", 2, "measurement"),
            machine("tdx", "generic", 1, "mrtd"),
        ],
    });
    fs::write(dir.join("reference-values.json"), document.to_string()).expect("a file");
    dir.display().to_string()
}

fn text(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(dir: &Path, name: &str) -> Value {
    serde_json::from_str(&text(dir, name)).expect("JSON")
}

fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().expect("a digest").replace(':', "/");
    let bytes = fs::read(layout.join("blobs").join(&digest)).expect("a blob");
    assert!(digest.ends_with(&Sha256::of(&bytes).to_string()));
    assert_eq!(descriptor["size"], bytes.len());
    bytes
}

/// Hands the build in `from` over, and gives the directory.
fn hand_over(from: &str, to: &Path, more: &[&str]) -> String {
    let place = to.display().to_string();
    let arguments =
        ["publish", from, "--to", "kata", "--place", &place, "--payload", "r.example/p"];
    let (code, stdout, stderr) = run(&[&arguments[..], more].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
    stdout
}

#[test]
fn the_registers_are_those_of_the_command_line_that_the_runtime_makes() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (from, to) = (build(temporary.path()), temporary.path().join("kata"));
    hand_over(&from, &to, &["--runtime", "4.1.0"]);
    let machines = json(&to, "reference-values.json")["machines"].clone();
    let machines = machines.as_array().expect("machines");
    assert_eq!(machines.len(), 3);
    let file = |name: &str| temporary.path().join(name).display().to_string();
    for machine in machines {
        let tee = machine["tee"].as_str().expect("a TEE");
        let shim = if tee == "tdx" { "qemu-tdx" } else { "qemu-snp" };
        let cmdline = text(&to, &format!("{shim}.cmdline"));
        assert!(cmdline.ends_with("agent.launch_process_timeout=6 console=ttyS0 panic=-1"));
        let firmware = format!("firmware-{}.fd", machine["firmware"].as_str().expect("firmware"));
        let vcpus = machine["vcpus"].to_string();
        let (firmware, kernel, initrd) = (file(&firmware), file("vmlinuz"), file("initrd.img"));
        let mut arguments = vec![
            "measure",
            "--tee",
            tee,
            "--vmm",
            "qemu@11.0",
            "--vcpus",
            &vcpus,
            "--firmware",
            &firmware,
            "--kernel",
            &kernel,
            "--initrd",
            &initrd,
            "--cmdline",
            &cmdline,
            "--json",
        ];
        arguments.extend(match tee {
            "tdx" => ["--memory", "2GiB"],
            _ => ["--cpu", "EPYC-v4"],
        });
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(code, 0, "{stderr}");
        let measured: Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!(measured["machines"][0]["registers"], machine["registers"], "{tee}");
    }
}

#[test]
fn the_payload_has_what_the_resources_point_to_and_is_the_same_each_time() {
    let temporary = tempfile::tempdir().expect("a directory");
    let from = build(temporary.path());
    let (one, two) = (temporary.path().join("one"), temporary.path().join("two"));
    hand_over(&from, &one, &["--runtime", "4.1.0"]);
    hand_over(&from, &two, &["--runtime", "4.1.0"]);
    let again = hand_over(&from, &one, &["--runtime", "4.1.0"]);
    assert!(again.contains("nothing to do"), "{again}");
    for name in ["values.yaml", "ccruntime.yaml", "payload/index.json", "qemu-tdx.toml"] {
        assert_eq!(text(&one, name), text(&two, name));
    }
    let layout = one.join("payload");
    let index = json(&layout, "index.json");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
    for name in ["values.yaml", "ccruntime.yaml"] {
        assert!(text(&one, name).contains(&format!("r.example/p@{digest}")), "{name}");
    }
    let manifest = blob(&layout, &index["manifests"][0]);
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let config: Value = serde_json::from_slice(&blob(&layout, &manifest["config"])).expect("JSON");
    let layer = blob(&layout, &manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    let entries = tar::parse(&layer).expect("an archive");
    let names: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
    for name in [
        "custom-configs/custom-runtimes.list",
        "custom-configs/dropin-kata-guest-snp.toml",
        "opt/kata-artifacts/shim-components.json",
        "opt/kata-artifacts/tarballs/kata-static-guestsmith.tar.zst",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[test]
fn the_payload_is_laid_upon_the_image_of_kata_deploy() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (from, to) = (build(temporary.path()), temporary.path().join("kata"));
    let base = temporary.path().join("base");
    fs::create_dir_all(base.join("blobs/sha256")).expect("a directory");
    let put = |bytes: &[u8]| {
        let digest = Sha256::of(bytes).to_string();
        fs::write(base.join("blobs/sha256").join(&digest), bytes).expect("a blob");
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/usr/bin/kata-deploy"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:aa"]},
    });
    let below = put(b"a layer of kata-deploy");
    let manifest = json!({"config": put(config.to_string().as_bytes()), "layers": [below]});
    let mut entry = put(manifest.to_string().as_bytes());
    entry["platform"] = json!({"architecture": "amd64"});
    let index =
        json!({"manifests": [{"digest": "x", "platform": {"architecture": "s390x"}}, entry]});
    fs::write(base.join("index.json"), index.to_string()).expect("an index");
    let base_text = base.display().to_string();
    hand_over(&from, &to, &["--runtime", "3.31.0", "--base", &base_text]);
    let layout = to.join("payload");
    let index = json(&layout, "index.json");
    let manifest = blob(&layout, &index["manifests"][0]);
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(blob(&layout, &manifest["layers"][0]), b"a layer of kata-deploy");
    let config: Value = serde_json::from_slice(&blob(&layout, &manifest["config"])).expect("JSON");
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/kata-deploy");
    assert_eq!(config["rootfs"]["diff_ids"][1], manifest["layers"][1]["digest"]);
    // Before 3.32 the tree is copied as it is.
    let layer = blob(&layout, &manifest["layers"][1]);
    let entries = tar::parse(&layer).expect("an archive");
    let path = "opt/kata-artifacts/opt/kata/share/guestsmith/guest/initrd.img";
    let initrd = entries.iter().find(|entry| entry.path == path).expect("the initrd");
    let Kind::File(range) = &initrd.kind else { panic!("{:?}", initrd.kind) };
    assert_eq!(layer[range.clone()], b"an initrd".repeat(1000));
    fs::write(
        base.join("blobs/sha256").join(Sha256::of(b"a layer of kata-deploy").to_string()),
        "x",
    )
    .expect("a blob");
    let place = to.display().to_string();
    let (code, _, stderr) = run(&[
        "publish",
        &from,
        "--to",
        "kata",
        "--place",
        &place,
        "--runtime",
        "4.1.0",
        "--base",
        &base_text,
    ]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is not what its name says"), "{stderr}");
}

#[test]
fn an_unknown_runtime_and_a_changed_artifact_are_refused() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (from, place) = (build(temporary.path()), temporary.path().join("kata"));
    let place = place.display().to_string();
    let arguments = ["publish", &from, "--to", "kata", "--place", &place, "--runtime"];
    let (code, _, stderr) = run(&[&arguments[..], &["3.2.0"]].concat());
    assert_eq!(code, 2);
    assert!(stderr.contains("a guess would be a wrong digest"), "{stderr}");
    fs::write(temporary.path().join("initrd.img"), "another").expect("a file");
    let (code, _, stderr) = run(&[&arguments[..], &["4.1.0"]].concat());
    assert_eq!(code, 2);
    assert!(stderr.contains("two builds are mixed"), "{stderr}");
    assert!(!Path::new(&place).exists(), "nothing half-written");
}
