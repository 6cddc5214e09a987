//! Whether an event log leads to the run-time registers of the report beside it.

use anyhow::{Context as _, Result};

use super::Evidence;
use crate::format::eventlog::Algorithm;

/// Run-time registers of a TD.
const RTMRS: [&str; 4] = ["rtmr0", "rtmr1", "rtmr2", "rtmr3"];

/// A register as reported, and as the log leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Name of the register.
    pub register: String,
    /// Its value in the report.
    pub reported: Vec<u8>,
    /// Its value after the last event of the log.
    pub replayed: Vec<u8>,
}

impl Replayed {
    /// True when log and report say the same.
    pub fn agrees(&self) -> bool {
        self.reported == self.replayed
    }
}

/// Replays the log of a TDX `evidence`; nothing for evidence without a log, or of a TEE whose
/// registers no log leads to.
///
/// # Errors
/// The log is not one of a TD: it has no SHA-384 digests.
pub fn replay(evidence: &Evidence) -> Result<Vec<Replayed>> {
    let Some(log) = evidence.log.as_ref().filter(|_| evidence.tee == "tdx") else {
        return Ok(Vec::new());
    };
    let values = log.replay(Algorithm::Sha384).context("the log is not one of a TD")?;
    let mut found = Vec::new();
    for (register, index) in RTMRS.into_iter().zip(1..) {
        let Some(reported) = evidence.registers.get(register) else { continue };
        let replayed = values.get(&index).cloned().unwrap_or_else(|| vec![0; 48]);
        let (register, reported) = (register.to_string(), reported.clone());
        found.push(Replayed { register, reported, replayed });
    }
    Ok(found)
}
