//! Policies in a real Rego engine: claims that must pass, and every way in which they must not.

use std::collections::BTreeMap;

use guestsmith::format::eventlog::Algorithm;
use guestsmith::publish::{Appraisal, Finding, appraise, check_policy};
use guestsmith::reference::{Confidence, Document, Event, Machine, Settings, emitter, names};
use serde_json::{Value, json};

fn machine(tee: &str, registers: &[(&str, &str, usize)]) -> Machine {
    let register =
        |(name, byte, width): &(&str, &str, usize)| (name.to_string(), byte.repeat(*width));
    Machine {
        tee: tee.to_string(),
        vmm: "qemu".to_string(),
        firmware: None,
        cpu: None,
        vcpus: None,
        memory: None,
        settings: BTreeMap::new(),
        registers: registers.iter().map(register).collect(),
        events: Vec::new(),
        confidence: Confidence::Source,
        stronger: BTreeMap::new(),
        epoch: None,
        candidates: Vec::new(),
        warnings: Vec::new(),
    }
}

/// The grouped policy of `machines`.
fn policy(machines: &[Machine]) -> String {
    let document = Document::of_machines(machines.to_vec());
    let emitted = emitter("rego").expect("a form").emit(&document, &Settings::default());
    String::from_utf8(emitted.expect("a policy").content).expect("text")
}

fn verdict(policy: &str, claims: &Value, values: &[(&str, Value)]) -> (i64, i64, i64) {
    let values = values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    let Appraisal { executables, hardware, configuration } =
        appraise(policy, claims, &values).expect("an appraisal");
    (executables, hardware, configuration)
}

/// The claims with the value at `path` changed.
fn but(claims: &Value, path: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    *claims.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
    claims
}

fn b64(byte: u8, width: usize) -> String {
    guestsmith::digest::base64(&vec![byte; width])
}

#[test]
fn sgx() {
    let policy = policy(&[machine("sgx", &[("mrenclave", "11", 32), ("mrsigner", "12", 32)])]);
    let good = json!({"sgx": {
        "body": {
            "mr_enclave": "11".repeat(32), "mr_signer": "12".repeat(32),
            "attributes.flags": "0500000000000000",
        },
        "tcb_status": "UpToDate", "collateral_expiration_status": "0",
    }});
    assert_eq!(verdict(&policy, &good, &[]), (3, 2, 2));
    let other = json!("22".repeat(32));
    assert_eq!(verdict(&policy, &but(&good, "/sgx/body/mr_enclave", other.clone()), &[]).0, 33);
    assert_eq!(verdict(&policy, &but(&good, "/sgx/body/mr_signer", other), &[]).0, 33);
    assert_eq!(verdict(&policy, &but(&good, "/sgx/tcb_status", json!("Revoked")), &[]).1, 97);
    let debug = but(&good, "/sgx/body/attributes.flags", json!("0700000000000000"));
    assert_eq!(verdict(&policy, &debug, &[]).2, 36);
}

#[test]
fn cca() {
    let registers = [("rim", "13", 32), ("rem0", "14", 32)];
    let policy = policy(&[machine("cca", &registers)]);
    let zero = b64(0, 32);
    let good = json!({"cca": {"platform": {"x": 1}, "realm": {
        "cca-realm-initial-measurement": b64(0x13, 32),
        "cca-realm-extensible-measurements": [b64(0x14, 32), zero, zero, zero],
    }}});
    assert_eq!(verdict(&policy, &good, &[]), (3, 2, 2));
    let realm = "/cca/realm/cca-realm-";
    for path in ["initial-measurement", "extensible-measurements/0"] {
        let bad = but(&good, &format!("{realm}{path}"), json!(b64(0x22, 32)));
        assert_eq!(verdict(&policy, &bad, &[]).0, 33, "{path}");
    }
}

