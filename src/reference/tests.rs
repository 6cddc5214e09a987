//! The canonical document: its text, its schema, and what it refuses.

use super::*;
use crate::format::eventlog::Algorithm;

/// A register of `width` bytes, all `byte`.
fn register(byte: u8, width: usize) -> String {
    crate::digest::hex(&vec![byte; width])
}

pub(super) fn machine(tee: &str, vcpus: u32, registers: &[(&str, String)]) -> Machine {
    Machine {
        tee: tee.to_string(),
        vmm: "qemu".to_string(),
        firmware: None,
        cpu: Some("EPYC-Milan".to_string()).filter(|_| tee == "sev-snp"),
        vcpus: Some(vcpus),
        memory: None,
        settings: Default::default(),
        registers: registers
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect(),
        events: Vec::new(),
        confidence: Confidence::ToolsAgree,
        stronger: Default::default(),
        epoch: None,
        candidates: Vec::new(),
        warnings: Vec::new(),
    }
}

/// An RTMR after events with digests of these bytes.
fn extended(events: &[u8]) -> String {
    let extend = |value: Vec<u8>, byte: &u8| Algorithm::Sha384.extend(&value, &[*byte; 48]);
    crate::digest::hex(&events.iter().fold(vec![0; 48], extend))
}

/// Two SNP machines and a TD.
pub(super) fn document() -> Document {
    let tdx = [
        ("mrtd", register(3, 48)),
        ("rtmr0", register(4, 48)),
        ("rtmr1", extended(&[7])),
        ("rtmr2", extended(&[8, 9])),
        ("rtmr3", register(0, 48)),
    ];
    let mut document = Document::of_machines(vec![
        machine("tdx", 1, &tdx),
        machine("sev-snp", 2, &[("measurement", register(2, 48))]),
        machine("sev-snp", 1, &[("measurement", register(1, 48))]),
    ]);
    let event = |register: &str, kind: &str, byte, what: &str| Event {
        register: register.to_string(),
        kind: kind.to_string(),
        digest: self::register(byte, 48),
        what: what.to_string(),
    };
    document.machines[0].events = vec![
        event("rtmr1", "EV_EFI_BOOT_SERVICES_APPLICATION", 7, "kernel"),
        event("rtmr2", "EV_EVENT_TAG", 8, "load options `panic=1`"),
        event("rtmr2", "EV_EVENT_TAG", 9, "Linux initrd"),
    ];
    document
}

/// The same out of a build, with machines of every TEE that a policy knows.
pub(super) fn built() -> Document {
    let mut document = document();
    let recipe = |name: &str| Recipe {
        name: name.to_string(),
        arch: "x86_64".to_string(),
        epoch: "2026-11-01T00:00:00Z".to_string(),
        sha256: register(0xa, 32),
        lock_sha256: register(0xb, 32),
    };
    document.recipe = Some(recipe("guest"));
    let artifact = |name: &str, byte| Artifact {
        name: name.to_string(),
        size: 4096,
        sha256: register(byte, 32),
    };
    document.artifacts = vec![artifact("kernel", 0xc), artifact("initrd", 0xd)];
    let material = |name: &str, version: &str, byte| Material {
        kind: "deb".to_string(),
        name: name.to_string(),
        version: Some(version.to_string()),
        arch: Some("amd64".to_string()),
        sha256: register(byte, 32),
        size: Some(1 << 20),
    };
    document.materials = vec![
        material("libstdc++6", "14.2.0-19", 0xe),
        material("busybox-static", "1:1.37.0-6", 0xf),
    ];
    document.machines.extend([
        machine("sgx", 1, &[("mrenclave", register(0x11, 32)), ("mrsigner", register(0x12, 32))]),
        machine("cca", 1, &[("rim", register(0x13, 32)), ("rem0", register(0x14, 32))]),
        machine("csv", 1, &[("measure", register(0x15, 32))]),
        machine("se", 1, &[("tag", register(0x16, 16)), ("image_phkh", register(0x17, 32))]),
        machine("vtpm", 1, &[("pcr4", register(0x18, 32)), ("pcr11", register(0x19, 32))]),
    ]);
    document
}

#[test]
fn the_text_is_sorted_and_reads_back() {
    let text = document().to_text().expect("a document");
    let read = Document::parse(&text).expect("the same");
    let mut permuted = document();
    permuted.machines.reverse();
    assert_eq!(permuted.to_text().expect("a document"), text);
    assert_eq!(read.to_text().expect("a document"), text);
    assert!(read.machines[0].vcpus == Some(1) && read.machines[2].tee == "tdx");
}

#[test]
fn the_schema_in_the_docs_is_that_of_the_types() {
    let docs = include_str!("../../docs/reference-values.schema.json");
    assert_eq!(schema().expect("JSON"), docs, "update docs/reference-values.schema.json");
}

