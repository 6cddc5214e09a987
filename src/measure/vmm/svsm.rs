//! coconut-svsm as a raw binary, which coconut's own QEMU loads below the variable store of an OVMF
//! (its `target/i386/sev.c`, `sev_snp_launch_update_svsm`; `Documentation/docs/installation`).

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::qemu;
use super::sev::Launch;
use crate::format;
use crate::format::ovmf::{self, SevMetadata};
use crate::format::vmsa::{Segment, Vmsa};
use crate::measure::page::{PAGE_SIZE, Step};
use crate::measure::{Cpu, Error, Result};

/// An SVSM in its place.
#[derive(Debug, Clone)]
pub struct Svsm<'a> {
    /// The binary, whole.
    pub image: &'a [u8],
    /// Where it lies.
    pub gpa: u64,
    metadata: SevMetadata,
    entry: u32,
}

impl<'a> Svsm<'a> {
    /// `image` below a firmware, which ends at 4 GiB, and its variable store of `vars` bytes.
    ///
    /// # Errors
    /// It is no SVSM, or there is no room for it.
    pub fn below(image: &'a [u8], firmware: u64, vars: u64) -> Result<Self> {
        let input = |error| Error::Input { input: "svsm", error };
        let (what, offset, found) = ("size of the SVSM", 0, image.len().to_string());
        if !image.len().is_multiple_of(PAGE_SIZE) {
            let expected = "a multiple of 4096 bytes".to_string();
            return Err(input(format::Error::Value { what, offset, found, expected }));
        }
        let above =
            firmware.checked_add(vars).and_then(|above| above.checked_add(image.len() as u64));
        let gpa = above.and_then(|all| (1_u64 << 32).checked_sub(all));
        let gpa = gpa.filter(|gpa| gpa.is_multiple_of(PAGE_SIZE as u64)).ok_or_else(|| {
            let expected = format!(
                "whole pages that fit below 4 GiB with {firmware} bytes of firmware and {vars} of variables"
            );
            input(format::Error::Value { what, offset, found, expected })
        })?;
        let metadata = SevMetadata::parse(image).map_err(input)?;
        let entry = ovmf::svsm_entry(image).map_err(input)?;
        Ok(Self { image, gpa, metadata, entry })
    }

    /// The pages that its own metadata asks for; there are no hashes among them.
    ///
    /// # Errors
    /// As for those of a firmware.
    pub fn sections(&self) -> Result<Vec<Step<'static>>> {
        qemu::SEV.sections(&self.metadata, None)
    }

    /// The state in which every vCPU starts: flat 32-bit protected mode, at the SVSM's entry.
    pub fn vmsa(&self, launch: &Launch, features: u64, cpu: Option<&Cpu>) -> Vmsa {
        let data = Segment::new(16, 0xc93, u32::MAX, 0);
        Vmsa {
            es: data,
            cs: Segment::new(8, 0xc9b, u32::MAX, 0),
            ss: data,
            ds: data,
            fs: data,
            cr0: 0x11.into(), // ET, which resets to 1, and PE
            rip: self.gpa.wrapping_add(self.entry.into()).into(),
            ..launch.vmsa(0, 0, features, cpu)
        }
    }
}
