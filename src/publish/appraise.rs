//! What a verifier would say, before anything is published: an attestation policy evaluated with
//! claims made from our own registers.
//!
//! Trustee's policies fail silently: a missing name, a list where a scalar is wanted, hexadecimal
//! where base64 is. So every value is also changed, one at a time, and the verdict must break.

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::Values;
use crate::reference::names::{self, NAMES, Name, Origin};
use crate::reference::{Document, Machine, Settings};

/// The trust claims of an EAR (draft-ietf-rats-ar4si) that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Appraisal {
    /// 3: only approved executables.
    pub executables: i64,
    /// 2: genuine, supported hardware.
    pub hardware: i64,
    /// 2: an approved configuration.
    pub configuration: i64,
}

/// Evaluates `policy` (Rego, package `policy`) on `claims`, with `values` as the store that
/// `query_reference_value` asks.
///
/// # Errors
/// The policy does not parse, or has no trust claims.
pub fn appraise(policy: &str, claims: &Value, values: &Values) -> Result<Appraisal> {
    let mut engine = regorus::Engine::new();
    let parsed = engine.add_policy("policy.rego".to_string(), policy.to_string());
    parsed.context("the policy does not parse")?;
    let store = values.clone();
    let query = move |arguments: Vec<regorus::Value>| {
        let name = arguments.first().and_then(|name| name.as_string().ok());
        let value = name.and_then(|name| store.get(name.as_ref()));
        Ok(value.map_or(regorus::Value::Null, |value| value.clone().into()))
    };
    let added = engine.add_extension("query_reference_value".to_string(), 1, Box::new(query));
    added.context("the policy engine takes no extension")?;
    engine.set_input(claims.clone().into());
    let found = engine.eval_rule("data.policy.trust_claims".to_string());
    let found = found.context("the policy has no `trust_claims`, or fails on these claims")?;
    let found: Value = serde_json::from_str(&found.to_json_str()?)?;
    let claim = |name: &str| {
        found.get(name).and_then(Value::as_i64).ok_or_else(|| anyhow!("no trust claim `{name}`"))
    };
    Ok(Appraisal {
        executables: claim("executables")?,
        hardware: claim("hardware")?,
        configuration: claim("configuration")?,
    })
}

/// What the policy says of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The machine.
    pub machine: String,
    /// Key of its TEE in the claims: `snp`.
    pub tee: &'static str,
    /// The verdict.
    pub appraisal: Appraisal,
    /// Whether it is what a verifier must say.
    pub affirming: bool,
    /// What is missing, of the wrong shape, or too loose.
    pub problems: Vec<String>,
}

/// Evaluates `policy` for every machine of `document` whose claims the policies know.
///
/// # Errors
/// The document does not check, a supplied value has the wrong shape, or the policy cannot be
/// evaluated.
pub fn check_policy(
    policy: &str,
    document: &Document,
    settings: &Settings,
) -> Result<Vec<Finding>> {
    let values = names::values(document, settings)?.content;
    let values: Values =
        values.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let mut findings = Vec::new();
    for machine in &document.machines {
        for tee in tees(machine, settings) {
            findings.push(check(policy, machine, tee, &values)?);
        }
    }
    Ok(findings)
}

/// The claims under which a machine reports: a virtual TPM appears under the platform whose values
/// were supplied.
fn tees(machine: &Machine, settings: &Settings) -> Vec<&'static str> {
    let supplied = |name: &str| settings.platform.contains_key(name);
    match machine.tee.as_str() {
        "sev-snp" => vec!["snp"],
        "tdx" => vec!["tdx"],
        "vtpm" => [
            ("az-snp-vtpm", supplied("measurement")),
            ("az-tdx-vtpm", supplied("mr_td")),
            ("tpm", supplied("trusted_aks")),
        ]
        .into_iter()
        .filter_map(|(tee, given)| given.then_some(tee))
        .collect(),
        _ => Vec::new(),
    }
}

fn check(policy: &str, machine: &Machine, tee: &'static str, values: &Values) -> Result<Finding> {
    let wanted = Appraisal {
        executables: 3,
        hardware: 2,
        configuration: if tee == "tpm" { 0 } else { 2 }, // a TPM says nothing of it
    };
    let claim = |name: &Name| match name.origin {
        Origin::Build(of) => of(machine).map(|value| json!(value)).or_else(|| first(values, name)),
        Origin::Platform => first(values, name),
    };
    // A guest reports something even where nobody said what: it must not equal an absent value.
    let whole = |name: &str| names::name(name).and_then(claim).unwrap_or(json!("not supplied"));
    let appraisal = appraise(policy, &claims(tee, &whole), values)?;
    let affirming = appraisal == wanted;
    let mut problems = Vec::new();
    for name in asked(tee) {
        let missing = !values.contains_key(name.name);
        if missing {
            problems.push(format!("{} is missing", name.name));
            continue;
        }
        let other = |asked: &str| match asked == name.name {
            true => changed(&whole(asked)),
            false => whole(asked),
        };
        if affirming && appraise(policy, &claims(tee, &other), values)? == wanted {
            problems.push(format!("{} is too loose: the policy passes any value", name.name));
        }
        if !affirming && appraise(policy, &claims(tee, &whole), &reshaped(values, name))? == wanted
        {
            problems.push(format!("{} has the wrong shape (list or scalar)", name.name));
        }
    }
    Ok(Finding { machine: machine.label(), tee, appraisal, affirming, problems })
}

