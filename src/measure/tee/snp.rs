//! SEV-SNP: a chain of SHA-384 over PAGE_INFO structures (AMD 56860, SEV-SNP firmware ABI, section
//! 8.17.2). `docs/measure/sev-snp.md`.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use crate::digest::Sha384;
use crate::format::ovmf::SevMetadata;
use crate::format::vmsa::FEATURES;
use crate::measure::guest::{CMDLINE, FIRMWARE, IGVM, INITRD, KERNEL, VARS};
use crate::measure::machine::{CPU, CPU_SIGNATURE, Kind, VCPUS};
use crate::measure::page::{Action, Step};
use crate::measure::vmm::sev::{self, Launch, Rdx};
use crate::measure::vmm::{Effect, HOST_KERNEL};
use crate::measure::{
    Confidence, Error, Guest, Machine, Measurement, Register, Result, Setting, Tee, ovmf,
};

/// The row.
pub const TEE: Tee = Tee {
    name: "sev-snp",
    about: "AMD SEV-SNP: integrity as well, attested by a report",
    vmms: &[
        "qemu",
        "qemu-legacy-vm",
        "ec2",
        "ec2-legacy",
        "gce",
        "file-order",
        "vanadium",
        "hyperv",
        "cloud-hypervisor-kvm",
        "cloud-hypervisor-mshv",
    ],
    takes: &[VCPUS, CPU, CPU_SIGNATURE, GUEST_FEATURES, HOST_KERNEL, SEED],
    reads: &[FIRMWARE, VARS, KERNEL, INITRD, CMDLINE, IGVM],
    registers: &["measurement"],
    expect,
};

/// SEV_FEATURES of every vCPU.
pub const GUEST_FEATURES: Setting = Setting {
    name: "guest-features",
    about: "SEV features of every vCPU: 0x1 is SNPActive, 0x20 DebugSwap",
    kind: Kind::Number,
};

/// A launch up to the VMSAs, in place of files.
pub const SEED: Setting = Setting {
    name: "seed",
    about: "In place of files: before_vmsas:first_vmsa:other_vmsa, as --parts shows them",
    kind: Kind::Text,
};

/// PAGE_INFO (AMD 56860, section 8.17.2, table 67): what each launched page adds to the digest.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct PageInfo {
    digest_cur: [u8; 48],
    contents: [u8; 48],
    length: U16,
    page_type: u8,
    imi_page: u8,
    reserved: u8,
    vmpl_perms: [u8; 3],
    gpa: U64,
}

const _: () = assert!(size_of::<PageInfo>() == 0x70);

/// The launch digest as it grows. Equal pages are hashed once: more than half of an OVMF is 0xff.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    digest: Sha384,
    known: BTreeMap<Cow<'a, [u8]>, Sha384>,
}

impl<'a> Chain<'a> {
    /// A chain that holds `digest`: [`Sha384::ZERO`] for a new guest.
    pub fn new(digest: Sha384) -> Self {
        Self { digest, known: BTreeMap::new() }
    }

    /// The digest so far.
    pub fn digest(&self) -> Sha384 {
        self.digest
    }

    /// Launches the page of one step.
    pub fn launch(&mut self, step: Step<'a>) {
        let (page_type, contents) = match step.action {
            Action::Normal(page) => (1, self.contents(page)),
            Action::Vmsa(page) => (2, self.contents(page)),
            Action::Zero => (3, Sha384::ZERO),
            Action::Unmeasured | Action::Add => (4, Sha384::ZERO),
            Action::Secrets => (5, Sha384::ZERO),
            Action::Cpuid => (6, Sha384::ZERO),
            Action::Extend(_) => return, // a step of TDX alone
        };
        self.digest = next(self.digest, page_type, contents, step.gpa);
    }

    fn contents(&mut self, page: Cow<'a, [u8]>) -> Sha384 {
        if let Some(known) = self.known.get(&page) {
            return *known;
        }
        let digest = Sha384::of(&page);
        self.known.insert(page, digest);
        digest
    }
}

/// The digest after a page of `page_type` with the digest `contents` at `gpa`.
fn next(digest: Sha384, page_type: u8, contents: Sha384, gpa: u64) -> Sha384 {
    let info = PageInfo {
        digest_cur: digest.0,
        contents: contents.0,
        length: 0x70.into(),
        page_type,
        imi_page: 0,
        reserved: 0,
        vmpl_perms: [0; 3],
        gpa: gpa.into(),
    };
    Sha384::of(info.as_bytes())
}

/// All that a launch needs, from which the digest of any number of vCPUs follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    /// Digest before the first VMSA.
    pub before: Sha384,
    /// SHA-384 of the first vCPU's VMSA.
    pub first: Sha384,
    /// SHA-384 of every other vCPU's VMSA.
    pub other: Sha384,
    /// Where VMSAs are launched.
    pub gpa: u64,
}