#[test]
fn csv_and_secure_execution() {
    let csv = policy(&[machine("csv", &[("measure", "15", 32)])]);
    let good = json!({"csv": {"measure": "15".repeat(32), "policy": {"nodbg": 1}}});
    assert_eq!(verdict(&csv, &good, &[]), (3, 2, 2));
    assert_eq!(verdict(&csv, &but(&good, "/csv/measure", json!("16".repeat(32))), &[]).0, 33);
    assert_eq!(verdict(&csv, &but(&good, "/csv/policy/nodbg", json!(0)), &[]).2, 36);
    let se = policy(&[machine("se", &[("tag", "16", 16), ("image_phkh", "17", 32)])]);
    let good = json!({"se": {"tag": "16".repeat(16), "image_phkh": "17".repeat(32)}});
    assert_eq!(verdict(&se, &good, &[]), (3, 2, 2));
    for path in ["/se/tag", "/se/image_phkh"] {
        assert_eq!(verdict(&se, &but(&good, path, json!("00")), &[]).0, 33, "{path}");
    }
}

#[test]
fn registers_of_two_tdx_machines_do_not_mix() {
    let tdx = |byte| {
        let registers =
            [("mrtd", byte, 48), ("rtmr0", byte, 48), ("rtmr1", byte, 48), ("rtmr2", byte, 48)];
        let mut machine = machine("tdx", &registers);
        machine.vcpus = byte.parse().ok();
        machine
    };
    let policy = policy(&[tdx("01"), tdx("02")]);
    let one = "01".repeat(48);
    let good = json!({"tdx": {
        "quote": {
            "header": {"tee_type": "81000000", "vendor_id": "939a7233f79c4ca9940a0db3957f0607"},
            "body": {
                "mr_td": one, "rtmr_0": one, "rtmr_1": one, "rtmr_2": one, "xfam": "e702060000000000",
            },
        },
        "tcb_status": "UpToDate", "collateral_expiration_status": "0",
        "td_attributes": {"debug": false},
    }});
    let xfam = [("xfam", json!(["e702060000000000"]))];
    assert_eq!(verdict(&policy, &good, &xfam), (3, 2, 2));
    let other = json!("02".repeat(48));
    for register in ["mr_td", "rtmr_1", "rtmr_2"] {
        let mixed = but(&good, &format!("/tdx/quote/body/{register}"), other.clone());
        let (executables, hardware, _) = verdict(&policy, &mixed, &xfam);
        assert_eq!((executables, hardware), (33, 97), "{register} of the other machine");
    }
    let mixed = but(&good, "/tdx/quote/body/rtmr_0", other);
    assert_eq!(verdict(&policy, &mixed, &xfam), (3, 2, 3), "RTMR0 is about the configuration");
    assert_eq!(verdict(&policy, &good, &[]).2, 36, "xfam is not provisioned");
    let debug = but(&good, "/tdx/td_attributes/debug", json!(true));
    assert_eq!(verdict(&policy, &debug, &xfam).2, 36);
}

#[test]
fn an_empty_input_and_another_tee_are_contraindicated() {
    let policy = policy(&[machine("sev-snp", &[("measurement", "01", 48)])]);
    let nothing =
        [json!({}), json!({"snp": {}}), json!({"tdx": {}}), json!({"snp": {"measurement": null}})];
    for claims in nothing {
        assert_eq!(verdict(&policy, &claims, &[]), (33, 97, 36), "{claims}");
    }
}

