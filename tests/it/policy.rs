//! Policies in a real Rego engine: claims that must pass, and every way in which they must not.

use std::collections::BTreeMap;

use guestsmith::publish::{Appraisal, appraise, check_policy};
use guestsmith::reference::{Confidence, Document, Machine, Settings, emitter};
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

/// Values of a host, as `--platform` takes them.
fn platform() -> BTreeMap<String, Value> {
    let values = json!({
        "snp_bootloader": [7], "snp_microcode": [72], "snp_snp_svn": [14], "snp_tee_svn": [0],
        "snp_smt_enabled": true, "snp_tsme_enabled": false, "snp_guest_abi_major": 0,
        "snp_guest_abi_minor": 0, "snp_single_socket": false, "snp_smt_allowed": true,
    });
    serde_json::from_value(values).expect("an object")
}

#[test]
fn the_dry_run_affirms_and_every_single_change_breaks_it() {
    let document = Document::of_machines(vec![machine("sev-snp", &[("measurement", "01", 48)])]);
    let settings = Settings { platform: platform(), ..Settings::default() };
    let policy = policy(&document.machines);
    let findings = check_policy(&policy, &document, &settings).expect("findings");
    assert!(findings[0].affirming, "{findings:?}");
    // The values stand in the policy itself: only names that it asks for can be too loose.
    assert_eq!(findings[0].problems, [""; 0]);
    let loose = policy.replace("input.snp.measurement == machine.measurement", "true");
    let findings = check_policy(&loose, &document, &settings).expect("findings");
    assert_eq!(
        findings[0].problems,
        ["snp_launch_measurement is too loose: the policy passes any value"]
    );
}

#[test]
fn the_dry_run_names_what_is_missing_and_what_has_the_wrong_shape() {
    let document = Document::of_machines(vec![machine("sev-snp", &[("measurement", "01", 48)])]);
    let mut settings = Settings { platform: platform(), ..Settings::default() };
    let policy = policy(&document.machines);
    let scalar = policy.replace(
        "in query_reference_value(\"snp_microcode\")",
        "== query_reference_value(\"snp_microcode\")",
    );
    let findings = check_policy(&scalar, &document, &settings).expect("findings");
    assert_eq!(findings[0].problems, ["snp_microcode has the wrong shape (list or scalar)"]);
    settings.platform.remove("snp_tee_svn");
    let findings = check_policy(&policy, &document, &settings).expect("findings");
    assert!(!findings[0].affirming);
    assert_eq!(findings[0].problems, ["snp_tee_svn is missing"]);
    let error = check_policy("package policy\n???", &document, &settings).expect_err("no policy");
    assert!(error.to_string().contains("does not parse"), "{error}");
}
