//! Seam 2: one extend of a run-time register.
//!
//! Firmware, boot loader and kernel extend registers event by event; the same sequence, mapped to
//! other registers, gives TDX RTMRs and TPM PCRs.

use alloc::string::String;
use alloc::vec::Vec;

/// One extend step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Register that is extended: `rtmr1`, `pcr4`, ….
    pub register: String,
    /// Type, by its TCG name: `EV_EFI_BOOT_SERVICES_APPLICATION`.
    pub kind: String,
    /// Digest that is extended, as wide as the register.
    pub digest: Vec<u8>,
    /// What was measured, in words.
    pub what: String,
}
