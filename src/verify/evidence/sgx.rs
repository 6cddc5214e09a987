//! SGX quotes.

use super::{Evidence, Piece};
use crate::format::sgx_quote;
use crate::verify::inspect;
use crate::verify::signature::Signed;

pub(super) fn quote(bytes: &[u8]) -> anyhow::Result<Piece> {
    let quote = sgx_quote::parse(bytes)?;
    let registers = [("mrenclave", quote.mr_enclave), ("mrsigner", quote.mr_signer)];
    Ok(Piece::of(Evidence {
        tee: "sgx",
        form: "SGX quote",
        registers: registers.map(|(name, value)| (name.to_string(), value.to_vec())).into(),
        facts: inspect::quote::sgx(&quote),
        warnings: inspect::quote::sgx_warnings(&quote),
        log: None,
        signed: Signed::Intel(bytes.to_vec()),
    }))
}
