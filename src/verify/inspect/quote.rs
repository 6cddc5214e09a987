//! Quotes of SGX and of a TPM, in words.

use super::Facts;
use crate::format::eventlog::Algorithm;
use crate::format::{sgx_quote, tpm_quote};

pub(super) fn inspect_sgx(bytes: &[u8]) -> anyhow::Result<Facts> {
    let quote = sgx_quote::parse(bytes)?;
    Ok(sgx(&quote).with("signature", "not checked here").with("warnings", sgx_warnings(&quote)))
}

/// All that an SGX quote says of its enclave.
pub(crate) fn sgx(quote: &sgx_quote::Quote<'_>) -> Facts {
    let [flags, xfrm] = quote.attributes;
    Facts::default()
        .with_bytes("mrenclave", &quote.mr_enclave)
        .with_bytes("mrsigner", &quote.mr_signer)
        .with("isv_prod_id", u32::from(quote.isv_prod_id))
        .with("isv_svn", u32::from(quote.isv_svn))
        .with("debug", flags & DEBUG != 0)
        .with("attributes", format!("{flags:#x}"))
        .with("xfrm", format!("{xfrm:#x}"))
        .with_bytes("report_data", &quote.report_data)
}

/// ATTRIBUTES.DEBUG (Intel SDM volume 3D, section 35.7.1).
const DEBUG: u64 = 2;

/// What a verifier should not accept without a thought.
pub(crate) fn sgx_warnings(quote: &sgx_quote::Quote<'_>) -> Vec<String> {
    let debug = quote.attributes[0] & DEBUG != 0;
    let text = "attributes: the enclave is under debug, the host can read it";
    debug.then(|| text.to_string()).into_iter().collect()
}

pub(super) fn inspect_tpm(bytes: &[u8]) -> anyhow::Result<Facts> {
    Ok(tpm(&tpm_quote::parse(bytes)?).with("signature", "not checked here"))
}

/// All that a quote of a TPM says.
pub(crate) fn tpm(quote: &tpm_quote::Quote) -> Facts {
    let bank = |(id, pcrs): &(u16, Vec<u32>)| {
        let name = Algorithm::of_id(*id).map_or_else(|| format!("{id:#06x}"), |a| a.name().into());
        let pcrs: Vec<_> = pcrs.iter().map(u32::to_string).collect();
        format!("{name}: {}", pcrs.join(", "))
    };
    Facts::default()
        .with("pcrs", quote.selected.iter().map(bank).collect::<Vec<_>>())
        .with_bytes("pcr_digest", &quote.digest)
        .with_bytes("extra_data", &quote.extra)
        .with("firmware", format!("{:#x}", quote.firmware))
}