impl Seed {
    /// The seed that `text` states: three digests with colons between, in the order of the fields.
    ///
    /// # Errors
    /// It is no three digests of 48 bytes.
    pub fn parse(text: &str, gpa: u64) -> Result<Self> {
        let digests: Vec<Sha384> = text.split(':').filter_map(|part| part.parse().ok()).collect();
        match (digests.as_slice(), text.split(':').count()) {
            (&[before, first, other], 3) => Ok(Self { before, first, other, gpa }),
            _ => Err(Error::Setting {
                name: SEED.name.to_string(),
                found: text.to_string(),
                expected: "before_vmsas:first_vmsa:other_vmsa, 96 hexadecimal digits each".into(),
            }),
        }
    }

    /// The digest after every number of vCPUs from 1 on.
    pub fn digests(self) -> impl Iterator<Item = Sha384> {
        const VMSA: u8 = 2;
        let first = next(self.before, VMSA, self.first, self.gpa);
        core::iter::successors(Some(first), move |digest| {
            Some(next(*digest, VMSA, self.other, self.gpa))
        })
    }

    /// The digest of a machine with `vcpus` vCPUs, at least one.
    pub fn digest(self, vcpus: u32) -> Sha384 {
        let wanted = usize::try_from(vcpus.saturating_sub(1)).unwrap_or(usize::MAX);
        self.digests().nth(wanted).unwrap_or(self.before)
    }
}

/// The digest after the pages of a firmware: the part `firmware`, known to other tools as «OVMF
/// hash».
pub fn firmware_digest(image: &[u8]) -> Sha384 {
    let mut chain = Chain::new(Sha384::ZERO);
    Launch::firmware(image).for_each(|step| chain.launch(step));
    chain.digest()
}

/// A firmware on its way into machines: its digest, and what follows it.
struct Prepared<'g, 'a> {
    guest: &'g Guest<'a>,
    digest: Sha384,
    metadata: SevMetadata,
    doubts: Vec<String>,
}

impl<'g, 'a> Prepared<'g, 'a> {
    fn of(guest: &'g Guest<'a>) -> Result<Self> {
        let (digest, metadata) = match guest.precomputed {
            Some(known) => (known.digest, known.metadata.clone()),
            None => {
                let image = ovmf::image(TEE.name, guest)?;
                (firmware_digest(image), ovmf::metadata(image)?)
            }
        };
        let doubts = ovmf::doubts(TEE.name, guest, &metadata);
        Ok(Self { guest, digest, metadata, doubts })
    }

    /// The digest after the sections, which the VMM decides.
    fn after_sections(&self, launch: &Launch) -> Result<Sha384> {
        let hashes = ovmf::hashes(TEE.name, self.guest, &self.metadata);
        let mut chain = Chain::new(self.digest);
        launch.sections(&self.metadata, hashes.as_ref())?.into_iter().for_each(|s| chain.launch(s));
        Ok(chain.digest())
    }

    fn seed(&self, launch: &Launch, before: Sha384, machine: &Machine) -> Result<Seed> {
        let [first, other] = pages(launch, &self.metadata, machine)?;
        let gpa = (launch.vmsa_gpa)(machine.cpu.as_ref());
        Ok(Seed { before, first: Sha384::of(&first), other: Sha384::of(&other), gpa })
    }
}

/// VMSAs of the first and of every other vCPU of `machine`, for a firmware with `metadata`.
fn pages(launch: &Launch, metadata: &SevMetadata, machine: &Machine) -> Result<[Vec<u8>; 2]> {
    let eip = ovmf::reset(TEE.name, metadata)?;
    let features = machine.number(GUEST_FEATURES.name).unwrap_or(1);
    let cpu = cpu(TEE.name, launch, machine)?;
    Ok([0, 1].map(|index| sev::bytes(&launch.vmsa(index, eip, features, cpu))))
}

/// The VMSAs of `guest` on `machine`, as they are measured: of the first vCPU, and of any other.
///
/// # Errors
/// As for the digest.
pub fn vmsas(guest: &Guest<'_>, machine: &Machine) -> Result<[Vec<u8>; 2]> {
    let metadata = match guest.precomputed {
        Some(known) => known.metadata.clone(),
        None => ovmf::metadata(ovmf::image(TEE.name, guest)?)?,
    };
    pages(ovmf::launch(TEE.name, machine)?, &metadata, machine)
}