/// Every machine that the default policy knows, one of each.
fn known() -> Document {
    let mut tdx = machine("tdx", &[("mrtd", "02", 48)]);
    for (register, event) in [("rtmr1", 5), ("rtmr2", 6)] {
        let value = Algorithm::Sha384.extend(&[0; 48], &[event; 48]);
        tdx.registers.insert(register.to_string(), guestsmith::digest::hex(&value));
    }
    let event = |register: &str, kind: &str, byte: &str, what: &str| Event {
        register: register.to_string(),
        kind: kind.to_string(),
        digest: byte.repeat(48),
        what: what.to_string(),
    };
    tdx.events = vec![
        event("rtmr1", "EV_EFI_BOOT_SERVICES_APPLICATION", "05", "kernel"),
        event("rtmr2", "EV_EVENT_TAG", "06", "load options `panic=1`"),
    ];
    Document::of_machines(vec![
        machine("sev-snp", &[("measurement", "01", 48)]),
        tdx,
        machine("vtpm", &[("pcr11", "07", 32)]),
    ])
}

/// Values of a host, as `--platform` takes them.
fn platform() -> BTreeMap<String, Value> {
    let values = json!({
        "snp_bootloader": [7], "snp_microcode": [72], "snp_snp_svn": [14], "snp_tee_svn": [0],
        "snp_smt_enabled": true, "snp_tsme_enabled": false, "snp_guest_abi_major": 0,
        "snp_guest_abi_minor": 0, "snp_single_socket": false, "snp_smt_allowed": true,
        "xfam": ["e702060000000000"], "mr_td": ["02".repeat(48)],
        "measurement": "11".repeat(48), "tcb_bootloader": 3, "tcb_microcode": 115, "tcb_snp": 8,
        "tcb_tee": 0, "smt_enabled": true, "tsme_enabled": false, "abi_major": 0, "abi_minor": 31,
        "single_socket": false, "smt_allowed": true, "trusted_aks": ["AAAA"],
    });
    serde_json::from_value(values).expect("an object")
}

const STAND_IN: &str = include_str!("stand_in.rego");

/// What the dry run says of `known` under `policy`, by TEE; the store holds `held`, or ours.
fn dry_run(
    policy: &str,
    platform: &BTreeMap<String, Value>,
    held: Option<&BTreeMap<String, Value>>,
) -> BTreeMap<&'static str, Finding> {
    let settings = Settings { platform: platform.clone(), ..Settings::default() };
    let findings = check_policy(policy, &known(), &settings, held).expect("findings");
    findings.into_iter().map(|finding| (finding.tee, finding)).collect()
}