/// Names that the default policy asks for in claims of `tee`.
fn asked(tee: &'static str) -> impl Iterator<Item = &'static Name> {
    let shared = ["mr_td", "xfam"];
    NAMES
        .iter()
        .filter(move |name| name.tee == tee || tee == "az-tdx-vtpm" && shared.contains(&name.name))
}

/// The one value, or the first of the list.
fn first(values: &Values, name: &Name) -> Option<Value> {
    match values.get(name.name)? {
        Value::Array(items) => items.first().cloned(),
        single => Some(single.clone()),
    }
}

/// Another value of the same kind.
fn changed(value: &Value) -> Value {
    match value {
        Value::Bool(truth) => json!(!truth),
        Value::Number(number) => json!(number.as_u64().unwrap_or_default() + 1),
        Value::String(text) => json!(format!("{text}0")),
        other => other.clone(),
    }
}

/// The values with one of them in the other shape.
fn reshaped(values: &Values, name: &Name) -> Values {
    let mut values = values.clone();
    if let Some(value) = values.get_mut(name.name) {
        *value = match &*value {
            Value::Array(items) => items.first().cloned().unwrap_or_default(),
            single => json!([single]),
        };
    }
    values
}

/// Claims as trustee's verifiers write them, with `get` for every value that a policy asks for.
fn claims(tee: &str, get: &dyn Fn(&str) -> Value) -> Value {
    let inner = match tee {
        "snp" => json!({
            "measurement": get("snp_launch_measurement"),
            "reported_tcb_bootloader": get("snp_bootloader"),
            "reported_tcb_microcode": get("snp_microcode"),
            "reported_tcb_snp": get("snp_snp_svn"),
            "reported_tcb_tee": get("snp_tee_svn"),
            "platform_smt_enabled": get("snp_smt_enabled"),
            "platform_tsme_enabled": get("snp_tsme_enabled"),
            "policy_abi_major": get("snp_guest_abi_major"),
            "policy_abi_minor": get("snp_guest_abi_minor"),
            "policy_single_socket": get("snp_single_socket"),
            "policy_smt_allowed": get("snp_smt_allowed"),
            "policy_debug_allowed": false,
            "policy_migrate_ma": false,
        }),
        "tdx" => tdx_claims(get),
        "az-snp-vtpm" => json!({
            "measurement": get("measurement"),
            "tpm": {"pcr11": get("snp_pcr11")},
            "reported_tcb_bootloader": get("tcb_bootloader"),
            "reported_tcb_microcode": get("tcb_microcode"),
            "reported_tcb_snp": get("tcb_snp"),
            "reported_tcb_tee": get("tcb_tee"),
            "platform_smt_enabled": get("smt_enabled"),
            "platform_tsme_enabled": get("tsme_enabled"),
            "policy_abi_major": get("abi_major"),
            "policy_abi_minor": get("abi_minor"),
            "policy_single_socket": get("single_socket"),
            "policy_smt_allowed": get("smt_allowed"),
        }),
        "az-tdx-vtpm" => json!({
            "quote": quote(get),
            "tpm": {"pcr11": get("tdx_pcr11")},
            "tcb_status": "UpToDate",
        }),
        _ => json!({"pcr11": get("tpm_pcr11"), "ak_public": get("trusted_aks")}),
    };
    json!({tee: inner})
}

fn quote(get: &dyn Fn(&str) -> Value) -> Value {
    json!({
        "header": {"tee_type": "81000000", "vendor_id": "939a7233f79c4ca9940a0db3957f0607"},
        "body": {
            "mr_td": get("mr_td"), "rtmr_1": get("rtmr_1"), "rtmr_2": get("rtmr_2"),
            "xfam": get("xfam"),
        },
    })
}

fn tdx_claims(get: &dyn Fn(&str) -> Value) -> Value {
    json!({
        "quote": quote(get),
        "tcb_status": "UpToDate",
        "collateral_expiration_status": "0",
        "td_attributes": {"debug": false},
        "uefi_event_logs": [
            {
                "type_name": "EV_EFI_BOOT_SERVICES_APPLICATION",
                "details": {"device_paths": ["File(kernel)"]},
                "digests": [{"alg": "SHA-384", "digest": get("tdvfkernel")}],
            },
            {
                "type_name": "EV_EVENT_TAG",
                "details": {"string": "LOADED_IMAGE::LoadOptions"},
                "digests": [{"alg": "SHA-384", "digest": get("tdvfkernelparams")}],
            },
        ],
    })
}