/// Machines differ in few things, so little is computed for each: the firmware once, the sections
/// once a VMM, the VMSAs once a model, and the rest is one step of the chain for each vCPU.
fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    if machines.iter().any(|machine| machine.settings.contains_key(SEED.name)) {
        return machines.iter().map(expect_seed).collect();
    }
    if let Some(igvm) = guest.igvm {
        return machines.iter().map(|machine| expect_igvm(guest, igvm, machine)).collect();
    }
    let prepared = Prepared::of(guest)?;
    let mut sections = BTreeMap::new();
    let mut chains: BTreeMap<Seed, Vec<Sha384>> = BTreeMap::new();
    let one = |machine: &Machine| {
        let launch = ovmf::launch(TEE.name, machine)?;
        let vcpus = vcpus(TEE.name, machine)? as usize;
        let before = match sections.get(&machine.vmm) {
            Some(before) => *before,
            None => {
                let before = prepared.after_sections(launch)?;
                sections.insert(machine.vmm.clone(), before);
                before
            }
        };
        let seed = prepared.seed(launch, before, machine)?;
        let chain = chains.entry(seed).or_default();
        if chain.len() < vcpus {
            *chain = seed.digests().take(vcpus).collect();
        }
        Ok(measurement(&prepared, seed, chain[vcpus - 1], machine))
    };
    machines.iter().map(one).collect()
}

fn measurement(
    prepared: &Prepared<'_, '_>,
    seed: Seed,
    digest: Sha384,
    machine: &Machine,
) -> Measurement {
    let mut warnings = prepared.doubts.clone();
    warnings.extend(ovmf::machine_doubts(machine));
    warnings.extend(feature_doubts(machine));
    let parts = [
        ("firmware", prepared.digest),
        ("before_vmsas", seed.before),
        ("first_vmsa", seed.first),
        ("other_vmsa", seed.other),
    ];
    Measurement {
        registers: vec![Register::new("measurement", digest)],
        parts: parts.map(|(name, value)| Register::new(name, value)).into(),
        warnings,
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    }
}

/// The last steps alone, from a seed that an earlier measurement showed.
fn expect_seed(machine: &Machine) -> Result<Measurement> {
    let launch = ovmf::launch(TEE.name, machine)?;
    let gpa = (launch.vmsa_gpa)(machine.cpu.as_ref());
    let seed = Seed::parse(machine.text(SEED.name).unwrap_or_default(), gpa)?;
    let digest = seed.digest(vcpus(TEE.name, machine)?);
    Ok(Measurement {
        registers: vec![Register::new("measurement", digest)],
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    })
}

/// An IGVM file carries the whole launch, firmware included.
fn expect_igvm(guest: &Guest<'_>, igvm: &[u8], machine: &Machine) -> Result<Measurement> {
    let profile = ovmf::profile_of(machine)?;
    if let Some(epoch) = profile.lacks(TEE.name, machine, Effect::Igvm) {
        return Err(ovmf::too_early(TEE.name, machine, epoch));
    }
    let rules = profile.igvm.ok_or_else(|| Error::Unsupported {
        what: format!("an IGVM file under `{}`", machine.vmm),
        why: "how it loads one is not known".to_string(),
    })?;
    let mut chain = Chain::new(Sha384::ZERO);
    crate::measure::vmm::igvm::steps(rules, igvm, machine)?
        .into_iter()
        .for_each(|s| chain.launch(s));
    let beside = guest.firmware.or(guest.kernel).or(guest.initrd).is_some();
    let warning =
        "firmware, kernel and initrd beside an IGVM file are not measured: they are left out";
    Ok(Measurement {
        registers: vec![Register::new("measurement", chain.digest())],
        warnings: beside.then(|| warning.to_string()).into_iter().collect(),
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    })
}

fn feature_doubts(machine: &Machine) -> Vec<String> {
    let features = machine.number(GUEST_FEATURES.name).unwrap_or(1);
    let named = FEATURES.iter().fold(0, |bits, (bit, _)| bits | 1_u64 << bit);
    let mut doubts = Vec::new();
    if features & 1 == 0 {
        doubts.push(format!("SEV features {features:#x} lack SNPActive (0x1): no SNP guest"));
    }
    if features & !named != 0 {
        let unknown = features & !named;
        doubts.push(format!("SEV features {features:#x} have bits without a name: {unknown:#x}"));
    }
    doubts
}

/// The number of vCPUs, which must be stated.
pub(super) fn vcpus(tee: &'static str, machine: &Machine) -> Result<u32> {
    machine.vcpus.filter(|count| *count > 0).ok_or_else(|| Error::Missing {
        tee,
        what: "a number of vCPUs",
        why: "the registers of each are measured; give --vcpus 1,2,4".to_string(),
    })
}

/// The CPU model, which must be stated where the VMM's registers depend on it.
pub(super) fn cpu<'m>(
    tee: &'static str,
    launch: &Launch,
    machine: &'m Machine,
) -> Result<Option<&'m crate::measure::Cpu>> {
    match (&machine.cpu, launch.rdx) {
        (None, Rdx::Signature) => Err(Error::Missing {
            tee,
            what: "a CPU model",
            why: "its signature is measured; give --cpu EPYC-Milan or --cpu-signature".to_string(),
        }),
        (cpu, _) => Ok(cpu.as_ref()),
    }
}