#[test]
fn what_would_mislead_is_refused() {
    let refused = |change: fn(&mut Document)| {
        let mut changed = document();
        change(&mut changed);
        changed.to_text().expect_err("refused").to_string()
    };
    assert_eq!(
        refused(|d| d.machines.clear()),
        "no machines: a document without a machine allows nothing"
    );
    assert_eq!(
        refused(|d| d.machines[1].registers.clear()),
        "no registers of sev-snp qemu EPYC-Milan 2 vCPUs: a machine without a register says nothing"
    );
    let short = refused(|d| {
        d.machines[1].registers.insert("measurement".into(), register(1, 32));
    });
    assert!(short.contains("2 vCPUs: measurement: expected 96 lower-case hexa"), "{short}");
    let upper = refused(|d| {
        d.machines[0].registers.insert("rtmr1".into(), "AB".repeat(48));
    });
    assert!(upper.contains("found `ABAB"), "{upper}");
    let mixed = refused(|d| {
        d.machines[0].registers.insert("rtmr1".into(), register(5, 48));
    });
    assert!(mixed.starts_with("tdx qemu 1 vCPU: rtmr1 is both 0505"), "{mixed}");
    assert!(mixed.ends_with("by its events: values of two builds are mixed, or one was changed"));
    let narrow = refused(|d| d.machines[0].events[1].digest = register(8, 32));
    assert!(narrow.contains("event load options `panic=1`: expected 96 hexa"), "{narrow}");
    let double = refused(|d| d.machines[1].vcpus = Some(1));
    assert!(double.starts_with("sev-snp qemu EPYC-Milan 1 vCPU is both"), "{double}");
}

#[test]
fn a_later_version_and_unknown_keys_are_refused() {
    let text = document().to_text().expect("a document");
    let later = text.replacen("\"version\": 1", "\"version\": 2", 1);
    assert_eq!(Document::parse(&later), Err(Error::Version { found: 2, known: 1 }));
    let unknown = text.replacen("\"version\"", "\"extra\": 0, \"version\"", 1);
    let error = Document::parse(&unknown).expect_err("unknown key").to_string();
    assert!(error.contains("unknown field `extra`"), "{error}");
}

