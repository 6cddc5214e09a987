//! The canonical document: its text, its schema, and what it refuses.

use super::*;

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
        warnings: Vec::new(),
    }
}

/// Two SNP machines and a TD.
pub(super) fn document() -> Document {
    let tdx = [("mrtd", 3), ("rtmr0", 4), ("rtmr1", 5), ("rtmr2", 6), ("rtmr3", 0)];
    Document::of_machines(vec![
        machine("tdx", 1, &tdx.map(|(name, byte)| (name, register(byte, 48)))),
        machine("sev-snp", 2, &[("measurement", register(2, 48))]),
        machine("sev-snp", 1, &[("measurement", register(1, 48))]),
    ])
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
            "mr_td": list(&[3]), "rtmr_1": list(&[5]), "rtmr_2": list(&[6]),
        })
    );
}
