//! Claims as trustee's verifiers write them (`deps/verifier/src`).

use serde_json::{Value, json};

/// The claims of `tee` with `get` for every value that a policy asks for.
pub(super) fn claims(tee: &str, get: &dyn Fn(&str) -> Value) -> Value {
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
    // Up to 0.18 the name had underscores.
    json!({tee: inner.clone(), tee.replace('-', "_"): inner})
}

fn quote(get: &dyn Fn(&str) -> Value) -> Value {
    json!({
        "header": {"tee_type": "81000000", "vendor_id": "939a7233f79c4ca9940a0db3957f0607"},
        "body": {
            "mr_td": get("mr_td"), "rtmr_1": get("rtmr_1"), "rtmr_2": get("rtmr_2"),
            "xfam": get("xfam"), "mr_seam": get("mr_seam"), "tcb_svn": get("tcb_svn"),
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
