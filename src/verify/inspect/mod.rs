//! What is this file? Formats recognised by content, one file and one row each.

mod azure;
mod bundle;
mod corim;
mod device_tree;
mod document;
mod enclave;
mod eventlog;
pub(crate) mod evidence;
mod facts;
mod firmware;
mod igvm;
pub(crate) mod initrd;
mod kconfig;
mod kernel;
mod lock;
mod pe;
pub(crate) mod quote;
pub mod se;
mod sgx;
pub(crate) mod snp;
pub(crate) mod tdx;

use anyhow::Context as _;
use serde::Serialize;

pub use bundle::directory;
pub use facts::{Fact, Facts};

/// A format that can be looked into.
pub struct Inspector {
    /// Name of the format in JSON.
    pub name: &'static str,
    /// Name of the format for people.
    pub about: &'static str,
    /// True if the bytes claim to be of this format; whether they keep it, `inspect` finds out.
    is: fn(&[u8]) -> bool,
    inspect: fn(&[u8]) -> anyhow::Result<Facts>,
}

/// Every format, the more particular before the more general.
pub const INSPECTORS: &[Inspector] = &[
    Inspector {
        name: "sev-snp-report",
        about: "SEV-SNP attestation report",
        is: crate::format::snp_report::is_report,
        inspect: snp::inspect,
    },
    Inspector {
        name: "tdx-quote",
        about: "TDX quote",
        is: crate::format::tdx_quote::is_quote,
        inspect: tdx::inspect_quote,
    },
    Inspector {
        name: "tdreport",
        about: "TDX report (TDREPORT)",
        is: crate::format::tdx_quote::is_report,
        inspect: tdx::inspect_report,
    },
    Inspector {
        name: "sgx-quote",
        about: "SGX quote",
        is: crate::format::sgx_quote::is_quote,
        inspect: quote::inspect_sgx,
    },
    Inspector {
        name: "tpm-quote",
        about: "quote of a TPM",
        is: crate::format::tpm_quote::is_quote,
        inspect: quote::inspect_tpm,
    },
    Inspector {
        name: "azure-report",
        about: "report wrapped by Azure's paravisor",
        is: crate::format::hcl_report::is_wrapped,
        inspect: azure::inspect,
    },
    Inspector {
        name: "event-log",
        about: "event log of firmware (TCG2 or CCEL)",
        is: eventlog::is_log,
        inspect: eventlog::inspect,
    },
    Inspector { name: "igvm", about: "IGVM file", is: igvm::is_igvm, inspect: igvm::inspect },
    Inspector {
        name: "enclave-image",
        about: "Nitro enclave image (EIF)",
        is: enclave::is_image,
        inspect: enclave::inspect,
    },
    Inspector {
        name: "se-image",
        about: "Secure Execution image",
        is: crate::format::se_image::is_image,
        inspect: se::inspect_image,
    },
    Inspector {
        name: "se-header",
        about: "Secure Execution header (hdr.bin)",
        is: se::is_header,
        inspect: se::inspect_header,
    },
    Inspector {
        name: "sgx-enclave",
        about: "SGX enclave (SGXS stream or .signed.so)",
        is: sgx::is_enclave,
        inspect: sgx::inspect,
    },
    Inspector {
        name: "sigstruct",
        about: "signature of an SGX enclave (SIGSTRUCT)",
        is: sgx::is_sigstruct,
        inspect: sgx::inspect,
    },
    Inspector {
        name: "device-tree",
        about: "flattened device tree",
        is: device_tree::is_tree,
        inspect: device_tree::inspect,
    },
    Inspector {
        name: "reference-values",
        about: "canonical document of reference values",
        is: document::is_document,
        inspect: document::inspect,
    },
    Inspector {
        name: "evidence",
        about: "attestation evidence in JSON",
        is: crate::verify::evidence::is_json_evidence,
        inspect: evidence::inspect,
    },
    Inspector {
        name: "corim",
        about: "CoRIM (concise reference integrity manifest)",
        is: corim::is_corim,
        inspect: corim::inspect,
    },
    Inspector {
        name: "signed-claims",
        about: "Nitro document, CCA token or attestation token (EAR)",
        is: crate::verify::evidence::is_signed_claims,
        inspect: evidence::inspect,
    },
    Inspector {
        name: "lock",
        about: "lock of a recipe",
        is: lock::is_lock,
        inspect: lock::inspect,
    },
    Inspector {
        name: "initrd",
        about: "initial RAM disk (cpio)",
        is: initrd::is_initrd,
        inspect: initrd::inspect,
    },
    Inspector { name: "uki", about: "unified kernel image", is: pe::is_uki, inspect: pe::inspect },
    Inspector {
        name: "kernel",
        about: "Linux kernel image (bzImage, or Image of arm64)",
        is: kernel::is_kernel,
        inspect: kernel::inspect,
    },
    Inspector { name: "pe", about: "PE image", is: pe::is_pe, inspect: pe::inspect },
    Inspector {
        name: "firmware",
        about: "UEFI firmware image",
        is: firmware::is_firmware,
        inspect: firmware::inspect,
    },
    Inspector {
        name: "encoded-evidence",
        about: "evidence as text (base64 or hexadecimal)",
        is: crate::verify::evidence::is_encoded,
        inspect: evidence::inspect,
    },
];

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Name of its format.
    pub format: &'static str,
    /// Name of its format for people.
    #[serde(skip)]
    pub about: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// What is in it.
    pub facts: Facts,
}

/// Recognises `bytes` and tells what is in them.
///
/// # Errors
/// The format is unknown (the message lists the known ones), or the bytes break it.
pub fn inspect(bytes: &[u8]) -> anyhow::Result<Inspection> {
    let Some(row) = recognise(bytes) else {
        let known: Vec<_> = INSPECTORS.iter().map(|row| row.about).collect();
        anyhow::bail!("the format is not known; those known are: {}", known.join(", "));
    };
    let facts = (row.inspect)(bytes).with_context(|| format!("this looks like {}", row.about))?;
    Ok(Inspection { format: row.name, about: row.about, size: bytes.len(), facts })
}

/// The row whose format `bytes` claim to have.
pub fn recognise(bytes: &[u8]) -> Option<&'static Inspector> {
    INSPECTORS.iter().find(|row| (row.is)(bytes))
}

#[cfg(test)]
mod tests;
