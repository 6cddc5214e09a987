//! AWS EC2 with SEV-SNP as it was before 2026, and as the `sev` crate 8.0.0 still computes it.

use super::sev::{Launch, Rdx};
use super::{Profile, ec2};

/// The row.
pub const PROFILE: Profile = Profile {
    sev: Some(&SEV),
    ..Profile::new("ec2-legacy", "AWS EC2 with SEV-SNP before 2026: RDX is 0")
};

/// As [`ec2::SEV`], with RDX 0.
pub const SEV: Launch = Launch { rdx: Rdx::Fixed(0), ..ec2::SEV };
