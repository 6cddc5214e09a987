//! What every VMM does that launches an OVMF under SEV, SEV-ES or SEV-SNP, and the points in which
//! they differ. `docs/measure/sev-snp.md` has the table.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use zerocopy::IntoBytes as _;

use crate::format::ovmf::{Kind, Section, SevMetadata};
use crate::format::vmsa::{Segment, Vmsa};
use crate::measure::kernel_hashes::HashTable;
use crate::measure::page::{Action, PAGE_SIZE, Step};
use crate::measure::{Cpu, Error, Result};

/// How one VMM launches encrypted AMD guests.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// Attributes of CS: those of the first vCPU, and of all others.
    pub cs: [u16; 2],
    /// Attributes of SS.
    pub ss: u16,
    /// Attributes of TR.
    pub tr: u16,
    /// RDX at reset: the CPU's signature, or a fixed value.
    pub rdx: Rdx,
    /// MXCSR and the x87 control word.
    pub fpu: (u32, u16),
    /// The PAT MSR.
    pub g_pat: u64,
    /// What becomes of the sections of type «memory».
    pub memory: Memory,
    /// The CPUID page comes behind all other sections.
    pub cpuid_last: bool,
    /// Where the VMSAs are launched under SNP.
    pub vmsa_gpa: fn(Option<&Cpu>) -> u64,
}

/// RDX at reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rdx {
    /// CPUID Fn0000_0001_EAX.
    Signature,
    /// The same on every CPU.
    Fixed(u64),
}

/// What becomes of the sections of type «memory».
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Zero pages.
    Zero,
    /// Unmeasured pages.
    Unmeasured,
}

/// MXCSR and x87 control word at reset, as KVM measures them once it syncs the FPU's state.
pub const FPU_AT_RESET: (u32, u16) = (0x1f80, 0x37f);

/// PAT at reset (APM volume 2, section 7.8.1).
pub const PAT_AT_RESET: u64 = 0x0007_0406_0007_0406;

/// `INITIAL_VMSA_GPA` of KVM (`arch/x86/kvm/svm/sev.c`): the last page below 2^48.
pub fn last_page_of_48_bits(_: Option<&Cpu>) -> u64 {
    0xffff_ffff_f000
}

impl Launch {
    /// The pages of the firmware, which ends at 4 GiB.
    pub fn firmware<'a>(image: &'a [u8]) -> impl Iterator<Item = Step<'a>> {
        let base = (1_u64 << 32).saturating_sub(image.len() as u64);
        image
            .chunks(PAGE_SIZE)
            .zip(pages_from(base))
            .map(|(page, gpa)| Step { gpa, action: Action::Normal(Cow::Borrowed(page)) })
    }

    /// The pages that the firmware's metadata asks for (QEMU `snp_populate_metadata_pages`), in the
    /// order of the table.
    ///
    /// # Errors
    /// The firmware's area for kernel hashes does not fit into its page.
    pub fn sections(
        &self,
        metadata: &SevMetadata,
        hashes: Option<&HashTable>,
    ) -> Result<Vec<Step<'static>>> {
        let last = |section: &&Section| self.cpuid_last && section.kind == Kind::Cpuid;
        let (deferred, first): (Vec<_>, Vec<_>) = metadata.sections.iter().partition(last);
        let mut steps = Vec::new();
        for section in first.into_iter().chain(deferred) {
            let action = self.action(section, metadata, hashes)?;
            let pages = pages_from(section.gpa.into()).take(section.size as usize / PAGE_SIZE);
            steps.extend(pages.map(|gpa| Step { gpa, action: action.clone() }));
        }
        Ok(steps)
    }

    fn action(
        &self,
        section: &Section,
        metadata: &SevMetadata,
        hashes: Option<&HashTable>,
    ) -> Result<Action<'static>> {
        Ok(match (section.kind, hashes) {
            (Kind::Memory, _) if self.memory == Memory::Unmeasured => Action::Unmeasured,
            (Kind::Secrets, _) => Action::Secrets,
            (Kind::Cpuid, _) => Action::Cpuid,
            (Kind::KernelHashes, Some(hashes)) => hash_page(section, metadata, hashes)?,
            (Kind::Memory | Kind::SvsmCallingArea | Kind::KernelHashes, _) => Action::Zero,
        })
    }

    /// The state with which vCPU number `index` starts; `eip` is where application processors
    /// start.
    pub fn vmsa(&self, index: u32, eip: u32, features: u64, cpu: Option<&Cpu>) -> Vmsa {
        let data = Segment::new(0, 0x93, 0xffff, 0);
        let table = Segment::new(0, 0, 0xffff, 0);
        let cs = self.cs[usize::from(index > 0)];
        let signature = cpu.map_or(0, |cpu| u64::from(cpu.signature));
        let eip = if index == 0 { BSP_EIP } else { eip };
        Vmsa {
            es: data,
            cs: Segment::new(0xf000, cs, 0xffff, u64::from(eip & 0xffff_0000)),
            ss: Segment::new(0, self.ss, 0xffff, 0),
            ds: data,
            fs: data,
            gs: data,
            gdtr: table,
            ldtr: Segment::new(0, 0x82, 0xffff, 0),
            idtr: table,
            tr: Segment::new(0, self.tr, 0xffff, 0),
            efer: 0x1000.into(), // SVME, which KVM sets
            cr4: 0x40.into(),    // MCE, which KVM sets
            cr0: 0x10.into(),
            dr7: 0x400.into(),
            dr6: 0xffff_0ff0.into(),
            rflags: 2.into(),
            rip: u64::from(eip & 0xffff).into(),
            g_pat: self.g_pat.into(),
            rdx: match self.rdx {
                Rdx::Signature => signature.into(),
                Rdx::Fixed(value) => value.into(),
            },
            sev_features: features.into(),
            xcr0: 1.into(),
            mxcsr: self.fpu.0.into(),
            x87_fcw: self.fpu.1.into(),
            ..Vmsa::ZERO
        }
    }
}

/// Where the first vCPU starts: the reset vector.
const BSP_EIP: u32 = 0xffff_fff0;

/// Addresses of the pages from `base` on.
pub fn pages_from(base: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |page: u64| base.wrapping_add(page * PAGE_SIZE as u64))
}

/// The page of a section that takes the kernel hashes: the table at its place, zeros around.
fn hash_page(
    section: &Section,
    metadata: &SevMetadata,
    hashes: &HashTable,
) -> Result<Action<'static>> {
    let missing = |why: &str| Error::Missing {
        tee: "sev-snp",
        what: "an area for kernel hashes in the firmware",
        why: why.into(),
    };
    let area = metadata.hash_table.ok_or_else(|| missing("its table has none"))?;
    let offset = area.base as usize & (PAGE_SIZE - 1);
    if section.size as usize != PAGE_SIZE || area.base & !0xfff != section.gpa {
        return Err(missing("the area does not lie in the one page of the section for it"));
    }
    let page = hashes.page(offset).ok_or_else(|| missing("the area crosses its page"))?;
    Ok(Action::Normal(Cow::Owned(page)))
}

/// Bytes of a VMSA, as a launch measures them.
pub fn bytes(vmsa: &Vmsa) -> Vec<u8> {
    vmsa.as_bytes().to_vec()
}
