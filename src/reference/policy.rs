//! An attestation policy (Rego, for trustee's EAR tokens) that keeps sets together.
//!
//! The default policy of trustee asks a flat store for each register by itself, so RTMR1 of one
//! build passes with RTMR2 of another, and it asks for nothing of SGX, CCA, CSV and Secure
//! Execution. This policy carries the values itself, machine by machine, and demands all registers
//! of one of them. What only the host's owner knows is still asked of RVPS, under the same names.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use super::{Document, Emitted, Emitter, Error, Machine, Result};
use crate::digest::{base64, unhex};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "rego",
    about: "attestation policy for trustee with the values grouped by machine",
    file: "policy.rego",
    media_type: "application/vnd.openpolicyagent.policy+rego",
    make: |document, _| Ok(Emitted::sure(policy(document)?.into_bytes())),
};

/// A TEE that the policy knows: which registers make up a set, and the rules over it.
struct Part {
    tee: &'static str,
    /// Register in the document, member of the set; the rules use the members.
    members: &'static [(&'static str, &'static str)],
    /// Members that a machine must have: without them the rules would accept too much.
    needed: &'static [&'static str],
    /// How the verifier writes the claims.
    encode: fn(&str) -> Option<String>,
    rules: &'static str,
}

const PARTS: &[Part] = &[
    Part {
        tee: "sev-snp",
        members: &[("measurement", "measurement")],
        needed: &["measurement"],
        encode: as_is,
        rules: SNP,
    },
    Part {
        tee: "tdx",
        members: &[
            ("mrtd", "mr_td"),
            ("rtmr0", "rtmr_0"),
            ("rtmr1", "rtmr_1"),
            ("rtmr2", "rtmr_2"),
        ],
        needed: &["mr_td", "rtmr_1", "rtmr_2"],
        encode: as_is,
        rules: TDX,
    },
    Part {
        tee: "sgx",
        members: &[("mrenclave", "mr_enclave"), ("mrsigner", "mr_signer")],
        needed: &["mr_enclave"],
        encode: as_is,
        rules: SGX,
    },
    Part {
        tee: "cca",
        members: &[
            ("rim", "rim"),
            ("rem0", "rem0"),
            ("rem1", "rem1"),
            ("rem2", "rem2"),
            ("rem3", "rem3"),
        ],
        needed: &["rim"],
        encode: |hex| unhex(hex).ok().map(|bytes| base64(&bytes)),
        rules: CCA,
    },
    Part {
        tee: "csv",
        members: &[("measure", "measure")],
        needed: &["measure"],
        encode: as_is,
        rules: CSV,
    },
    Part {
        tee: "se",
        members: &[("image_phkh", "image_phkh"), ("tag", "tag")],
        needed: &["tag"],
        encode: as_is,
        rules: SE,
    },
];

fn as_is(hex: &str) -> Option<String> {
    Some(hex.to_string())
}

/// The policy's text.
///
/// # Errors
/// No machine of it can be told from others by a policy.
fn policy(document: &Document) -> Result<String> {
    let mut text = HEAD.to_string();
    let mut parts = 0;
    for part in PARTS {
        let machines: Vec<_> = document.of_tee(part.tee).collect();
        if !machines.is_empty() {
            text += &sets(part, &machines)?;
            text += part.rules;
            parts += 1;
        }
    }
    match parts {
        0 => Err(Error::Empty {
            what: "machine for a policy".to_string(),
            why: format!(
                "it covers {}",
                PARTS.iter().map(|p| p.tee).collect::<Vec<_>>().join(", ")
            ),
        }),
        _ => Ok(text),
    }
}

/// The sets of one TEE as a Rego array, one set a line under the label of its machine.
fn sets(part: &Part, machines: &[&Machine]) -> Result<String> {
    let mut text = format!("\n##### {}\n{}_machines := [\n", part.tee, variable(part.tee));
    for machine in machines {
        let set = set(part, machine)?;
        let json = serde_json::to_string(&set).map_err(|error| Error::Text(error.to_string()))?;
        let label: String = machine.label().chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(text, "\t# {label}\n\t{json},"); // writing to a String cannot fail
    }
    Ok(text + "]\n")
}

fn set(part: &Part, machine: &Machine) -> Result<BTreeMap<&'static str, String>> {
    let mut set = BTreeMap::new();
    for (register, member) in part.members {
        let value = machine.registers.get(*register).and_then(|value| (part.encode)(value));
        set.extend(value.map(|value| (*member, value)));
    }
    match part.needed.iter().find(|member| !set.contains_key(**member)) {
        None => Ok(set),
        Some(member) => {
            let mut why = vec!["a policy without it would accept too much".to_string()];
            why.extend(machine.undecided());
            let what = format!("{member} of {}", machine.label());
            Err(Error::Empty { what, why: why.join("; ") })
        }
    }
}

