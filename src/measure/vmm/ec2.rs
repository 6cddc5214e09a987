//! AWS EC2 with SEV-SNP. AWS publishes no description; the values are those of `sev-snp-measure`
//! 0.0.13, whose change of 2026-05 was confirmed on a c6a.xlarge (its pull request 60).

use super::Profile;
use super::sev::{self, Launch, Memory, Rdx};

/// The row.
pub const PROFILE: Profile =
    Profile { sev: Some(&SEV), ..Profile::new("ec2", "AWS EC2 with SEV-SNP, as of 2026") };

/// Registers of a Nitro guest.
pub const SEV: Launch = Launch {
    cs: [0x9a, 0x9b],
    ss: 0x92,
    tr: 0x83,
    rdx: Rdx::Fixed(0x600),
    fpu: (0, 0),
    g_pat: sev::PAT_AT_RESET,
    memory: Memory::Zero,
    cpuid_last: true,
    vmsa_gpa: sev::last_page_of_48_bits,
};
