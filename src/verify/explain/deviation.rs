//! One thing that is other than expected, and how likely people get it wrong.

use serde::Serialize;

/// One thing that is other than expected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Deviation {
    /// The input or setting: `vcpus`, `cmdline`.
    pub input: String,
    /// What it is instead, in words: `vcpus 2 instead of 4`.
    pub what: String,
    /// The less, the likelier.
    #[serde(skip)]
    pub cost: u32,
}

impl Deviation {
    /// `input` is otherwise than expected, as `what` says.
    pub fn new(input: &str, cost: u32, what: impl Into<String>) -> Self {
        Self { input: input.to_string(), what: what.into(), cost }
    }
}

/// Costs: by how often each question comes up where people compare digests.
pub(super) mod cost {
    pub(in crate::verify::explain) const COUNT: u32 = 10;
    pub(in crate::verify::explain) const MODEL: u32 = 11;
    pub(in crate::verify::explain) const LINE_END: u32 = 11;
    pub(in crate::verify::explain) const ABSENT: u32 = 12;
    pub(in crate::verify::explain) const WORD: u32 = 12;
    pub(in crate::verify::explain) const SETTING: u32 = 13;
    pub(in crate::verify::explain) const FILE: u32 = 13;
    pub(in crate::verify::explain) const ORDER: u32 = 14;
    pub(in crate::verify::explain) const VMM: u32 = 14;
    pub(in crate::verify::explain) const RARE: u32 = 16;
}
