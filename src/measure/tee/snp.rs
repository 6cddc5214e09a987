//! SEV-SNP: a chain of SHA-384 over PAGE_INFO structures (AMD 56860, SEV-SNP firmware ABI, section
//! 8.17.2). `docs/measure/sev-snp.md`.

mod chain;
mod igvm;
mod seed;
mod svsm;

pub use chain::Chain;
pub use seed::{SEED, Seed};
pub use svsm::{BUG_COMPATIBLE, SVSM, VARS_SIZE};

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use crate::digest::Sha384;
use crate::format::ovmf::SevMetadata;
use crate::format::vmsa::FEATURES;
use crate::measure::both::both;
use crate::measure::guest::{CMDLINE, FIRMWARE, IGVM, INITRD, KERNEL, VARS};
use crate::measure::initdata::{self, INITDATA};
use crate::measure::kernel_hashes::HashTable;
use crate::measure::machine::{CPU, CPU_SIGNATURE, Kind, VCPUS};
use crate::measure::vmm::HOST_KERNEL;
use crate::measure::vmm::sev::{self, Launch, Rdx};
use crate::measure::{
    Confidence, Error, Guest, Machine, Measurement, Register, Result, Setting, Tee, Vmm, ovmf,
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
    takes: &[
        VCPUS,
        CPU,
        CPU_SIGNATURE,
        GUEST_FEATURES,
        HOST_KERNEL,
        SEED,
        VARS_SIZE,
        BUG_COMPATIBLE,
    ],
    reads: &[FIRMWARE, VARS, KERNEL, INITRD, CMDLINE, IGVM, SVSM, INITDATA],
    registers: &["measurement", "host_data"],
    expect,
};

/// SEV_FEATURES of every vCPU.
pub const GUEST_FEATURES: Setting = Setting {
    name: "guest-features",
    about: "SEV features of every vCPU: 0x1 is SNPActive, 0x20 DebugSwap",
    kind: Kind::Number,
};

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
    hashes: Option<HashTable>,
    doubts: Vec<String>,
}

impl<'g, 'a> Prepared<'g, 'a> {
    fn of(guest: &'g Guest<'a>) -> Result<Self> {
        let (image, metadata) = match guest.precomputed {
            Some(known) => (Err(known.digest), known.metadata.clone()),
            None => {
                let image = ovmf::image(TEE.name, guest)?;
                (Ok(image), ovmf::metadata(image)?)
            }
        };
        let of_firmware = || {
            let digest = image.map_or_else(|known| known, firmware_digest);
            (digest, ovmf::doubts(TEE.name, guest, &metadata))
        };
        let of_kernel = || ovmf::hashes(TEE.name, guest, &metadata);
        let ((digest, doubts), hashes) = match guest.kernel {
            Some(_) => both(of_firmware, of_kernel),
            None => (of_firmware(), None),
        };
        Ok(Self { guest, digest, metadata, hashes, doubts })
    }

    /// The digest after the sections, which the VMM decides.
    fn after_sections(&self, launch: &Launch) -> Result<Sha384> {
        let hashes = self.hashes.as_ref();
        let mut chain = Chain::new(self.digest);
        launch.sections(&self.metadata, hashes)?.into_iter().for_each(|s| chain.launch(s));
        Ok(chain.digest())
    }

    fn seed(&self, launch: &Launch, before: Sha384, machine: &Machine) -> Result<Seed> {
        let [first, other] = pages(self.guest, launch, &self.metadata, machine)?;
        let gpa = (launch.vmsa_gpa)(machine.cpu.as_ref());
        Ok(Seed { before, first: Sha384::of(&first), other: Sha384::of(&other), gpa })
    }
}

/// VMSAs of the first and of every other vCPU of `machine`, for a firmware with `metadata`.
fn pages(
    guest: &Guest<'_>,
    launch: &Launch,
    metadata: &SevMetadata,
    machine: &Machine,
) -> Result<[Vec<u8>; 2]> {
    let eip = ovmf::reset(guest, metadata)?;
    let features = machine.number(GUEST_FEATURES.name).unwrap_or(1);
    let cpu = cpu(TEE.name, launch, machine)?;
    Ok([0, 1].map(|index| sev::bytes(&launch.vmsa(index, eip, features, cpu))))
}