#[test]
fn a_name_stands_once() {
    let text = document().to_text().expect("a document");
    let twice = text.replacen("\"measurement\"", "\"measurement\": \"ab\", \"measurement\"", 1);
    let error = Document::parse(&twice).expect_err("twice").to_string();
    assert!(error.contains("`measurement` stands twice at line"), "{error}");
    let error = platform_values(r#"{"xfam": 1, "xfam": 2}"#).expect_err("twice").to_string();
    assert!(error.contains("`xfam` stands twice at line 1 column 22"), "{error}");
    assert!(platform_values("[]").is_err());
}

#[test]
fn an_rvps_message_has_lists_under_the_policys_names() {
    use base64::Engine as _;
    let message = rvps::message(&document()).expect("a message");
    assert_eq!((message.version.as_str(), message.kind.as_str()), ("0.1.0", "sample"));
    let payload = base64::engine::general_purpose::STANDARD.decode(&message.payload).expect("b64");
    let payload: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
    let list = |bytes: &[u8]| bytes.iter().map(|b| register(*b, 48)).collect::<Vec<_>>();
    assert_eq!(
        payload,
        serde_json::json!({
            "snp_launch_measurement": list(&[1, 2]),
            "mr_td": list(&[3]), "rtmr_1": [extended(&[7])], "rtmr_2": [extended(&[8, 9])],
            "tdvfkernel": register(7, 48), "tdvfkernelparams": register(8, 48),
        })
    );
}

#[test]
fn every_form_of_a_build() {
    let settings = Settings {
        release: Some("v1.0.0".to_string()),
        trustee: Some("0.21".to_string()),
        svn: Some(3),
        ..Settings::default()
    };
    for emitter in EMITTERS {
        let mut document = built();
        if emitter.name == "corim-launch" {
            document.machines.truncate(1);
        }
        let emitted = emitter.emit(&document, &settings).expect(emitter.name);
        document.machines.reverse();
        document.materials.reverse();
        let permuted = emitter.emit(&document, &settings).expect(emitter.name);
        assert_eq!(permuted.content, emitted.content, "{}: order shapes the bytes", emitter.name);
        if emitter.name == "html" {
            continue; // a page is looked at in a browser
        }
        let text = match String::from_utf8(emitted.content) {
            Ok(text) if !emitter.file.ends_with(".corim") => text,
            Ok(text) => crate::digest::hex(text.as_bytes()),
            Err(binary) => crate::digest::hex(binary.as_bytes()),
        };
        insta::assert_snapshot!(emitter.name, format!("{text}\n{}", emitted.warnings.join("\n")));
    }
}

#[test]
fn platform_values_have_the_shape_that_the_policy_compares_with() {
    let values = |name: &str, value: serde_json::Value| {
        let platform = [(name.to_string(), value)].into();
        let settings = Settings { platform, ..Settings::default() };
        names::values(&document(), &settings).map(|values| values.content[name].clone())
    };
    use serde_json::json;
    assert_eq!(values("snp_bootloader", json!(7)), Ok(json!([7])));
    assert_eq!(values("snp_smt_enabled", json!(true)), Ok(json!(true)));
    assert_eq!(values("tcb_bootloader", json!([3, "4"])), Ok(json!(["3", "4"])));
    assert_eq!(values("smt_enabled", json!(true)), Ok(json!(["true"])));
    let base64 = crate::digest::base64(&[1; 48]);
    assert_eq!(values("measurement", json!(register(1, 48))), Ok(json!([base64])));
    assert_eq!(values("measurement", json!(base64)), Ok(json!([base64])));
    let refused = |name, value| values(name, value).expect_err("refused").to_string();
    for (name, value) in [
        ("snp_bootloader", json!("7")),
        ("snp_bootloader", json!([])),
        ("snp_bootloader", json!(null)),
        ("snp_smt_enabled", json!([true])),
        ("snp_smt_enabled", json!("true")),
        ("xfam", json!("E702060000000000")),
        ("mr_td", json!(register(1, 48))),
    ] {
        let message = refused(name, value);
        assert!(message.starts_with(&format!("platform value {name}: expected ")), "{message}");
    }
    assert!(refused("snp_bootlader", json!(1)).contains("one of snp_bootloader, "));
}

#[test]
fn a_scalar_with_two_values_is_left_out_and_said() {
    let mut document = document();
    let mut other = document.machines[0].clone();
    other.memory = Some(4 << 30);
    other.events[0].digest = register(0x77, 48);
    other.registers.insert("rtmr1".to_string(), extended(&[0x77]));
    document.machines.push(other);
    let values = names::values(&document, &Settings::default()).expect("values");
    assert!(!values.content.contains_key("tdvfkernel"));
    assert!(values.content.contains_key("tdvfkernelparams"));
    assert!(values.warnings[0].starts_with("tdvfkernel is left out: the machines have 2 values"));
}

#[test]
fn a_document_without_such_values_gives_no_empty_message() {
    let document = Document::of_machines(vec![machine("csv", 1, &[("measure", register(1, 32))])]);
    let error = rvps::message(&document).expect_err("nothing to register").to_string();
    assert!(error.starts_with("no values for RVPS: the default policies query none"), "{error}");
    use serde_json::json;
    for hollow in [json!(null), json!([]), json!(""), json!([null]), json!(["ab", ""])] {
        let values = [("mr_td".to_string(), hollow.clone())].into();
        let error = rvps::Message::sample(&values).expect_err("refused").to_string();
        assert_eq!(error, format!("mr_td: expected a value, found {hollow}"));
    }
}

#[test]
fn a_register_with_candidates_is_left_out_and_each_form_says_so() {
    let mut document = document();
    let tdx = &mut document.machines[0];
    tdx.registers.remove("rtmr1");
    let candidate = |byte, when: &str| Candidate {
        register: "rtmr1".to_string(),
        when: when.to_string(),
        value: register(byte, 48),
    };
    tdx.candidates = vec![candidate(5, "edk2 before 202411"), candidate(6, "edk2 202411 or later")];
    let said = format!(
        "rtmr1 of tdx qemu 1 vCPU is left out: it is {} with edk2 before 202411, or {} with edk2 \
         202411 or later; measure with one of them stated",
        register(5, 48),
        register(6, 48)
    );
    for name in ["json", "rvps", "rvps-values", "corim", "table"] {
        let emitted = emitter(name).expect(name).emit(&document, &Settings::default());
        let Emitted { content, warnings } = emitted.expect(name);
        assert!(warnings.contains(&said), "{name}: {warnings:?}");
        assert!(!String::from_utf8_lossy(&content).contains("rtmr_1"), "{name}");
    }
    let refused = emitter("rego").expect("a form").emit(&document, &Settings::default());
    let refused = refused.expect_err("too loose").to_string();
    assert!(refused.contains("no rtmr_1") && refused.ends_with(&said), "{refused}");
    document.machines[0].registers.insert("rtmr1".to_string(), extended(&[7]));
    let both = document.to_text().expect_err("both").to_string();
    assert!(both.ends_with("a register with a value has no candidates"), "{both}");
}