/// Our values by name, as they would be published.
fn ours() -> BTreeMap<String, Value> {
    let settings = Settings { platform: platform(), ..Settings::default() };
    let values = names::values(&known(), &settings).expect("values").content;
    values.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

#[test]
fn the_dry_run_affirms_every_machine_and_every_single_change_breaks_it() {
    let findings = dry_run(STAND_IN, &platform(), None);
    let tees: Vec<_> = findings.keys().copied().collect();
    assert_eq!(tees, ["az-snp-vtpm", "az-tdx-vtpm", "snp", "tdx", "tpm"]);
    for (tee, finding) in findings {
        assert!(finding.affirming, "{finding:?}");
        assert_eq!(finding.problems, [""; 0], "{tee}: a changed value passes");
        let Appraisal { executables, hardware, configuration } = finding.appraisal;
        let least = if tee == "tpm" { 0 } else { 2 };
        assert_eq!((executables, hardware, configuration), (3, 2, least));
    }
}

#[test]
fn every_missing_value_is_named() {
    for name in ours().keys() {
        let mut held = ours();
        held.remove(name);
        let findings = dry_run(STAND_IN, &platform(), Some(&held));
        let said = findings.values().any(|finding| {
            !finding.affirming && finding.problems.contains(&format!("{name} is missing"))
        });
        // Without these nobody knows which platform's claims a virtual TPM appears under.
        let tells = ["measurement", "trusted_aks"].contains(&name.as_str());
        assert!(said || tells, "{name}: {findings:?}");
    }
}

#[test]
fn every_wrong_shape_is_named_even_where_several_are_wrong() {
    let mut held = ours();
    for value in held.values_mut() {
        *value = match &*value {
            Value::Array(items) => items[0].clone(),
            single => json!([single]),
        };
    }
    let findings = dry_run(STAND_IN, &platform(), Some(&held));
    for finding in findings.values() {
        assert!(!finding.affirming);
        let shapes = finding.problems.iter().filter(|p| p.contains("has the wrong shape: "));
        assert_eq!(shapes.count(), finding.problems.len(), "{finding:?}");
    }
    let said = |tee: &str, text: &str| findings[tee].problems.iter().any(|p| p == text);
    assert!(said(
        "tdx",
        "tdvfkernel has the wrong shape: the policy wants one value, a list is there"
    ));
    assert!(said("tdx", "rtmr_1 has the wrong shape: the policy wants a list, one value is there"));
}

#[test]
fn a_wrong_encoding_is_named() {
    for (tee, name, value, claim) in [
        ("az-snp-vtpm", "measurement", json!(["11".repeat(48)]), "standard base64 of 48 bytes"),
        ("az-snp-vtpm", "tcb_bootloader", json!([3]), "a number or truth value as text"),
        ("az-snp-vtpm", "smt_enabled", json!([true]), "a number or truth value as text"),
        ("snp", "snp_bootloader", json!(["7"]), "a number without fraction or sign"),
        ("snp", "snp_smt_enabled", json!("true"), "true or false"),
        ("snp", "snp_launch_measurement", json!([b64(1, 48)]), "96 lower-case hexadecimal digits"),
        ("tdx", "rtmr_1", json!(["AB".repeat(48)]), "96 lower-case hexadecimal digits"),
        ("tdx", "mr_td", json!(["02".repeat(32)]), "96 lower-case hexadecimal digits"),
    ] {
        let mut held = ours();
        held.insert(name.to_string(), value.clone());
        let finding = &dry_run(STAND_IN, &platform(), Some(&held))[tee];
        let start = format!("{name} has the wrong encoding: the claim is {claim}, found ");
        assert!(finding.problems.iter().any(|p| p.starts_with(&start)), "{finding:?}");
        assert!(!finding.affirming, "{name}");
    }
}

#[test]
fn values_of_another_build_and_loose_policies_are_named() {
    let mut held = ours();
    held.insert("rtmr_2".to_string(), json!(["99".repeat(48)]));
    let finding = &dry_run(STAND_IN, &platform(), Some(&held))["tdx"];
    assert_eq!(finding.problems, ["rtmr_2 lacks what this machine reports"]);
    held.insert("rtmr_2".to_string(), json!([]));
    let finding = &dry_run(STAND_IN, &platform(), Some(&held))["tdx"];
    assert_eq!(finding.problems, ["rtmr_2 has an empty list: nothing passes"]);
    let loose =
        STAND_IN.replace("input.tdx.quote.body.rtmr_1 in query_reference_value(\"rtmr_1\")", "");
    let finding = &dry_run(&loose, &platform(), None)["tdx"];
    assert_eq!(finding.problems, ["rtmr_1 is too loose: the policy passes any value"]);
    let closed = STAND_IN.replace("input.tdx.tcb_status == \"UpToDate\"", "input.tdx.moon == 1");
    let finding = &dry_run(&closed, &platform(), None)["tdx"];
    assert_eq!(finding.problems, ["no value is at fault: the policy asks for more than values"]);
    let error = check_policy("package policy\n???", &known(), &Settings::default(), None);
    let error = error.expect_err("no policy").to_string();
    assert!(error.contains("does not parse"), "{error}");
}

#[test]
fn our_own_grouped_policy_affirms_what_it_carries() {
    let document = Document::of_machines(vec![machine("sev-snp", &[("measurement", "01", 48)])]);
    let settings = Settings { platform: platform(), ..Settings::default() };
    let policy = policy(&document.machines);
    let findings = check_policy(&policy, &document, &settings, None).expect("findings");
    assert!(findings[0].affirming && findings[0].problems.is_empty(), "{findings:?}");
}
