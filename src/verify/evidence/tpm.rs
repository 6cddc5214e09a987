//! Quotes of a TPM. The values of the PCRs are not in them, only a digest: a log gives them.

use anyhow::{Context as _, Result, ensure};

use super::Evidence;
use crate::digest::hex;
use crate::format::eventlog::{Algorithm, Log};
use crate::format::tpm_quote::Quote;
use crate::reference::compare::Registers;
use crate::verify::inspect::quote as words;
use crate::verify::signature::Signed;

/// What the quote and the log together show: the log's values of the selected PCRs, whose digest the
/// quote confirms.
pub(super) fn with_log(quote: &Quote, log: Log) -> Result<Evidence> {
    let (bank, pcrs) = selection(quote)?;
    let replayed = log.replay(bank)?;
    let zero = vec![0; bank.width()];
    let value = |pcr: &u32| replayed.get(pcr).unwrap_or(&zero).clone();
    let values: Vec<_> = pcrs.iter().map(value).collect();
    let confirmed = digests(quote, &values);
    let registers: Registers =
        pcrs.iter().zip(values).map(|(pcr, value)| (format!("pcr{pcr}"), value)).collect();
    let mut warnings = Vec::new();
    if !confirmed {
        warnings.push(format!(
            "the log does not give the PCRs that the quote is of (their digest is {}): it is of \
             another boot, was altered, or lacks what came later (IMA, the system)",
            hex(&quote.digest)
        ));
    }
    Ok(Evidence {
        tee: "vtpm",
        form: match confirmed {
            true => "TPM quote, with the log that gives its PCRs",
            false => "TPM quote, and a log that does NOT give its PCRs",
        },
        registers,
        facts: words::tpm(quote).with("log_confirmed", confirmed),
        warnings,
        log: Some(log),
        signed: Signed::Unsigned("the TPM's key is not known: verify the quote with it first"),
    })
}

/// The bank of the quote and its PCRs.
fn selection(quote: &Quote) -> Result<(Algorithm, &[u32])> {
    let selected: Vec<_> = quote.selected.iter().filter(|(_, pcrs)| !pcrs.is_empty()).collect();
    ensure!(selected.len() == 1, "the quote is of {} banks; give one of one bank", selected.len());
    let (id, pcrs) = selected[0];
    let bank = Algorithm::of_id(*id).with_context(|| format!("hash {id:#06x} is not known"))?;
    Ok((bank, pcrs))
}

/// Whether the digest of the quote, whose hash is that of its key, is of `values`.
fn digests(quote: &Quote, values: &[Vec<u8>]) -> bool {
    let parts = || values.iter().map(Vec::as_slice);
    Algorithm::ALL.iter().any(|hash| hash.digest(parts()) == quote.digest)
}