/// The VMSA of every vCPU of `guest` on `machine` in order, as they are measured.
///
/// # Errors
/// As for the digest.
pub fn vmsas(guest: &Guest<'_>, machine: &Machine) -> Result<Vec<Vec<u8>>> {
    if let Some(file) = guest.igvm {
        return igvm::vmsas(file, machine);
    }
    if let Some(image) = guest.file(SVSM.name) {
        return svsm::vmsas(guest, image, machine);
    }
    let metadata = match guest.precomputed {
        Some(known) => known.metadata.clone(),
        None => ovmf::metadata(ovmf::image(TEE.name, guest)?)?,
    };
    let [first, other] = pages(guest, ovmf::launch(TEE.name, machine)?, &metadata, machine)?;
    let others = vcpus(TEE.name, machine)? - 1;
    Ok([first].into_iter().chain(vec![other; others as usize]).collect())
}

/// Width of HOST_DATA (table 8.22 of the firmware ABI), which the launch digest does not cover.
const HOST_DATA: usize = 32;

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let mut found = launches(guest, machines)?;
    let host_data = initdata::field(guest, "host_data", HOST_DATA)?;
    found.iter_mut().for_each(|one| one.registers.extend(host_data.clone()));
    Ok(found)
}

/// Machines differ in few things, so little is computed for each: the firmware once, the sections
/// once a VMM, the VMSAs once a model, and the rest is one step of the chain for each vCPU.
fn launches(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    if machines.iter().any(|machine| machine.settings.contains_key(SEED.name)) {
        return machines.iter().map(seed::expect).collect();
    }
    if let Some(file) = guest.igvm {
        return machines.iter().map(|machine| igvm::expect(guest, file, machine)).collect();
    }
    if let Some(image) = guest.file(SVSM.name) {
        return svsm::expect(guest, image, machines);
    }
    if let Some(machine) = machines.iter().find(|machine| is_for_svsm(machine)) {
        return Err(Error::Missing {
            tee: TEE.name,
            what: "an SVSM",
            why: format!("`{}` has settings for one; give --svsm svsm.bin", machine.vmm),
        });
    }
    let prepared = Prepared::of(guest)?;
    let mut sections = BTreeMap::new();
    let mut seeds = BTreeMap::new();
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
        let state = state(launch, machine);
        let seed = match seeds.get(&state) {
            Some(seed) => *seed,
            None => *seeds.entry(state).or_insert(prepared.seed(launch, before, machine)?),
        };
        let chain = chains.entry(seed).or_default();
        match chain.last() {
            None => chain.extend(seed.digests().take(vcpus)),
            Some(last) => {
                let missing = vcpus.saturating_sub(chain.len());
                let later: Vec<_> = seed.after(*last).take(missing).collect();
                chain.extend(later);
            }
        }
        Ok(measurement(&prepared, seed, chain[vcpus - 1], machine))
    };
    machines.iter().map(one).collect()
}

/// What decides VMSAs beside the firmware; two of them are hashed for each.
type State = (Vmm, (u32, u16), Option<u32>, Option<u64>);

fn state(launch: &Launch, machine: &Machine) -> State {
    let signature = machine.cpu.as_ref().map(|cpu| cpu.signature);
    (machine.vmm.clone(), launch.fpu, signature, machine.number(GUEST_FEATURES.name))
}

fn measurement(
    prepared: &Prepared<'_, '_>,
    seed: Seed,
    digest: Sha384,
    machine: &Machine,
) -> Measurement {
    let mut warnings = prepared.doubts.clone();
    warnings.extend(ovmf::flash_doubts(TEE.name, prepared.guest, machine));
    warnings.extend(ovmf::machine_doubts(machine));
    warnings.extend(feature_doubts(machine));
    let firmware = Register::new("firmware", prepared.digest);
    Measurement {
        registers: vec![Register::new("measurement", digest)],
        parts: [firmware].into_iter().chain(seed.parts()).collect(),
        warnings,
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    }
}

fn is_for_svsm(machine: &Machine) -> bool {
    [VARS_SIZE, BUG_COMPATIBLE].iter().any(|setting| machine.settings.contains_key(setting.name))
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
