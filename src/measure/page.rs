//! Seam 1: one step of loading a guest's initial memory.
//!
//! A VMM file yields steps in launch order; a TEE file folds them into a digest. «Add» and
//! «extend» are separate, because VMMs differ in how they interleave them.

use alloc::borrow::Cow;

/// Size of a page in bytes; every address is a multiple of it.
pub const PAGE_SIZE: usize = 4096;

/// One step: something happens to the page (or chunk) at a guest-physical address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'a> {
    /// Guest-physical address in bytes.
    pub gpa: u64,
    /// What happens there.
    pub action: Action<'a>,
}

/// What a step does. SEV-SNP knows page types (AMD 56860, SNP_LAUNCH_UPDATE); TDX adds pages and
/// extends the measurement by chunks (Intel TDX module, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Load a page and measure its contents ([`PAGE_SIZE`] bytes).
    Normal(Cow<'a, [u8]>),
    /// Load the register state of a vCPU and measure it ([`PAGE_SIZE`] bytes).
    Vmsa(Cow<'a, [u8]>),
    /// A page of zeros, measured as such without contents.
    Zero,
    /// A page that the guest gets, whose contents are not measured.
    Unmeasured,
    /// The page into which the platform puts its secrets.
    Secrets,
    /// The page of CPUID values, which the platform checks.
    Cpuid,
    /// Make the page part of the guest, its address and no contents.
    Add,
    /// Extend the measurement by contents at the address.
    Extend(Cow<'a, [u8]>),
}
