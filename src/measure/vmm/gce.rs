//! Google Compute Engine with SEV-SNP (`gce-tcb-verifier`, `sev/measurement.go`).

use super::Profile;
use super::sev::{self, Launch, Memory, Rdx};
use crate::measure::{Cpu, cpu};

/// The row.
pub const PROFILE: Profile =
    Profile { sev: Some(&SEV), ..Profile::new("gce", "Google Compute Engine") };

/// Registers of a GCE guest.
pub const SEV: Launch = Launch {
    cs: [0x9b, 0x9b],
    ss: 0x93,
    tr: 0x8b,
    rdx: Rdx::Fixed(0x600),
    fpu: (0, 0),
    g_pat: 0x7_0106,
    memory: Memory::Unmeasured,
    cpuid_last: false,
    vmsa_gpa,
};

/// The last page of the product's physical address space: 48 bits up to Milan, 52 from Genoa on.
fn vmsa_gpa(cpu: Option<&Cpu>) -> u64 {
    let genoa = cpu::signature(25, 17, 0);
    match cpu {
        Some(cpu) if cpu.signature >= genoa => 0xf_ffff_ffff_f000,
        _ => sev::last_page_of_48_bits(cpu),
    }
}