fn variable(tee: &str) -> &str {
    tee.strip_prefix("sev-").unwrap_or(tee)
}

/// Defaults (AR4SI: 33 unrecognized executables, 97 unrecognized hardware, 36 configuration not
/// available) and the claims that trustee puts into the token.
const HEAD: &str = r#"package policy

import rego.v1

# Made by guestsmith: registers are compared as sets, one machine of one build at a time.

default executables := 33

default hardware := 97

default configuration := 36

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
	"file-system": 0,
	"instance-identity": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

extensions := []
"#;

const SNP: &str = r#"
executables := 3 if {
	some machine in snp_machines
	input.snp.measurement == machine.measurement
}

hardware := 2 if {
	input.snp.reported_tcb_bootloader in query_reference_value("snp_bootloader")
	input.snp.reported_tcb_microcode in query_reference_value("snp_microcode")
	input.snp.reported_tcb_snp in query_reference_value("snp_snp_svn")
	input.snp.reported_tcb_tee in query_reference_value("snp_tee_svn")
}

configuration := 2 if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
	input.snp.platform_smt_enabled == query_reference_value("snp_smt_enabled")
	input.snp.platform_tsme_enabled == query_reference_value("snp_tsme_enabled")
	input.snp.policy_abi_major == query_reference_value("snp_guest_abi_major")
	input.snp.policy_abi_minor == query_reference_value("snp_guest_abi_minor")
	input.snp.policy_single_socket == query_reference_value("snp_single_socket")
	input.snp.policy_smt_allowed == query_reference_value("snp_smt_allowed")
} else := 3 if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
}
"#;

const TDX: &str = r#"
tdx_software contains machine if {
	some machine in tdx_machines
	input.tdx.quote.body.mr_td == machine.mr_td
	input.tdx.quote.body.rtmr_1 == machine.rtmr_1
	input.tdx.quote.body.rtmr_2 == machine.rtmr_2
}

executables := 3 if count(tdx_software) > 0

hardware := 2 if {
	input.tdx.quote.header.tee_type == "81000000"
	input.tdx.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	count(tdx_software) > 0
	input.tdx.tcb_status == "UpToDate"
	input.tdx.collateral_expiration_status == "0"
}

# RTMR0 holds what the VMM told the firmware: memory map, ACPI tables, boot variables.
configuration := 2 if {
	input.tdx.td_attributes.debug == false
	input.tdx.quote.body.xfam in query_reference_value("xfam")
	some machine in tdx_software
	input.tdx.quote.body.rtmr_0 == machine.rtmr_0
} else := 3 if {
	input.tdx.td_attributes.debug == false
	input.tdx.quote.body.xfam in query_reference_value("xfam")
}
"#;

const SGX: &str = r#"
executables := 3 if {
	some machine in sgx_machines
	input.sgx.body.mr_enclave == machine.mr_enclave
	input.sgx.body.mr_signer == object.get(machine, "mr_signer", input.sgx.body.mr_signer)
}

hardware := 2 if {
	input.sgx.tcb_status == "UpToDate"
	input.sgx.collateral_expiration_status == "0"
}

# ATTRIBUTES.DEBUG is bit 1 of the first byte (Intel SDM 3D, 37.7.1).
configuration := 2 if {
	substring(input.sgx.body["attributes.flags"], 1, 1) in {"0", "1", "4", "5", "8", "9", "c", "d"}
}
"#;

const CCA: &str = r#"
executables := 3 if {
	some machine in cca_machines
	input.cca.realm["cca-realm-initial-measurement"] == machine.rim
	every i in [0, 1, 2, 3] {
		measured := input.cca.realm["cca-realm-extensible-measurements"][i]
		measured == object.get(machine, sprintf("rem%d", [i]), measured)
	}
}

# The verifier appraised the platform against its own endorsements before the policy runs.
hardware := 2 if input.cca.platform

configuration := 2 if input.cca.platform
"#;

const CSV: &str = r#"
executables := 3 if {
	some machine in csv_machines
	input.csv.measure == machine.measure
}

# The verifier checked the certificate chain up to Hygon's root before the policy runs.
hardware := 2 if input.csv.measure

configuration := 2 if input.csv.policy.nodbg in {true, 1}
"#;

const SE: &str = r#"
executables := 3 if {
	some machine in se_machines
	input.se.tag == machine.tag
	input.se.image_phkh == object.get(machine, "image_phkh", input.se.image_phkh)
}

# The verifier checked the measurement and the host key document before the policy runs.
hardware := 2 if input.se.tag

configuration := 2 if input.se.tag
"#;
