//! Arm CCA: Realm Initial Measurement and Realm Extensible Measurements. `docs/measure/cca.md`.
//!
//! Realm Management Monitor specification (DEN0137), sections on the RIM of RMI_REALM_CREATE,
//! RMI_RTT_INIT_RIPAS, RMI_DATA_CREATE and RMI_REC_CREATE, and RSI_MEASUREMENT_EXTEND. Version 2.0
//! no longer measures RIPAS.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes};

use crate::digest::{Sha256, Sha384, Sha512, unhex};
use crate::measure::event::Event;
use crate::measure::guest::{CMDLINE, DTB, FIRMWARE, INITRD, KERNEL};
use crate::measure::machine::{Kind, MEMORY, VCPUS};
use crate::measure::vmm::realm::{self, Launch, Shape};
use crate::measure::{Confidence, Error, File, Guest, Machine, Measurement, Register, Result};
use crate::measure::{Setting, Tee, Value};

/// The row of Arm CCA.
pub const CCA: Tee = Tee {
    name: "cca",
    about: "Arm CCA: a realm booted from a kernel or from firmware",
    vmms: &["qemu", "kvmtool", "cloud-hypervisor"],
    takes: &[
        VCPUS,
        MEMORY,
        HASH,
        RMM,
        IPA_BITS,
        NUM_BPS,
        NUM_WPS,
        SVE_VL,
        PMU,
        PMU_NUM_CTRS,
        LPA2,
        ITS,
        FLAGS,
        RPV,
    ],
    reads: &[FIRMWARE, KERNEL, INITRD, CMDLINE, DTB, REM_EVENTS],
    registers: &["rim", "rem0", "rem1", "rem2", "rem3", "rpv"],
    expect,
};

const HASH: Setting = Setting {
    name: "hash",
    about: "Hash of the realm (default: sha512, under kvmtool sha256)",
    kind: Kind::Choice(&["sha256", "sha384", "sha512"]),
};
const RMM: Setting = Setting {
    name: "rmm",
    about: "Interface of the Realm Management Monitor (default 1.0); 2.0 measures no RIPAS",
    kind: Kind::Choice(&["1.0", "2.0"]),
};
const IPA_BITS: Setting = Setting {
    name: "ipa-bits",
    about: "Address bits that the host offers; a VMM that needs fewer asks for fewer",
    kind: Kind::Count,
};
const NUM_BPS: Setting =
    Setting { name: "num-bps", about: "Breakpoints of a vCPU", kind: Kind::Count };
const NUM_WPS: Setting =
    Setting { name: "num-wps", about: "Watchpoints of a vCPU", kind: Kind::Count };
const SVE_VL: Setting = Setting {
    name: "sve-vl",
    about: "Vector length of SVE in bits; 0 for none (default)",
    kind: Kind::Number,
};
const PMU: Setting =
    Setting { name: "pmu", about: "The realm has a performance monitor", kind: Kind::Flag };
const PMU_NUM_CTRS: Setting = Setting {
    name: "pmu-num-ctrs",
    about: "Counters of the performance monitor",
    kind: Kind::Number,
};
const LPA2: Setting =
    Setting { name: "lpa2", about: "The realm has large physical addresses", kind: Kind::Flag };
const ITS: Setting = Setting {
    name: "its",
    about: "The interrupt controller of our device tree has an ITS (default true)",
    kind: Kind::Flag,
};
const FLAGS: Setting = Setting {
    name: "realm-flags",
    about: "Further bits of the realm's flags (RMM 2.0: 8 device assignment, 0x80 MEC policy)",
    kind: Kind::Number,
};
const RPV: Setting = Setting {
    name: "personalization-value",
    about: "Realm personalization value, up to 64 bytes in hexadecimal; not part of the RIM",
    kind: Kind::Text,
};
const REM_EVENTS: File =
    File { name: "rem-events", about: "What is extended at run time: lines `rem0 HEX`, in order" };

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    machines.iter().map(|machine| one(guest, machine)).collect()
}

/// The launch of `guest` on `machine` by its VMM.
fn launch<'a>(guest: &Guest<'a>, machine: &Machine) -> Result<Launch<'a>> {
    let why = "RAM shapes the realm; give --memory".to_string();
    let memory = machine.memory.ok_or(Error::Missing { tee: CCA.name, what: "memory", why })?;
    let its = machine.settings.get(ITS.name) != Some(&Value::Flag(false));
    let vcpus = machine.vcpus.unwrap_or(1);
    let shape = Shape { memory, vcpus, pmu: machine.flag(PMU.name), its };
    realm::launch(&machine.vmm.name, guest, &shape)
}

/// The device tree that is measured: the caller's, or ours for the VMM.
///
/// # Errors
/// As the measurement: a part is missing or does not fit.
pub fn device_tree(guest: &Guest<'_>, machine: &Machine) -> Result<Vec<u8>> {
    launch(guest, machine).map(|launch| launch.dtb.into_owned())
}

fn one(guest: &Guest<'_>, machine: &Machine) -> Result<Measurement> {
    let launch = launch(guest, machine)?;
    let parameters = parameters(machine, launch.ipa_bits)?;
    let rmm = if machine.text(RMM.name) == Some("2.0") { Rmm::V2 } else { Rmm::V1 };
    let mut rim = Rim::create(&parameters, rmm);
    launch.steps.iter().for_each(|step| rim.step(step));
    let events = events(guest, &launch, parameters.hash)?;
    let mut registers = alloc::vec![Register::new("rim", rim.value())];
    for name in ["rem0", "rem1", "rem2", "rem3"] {
        let own = events.iter().filter(|event| event.register == name);
        let start = Ok(alloc::vec![0; parameters.hash.width()]);
        let value = own.fold(start, |rem: Result<Vec<u8>>, event| {
            extended(parameters.hash, &rem?, &event.digest)
        });
        registers.push(Register::new(name, value?));
    }
    registers.extend(personalization(machine)?.map(|value| Register::new("rpv", value)));
    let warnings = warnings(guest, &launch, rmm);
    let parts = alloc::vec![Register::new("dtb", parameters.hash.of(&[&launch.dtb]))];
    let confidence = match (rmm, machine.vmm.name.as_str()) {
        (Rmm::V1, "qemu" | "kvmtool") if launch.booted.is_empty() => Confidence::ToolsAgree,
        _ => Confidence::Source,
    };
    Ok(Measurement { registers, parts, events, warnings, confidence })
}

fn parameters(machine: &Machine, needed: u8) -> Result<Parameters> {
    let wrong = |setting: &Setting, found: u64, expected: &str| Error::Setting {
        name: setting.name.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    };
    let counted = |setting: &'static Setting| {
        let why = alloc::format!("it is measured; give --{} as the host offers it", setting.name);
        let count = machine.number(setting.name);
        let count = count.ok_or(Error::Missing { tee: CCA.name, what: setting.name, why })?;
        let less = u8::try_from(count).ok().filter(|n| (2..=64).contains(n)).map(|n| n - 1);
        less.ok_or_else(|| wrong(setting, count, "2 to 64"))
    };
    let offered = machine.number(IPA_BITS.name);
    if let Some(offered) = offered.filter(|bits| *bits < u64::from(needed)) {
        return Err(wrong(
            &IPA_BITS,
            offered,
            &alloc::format!("{needed} or more, which the VMM needs"),
        ));
    }
    let sve = machine.number(SVE_VL.name).unwrap_or(0);
    if !(sve == 0 || (sve.is_multiple_of(128) && sve <= 2048)) {
        return Err(wrong(&SVE_VL, sve, "0, or a multiple of 128 up to 2048"));
    }
    let counters = match (machine.flag(PMU.name), machine.number(PMU_NUM_CTRS.name)) {
        (false, _) => 0,
        (true, Some(count)) => {
            u8::try_from(count).map_err(|_| wrong(&PMU_NUM_CTRS, count, "0 to 31"))?
        }
        (true, None) => {
            let why = "the realm has a performance monitor (--pmu)".to_string();
            return Err(Error::Missing { tee: CCA.name, what: PMU_NUM_CTRS.name, why });
        }
    };
    let flags = [
        (FLAG_LPA2, machine.flag(LPA2.name)),
        (FLAG_SVE, sve > 0),
        (FLAG_PMU, machine.flag(PMU.name)),
    ];
    let set = flags.iter().filter(|(_, on)| *on).fold(0, |flags, (flag, _)| flags | flag);
    let hash = match (machine.text(HASH.name), machine.vmm.name.as_str()) {
        (Some("sha256"), _) | (None, "kvmtool") => Hash::Sha256,
        (Some("sha384"), _) => Hash::Sha384,
        _ => Hash::Sha512,
    };
    Ok(Parameters {
        flags: set | machine.number(FLAGS.name).unwrap_or(0),
        ipa_bits: needed,
        sve_vl: u8::try_from((sve / 128).saturating_sub(1)).unwrap_or(0),
        num_bps: counted(&NUM_BPS)?,
        num_wps: counted(&NUM_WPS)?,
        pmu_num_ctrs: counters,
        hash,
    })
}

/// What extends the REMs: firmware by what it boots, then what the caller lists.
fn events(guest: &Guest<'_>, launch: &Launch<'_>, hash: Hash) -> Result<Vec<Event>> {
    let booted = launch.booted.iter().map(|(name, bytes)| Event {
        register: "rem0".to_string(),
        kind: "boot".to_string(),
        digest: hash.of(&[bytes]),
        what: name.to_string(),
    });
    let mut events: Vec<_> = booted.collect();
    let listed = String::from_utf8_lossy(guest.file(REM_EVENTS.name).unwrap_or_default());
    for (number, line) in listed.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || Error::Setting {
            name: alloc::format!("{}, line {}", REM_EVENTS.name, number + 1),
            found: line.to_string(),
            expected: "rem0 to rem3 and 1 to 64 bytes in hexadecimal".to_string(),
        };
        let (register, value) = line.trim().split_once(' ').ok_or_else(wrong)?;
        let digest = unhex(value.trim()).map_err(|_| wrong())?;
        let known = ["rem0", "rem1", "rem2", "rem3"].contains(&register);
        if !known || digest.is_empty() || digest.len() > WIDTH {
            return Err(wrong());
        }
        let (register, kind) = (register.to_string(), "run time".to_string());
        events.push(Event { register, kind, digest, what: "as listed".to_string() });
    }
    Ok(events)
}

fn personalization(machine: &Machine) -> Result<Option<[u8; WIDTH]>> {
    let Some(text) = machine.text(RPV.name) else { return Ok(None) };
    let bytes = unhex(text).ok().filter(|bytes| bytes.len() <= WIDTH);
    let bytes = bytes.ok_or_else(|| Error::Setting {
        name: RPV.name.to_string(),
        found: text.to_string(),
        expected: "up to 64 bytes in hexadecimal".to_string(),
    })?;
    Ok(Some(padded(&bytes)))
}

fn warnings(guest: &Guest<'_>, launch: &Launch<'_>, rmm: Rmm) -> Vec<String> {
    let ours =
        "the device tree is ours: give it to the VMM (QEMU: -dtb), or measure the VMM's by --dtb";
    let firmware =
        "which REM firmware extends by kernel and initrd is not settled; rem0 is assumed";
    let second = "no second implementation computes the RIM of RMM 2.0";
    let all = [
        (guest.dtb.is_none(), ours),
        (!launch.booted.is_empty(), firmware),
        (rmm == Rmm::V2, second),
    ];
    all.iter().filter(|(said, _)| *said).map(|(_, text)| text.to_string()).collect()
}

/// Bytes of a granule.
pub const GRANULE: u64 = 4096;
/// Bytes of a measurement register; shorter hashes are padded with zeros.
const WIDTH: usize = 64;

/// Hash algorithm of a realm (`RmiHashAlgorithm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hash {
    /// SHA-256.
    Sha256 = 0,
    /// SHA-512.
    Sha512 = 1,
    /// SHA-384, from RMM 2.0.
    Sha384 = 2,
}

impl Hash {
    /// Digest of `parts`, as wide as the algorithm's.
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let parts = parts.iter().copied();
        match self {
            Self::Sha256 => Sha256::of_parts(parts).0.to_vec(),
            Self::Sha384 => Sha384::of_parts(parts).0.to_vec(),
            Self::Sha512 => Sha512::of_parts(parts).0.to_vec(),
        }
    }

    /// Bytes of a digest.
    pub fn width(self) -> usize {
        match self {
            Self::Sha256 => Sha256::WIDTH,
            Self::Sha384 => Sha384::WIDTH,
            Self::Sha512 => Sha512::WIDTH,
        }
    }
}

/// Version of the RMM interface by which a realm is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rmm {
    /// 1.0: RIPAS is measured.
    V1,
    /// 2.0: RIPAS is not measured.
    V2,
}

/// What of the realm parameters is measured (`RmiRealmParams`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// `flags`.
    pub flags: u64,
    /// `s2sz`: bits of an intermediate physical address.
    pub ipa_bits: u8,
    /// `sve_vl`: vector length in units of 128 bits, less one.
    pub sve_vl: u8,
    /// `num_bps`: breakpoints, less one.
    pub num_bps: u8,
    /// `num_wps`: watchpoints, less one.
    pub num_wps: u8,
    /// `pmu_num_ctrs`: counters of the performance monitor.
    pub pmu_num_ctrs: u8,
    /// `hash_algo`.
    pub hash: Hash,
}

/// `RmiRealmFlags.lpa2`.
pub const FLAG_LPA2: u64 = 1;
/// `RmiRealmFlags.sve`.
pub const FLAG_SVE: u64 = 2;
/// `RmiRealmFlags.pmu`.
pub const FLAG_PMU: u64 = 4;

/// `RmiRealmParams`, 4096 bytes, of which everything that is not measured is zero.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RealmParams {
    flags: U64,
    s2sz: U64,
    sve_vl: U64,
    num_bps: U64,
    num_wps: U64,
    pmu_num_ctrs: U64,
    hash_algo: U64,
    zero: [u8; 4096 - 56],
}
const _: () = assert!(size_of::<RealmParams>() == 4096);

/// Every `RmmMeasurementDescriptor…`: 256 bytes that end in what the operation adds.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Descriptor {
    desc_type: U64,
    len: U64,
    rim: [u8; WIDTH],
    rest: [u8; 0x100 - 0x50],
}
const _: () = assert!(size_of::<Descriptor>() == 0x100);

const DATA: u64 = 0;
const REC: u64 = 1;
const RIPAS: u64 = 2;

/// One step of a realm's creation that may be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// RMI_RTT_INIT_RIPAS for `base` up to `top`.
    Ripas {
        /// First address.
        base: u64,
        /// First address behind.
        top: u64,
    },
    /// RMI_DATA_CREATE of granules from `ipa` on that hold `data`, contents measured.
    Data {
        /// Address of the first byte; the bytes before it in its granule are zero.
        ipa: u64,
        /// The bytes; zeros fill the last granule.
        data: Cow<'a, [u8]>,
    },
    /// RMI_DATA_CREATE of granules whose contents are not measured.
    Unmeasured {
        /// Address of the first granule.
        ipa: u64,
        /// Bytes.
        size: u64,
    },
    /// RMI_REC_CREATE of the one vCPU that runs at once.
    Rec {
        /// Where it begins.
        pc: u64,
        /// Register X0; X1 to X7 are zero.
        x0: u64,
    },
}

/// The RIM of a realm that is being made.
#[derive(Debug, Clone)]
pub struct Rim {
    hash: Hash,
    rmm: Rmm,
    ipa_bits: u8,
    value: [u8; WIDTH],
}

impl Rim {
    /// RMI_REALM_CREATE: the RIM starts as the digest of the measured parameters.
    pub fn create(parameters: &Parameters, rmm: Rmm) -> Self {
        let wide = |value: u8| U64::from(u64::from(value));
        let measured = RealmParams {
            flags: parameters.flags.into(),
            s2sz: wide(parameters.ipa_bits),
            sve_vl: wide(parameters.sve_vl),
            num_bps: wide(parameters.num_bps),
            num_wps: wide(parameters.num_wps),
            pmu_num_ctrs: wide(parameters.pmu_num_ctrs),
            hash_algo: wide(parameters.hash as u8),
            zero: [0; 4096 - 56],
        };
        let (hash, ipa_bits) = (parameters.hash, parameters.ipa_bits);
        let value = padded(&hash.of(&[measured.as_bytes()]));
        Self { hash, rmm, ipa_bits, value }
    }

    /// Measures one step, if it is one that is measured.
    pub fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Ripas { .. } if self.rmm == Rmm::V2 => {}
            Step::Ripas { base, top } => {
                for (base, top) in blocks(*base, *top, self.ipa_bits) {
                    self.extend(RIPAS, &[&base.to_le_bytes(), &top.to_le_bytes()]);
                }
            }
            Step::Data { ipa, data } => self.data(*ipa, data),
            Step::Unmeasured { ipa, size } => {
                for ipa in (*ipa..ipa.saturating_add(*size)).step_by(PAGE) {
                    self.extend(DATA, &[&ipa.to_le_bytes()]);
                }
            }
            Step::Rec { pc, x0 } => self.rec(*pc, *x0),
        }
    }

    fn data(&mut self, ipa: u64, data: &[u8]) {
        let lead = usize::try_from(ipa % GRANULE).unwrap_or(0);
        let (head, rest) = data.split_at(data.len().min(PAGE - lead));
        let mut first = alloc::vec![0; lead];
        first.extend_from_slice(head);
        let granules = core::iter::once(first.as_slice()).chain(rest.chunks(PAGE));
        for (ipa, granule) in (ipa - ipa % GRANULE..).step_by(PAGE).zip(granules) {
            let content = self.hash.of(&[granule, &ZEROS[granule.len()..]]);
            self.extend(DATA, &[&ipa.to_le_bytes(), &MEASURE_CONTENT.to_le_bytes(), &content]);
        }
    }

    /// `RmiRecParams`: `flags` at 0 (runnable), `pc` at 0x200, `gprs` at 0x300.
    fn rec(&mut self, pc: u64, x0: u64) {
        let mut parameters = ZEROS;
        let fields = [(0, 1), (0x200, pc), (0x300, x0)];
        for (offset, value) in fields {
            let field = parameters.get_mut(offset..).and_then(<[u8]>::first_chunk_mut::<8>);
            field.into_iter().for_each(|field| *field = u64::to_le_bytes(value));
        }
        let content = self.hash.of(&[&parameters]);
        self.extend(REC, &[&content]);
    }

    fn extend(&mut self, desc_type: u64, fields: &[&[u8]]) {
        let mut descriptor = Descriptor {
            desc_type: desc_type.into(),
            len: 0x100.into(),
            rim: self.value,
            rest: [0; 0x100 - 0x50],
        };
        let bytes = fields.iter().flat_map(|field| field.iter());
        descriptor.rest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.value = padded(&self.hash.of(&[descriptor.as_bytes()]));
    }

    /// The RIM, as wide as the hash.
    pub fn value(&self) -> &[u8] {
        self.value.get(..self.hash.width()).unwrap_or_default()
    }
}

const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];
/// `RmmDataFlags.measure`.
const MEASURE_CONTENT: u64 = 1;

fn padded(digest: &[u8]) -> [u8; WIDTH] {
    let mut padded = [0; WIDTH];
    padded.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    padded
}

/// The entries of the translation table that cover `base` up to `top`: RIPAS is measured once for
/// each. A host maps by the largest block that is aligned and fits.
fn blocks(base: u64, top: u64, ipa_bits: u8) -> impl Iterator<Item = (u64, u64)> {
    let sizes = block_sizes(ipa_bits);
    let mut next = base;
    core::iter::from_fn(move || {
        let fits = |size: &&u64| next.is_multiple_of(**size) && top.saturating_sub(next) >= **size;
        let size = sizes.iter().rev().find(fits)?;
        let start = next;
        next += size;
        Some((start, next))
    })
}

/// Sizes that an entry can map, ascending, by the levels that a table for `ipa_bits` has: each
/// level resolves 9 bits, and up to 16 tables may be concatenated at the first level, which saves
/// a level (Arm ARM, section D8.2).
fn block_sizes(ipa_bits: u8) -> Vec<u64> {
    let table_bits = ipa_bits.saturating_sub(12);
    let levels = table_bits.div_ceil(9);
    let first = table_bits.saturating_sub(9 * levels.saturating_sub(1));
    let levels = if first <= 4 { levels.saturating_sub(1) } else { levels };
    (0..levels.clamp(1, 4)).map(|level| GRANULE << (9 * level)).collect()
}

/// One RSI_MEASUREMENT_EXTEND of a REM that holds `rem`: the old value is part of the hash.
///
/// # Errors
/// A value of more than 64 bytes, which the call does not take.
pub fn extended(hash: Hash, rem: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    if value.len() > WIDTH {
        return Err(Error::Unsupported {
            what: alloc::format!("an extend by {} bytes", value.len()),
            why: "RSI_MEASUREMENT_EXTEND takes at most 64".to_string(),
        });
    }
    Ok(hash.of(&[rem, value]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    fn parameters(hash: Hash) -> Parameters {
        let flags = FLAG_LPA2 | FLAG_PMU;
        Parameters { flags, ipa_bits: 48, sve_vl: 0, num_bps: 3, num_wps: 2, pmu_num_ctrs: 6, hash }
    }

    /// A launch with every kind of step: RIPAS over three block sizes, unaligned and whole data.
    fn steps() -> [Step<'static>; 5] {
        [
            Step::Ripas { base: 0x3f_f000, top: 0x60_1000 },
            Step::Data { ipa: 0x3f_f010, data: Cow::Borrowed(b"one") },
            Step::Data { ipa: 0x40_0000, data: Cow::Borrowed(b"two") },
            Step::Rec { pc: 0x40_0000, x0: 0x3f_f000 },
            Step::Unmeasured { ipa: 0x50_0000, size: 0x1000 },
        ]
    }

    fn rim(hash: Hash, rmm: Rmm, steps: &[Step<'_>]) -> String {
        let mut rim = Rim::create(&parameters(hash), rmm);
        steps.iter().for_each(|step| rim.step(step));
        hex(rim.value())
    }

    // Computed with Python's hashlib from the descriptors of docs/measure/cca.md.
    #[test]
    fn rims_of_both_interfaces_under_every_hash() {
        let known = [
            (
                Hash::Sha256,
                Rmm::V1,
                "98d5befed27373433e2633c29e12cd6478604bd281311897909e013d38299d4f",
            ),
            (
                Hash::Sha256,
                Rmm::V2,
                "dcad8c8da8abafc61f0ac6c22f90d12ebc3e3afe9ec22a912b51e7001bb72cdd",
            ),
            (
                Hash::Sha384,
                Rmm::V1,
                "cb6ac25c6db6c4f9c2cb87d207a93afb03aa9df2c71d13ed4949f178877b0f52571d0d3ffd304dd9d233321fdb5965a5",
            ),
            (
                Hash::Sha384,
                Rmm::V2,
                "220f5964f5bc532d28ac8a6d99ab3104e71cf9399ddf1de4aa68a20d7cb5f0ac9da7bd97fc0fc46bbd4b880b21408ed7",
            ),
            (
                Hash::Sha512,
                Rmm::V1,
                "a7d312a5dbbfea2d0947f927df744f5c1bf2ae7e2047305a569caaba9c686c49fbea4d03ef26931c67beda334e18b0ab077813a4c27de1b76aec3d40e7396c75",
            ),
            (
                Hash::Sha512,
                Rmm::V2,
                "f7214faaab4ca9797bbb956d06f88a9e76b402deef63253b6468e9c93d99bf0ede7de5fff28584c0325109ded54e25deca2b00eef285386b0378b2da1da45dd7",
            ),
        ];
        for (hash, rmm, expected) in known {
            assert_eq!(rim(hash, rmm, &steps()), expected, "{hash:?} {rmm:?}");
        }
    }

    // cca-realm-measurements (commit 08aaf5a3), src/realm_config.rs, test_rim().
    #[test]
    fn parameters_alone_measure_as_the_reference_tool_computes() {
        let known = [
            (Hash::Sha256, "6739dfb22b75ee1268d08dfa8369f501bc0b066243553f069f560d1fa1172973"),
            (
                Hash::Sha512,
                "799e434048fb57eb9d4f0e2a2b98158720377252deab2bdfcd69b5a8f82237f434bd6bb1c75bf160a2d49382f733b3439a3ff769e4ea5dd9a6f72239d44bbbab",
            ),
        ];
        for (hash, expected) in known {
            let bare = Parameters {
                flags: 0,
                num_bps: 1,
                num_wps: 1,
                pmu_num_ctrs: 0,
                ..parameters(hash)
            };
            assert_eq!(hex(Rim::create(&bare, Rmm::V1).value()), expected);
        }
    }

    // RMM 2.0 derived a second time: what TF-RMM's code no longer calls is left out by hand.
    #[test]
    fn rmm_2_is_rmm_1_without_ripas() {
        let [_, rest @ ..] = steps();
        assert_eq!(rim(Hash::Sha512, Rmm::V2, &steps()), rim(Hash::Sha512, Rmm::V1, &rest));
    }

    #[test]
    fn rems_are_extended_and_never_overwritten() {
        let known = [
            (Hash::Sha256, "1865b7d390d9ab00b491dfc1bc8b59ca29d0fd7ac787e3583fdabe26935b9bf5"),
            (
                Hash::Sha384,
                "f6397944a4c1d1fb154492a7781cf40e59d08fc2fc1dcfd48de4eab172ebe76c8017574d343273e91f9cfbdb00c941f5",
            ),
            (
                Hash::Sha512,
                "6ef4f4f35257ad092c05a9c7bd78cfb1952dccb775c9ff5aaadf978560d170ebef3a888ff8e2ce3279195d533f0b2961337ed49f807ae46d88c83384f9f98dca",
            ),
        ];
        for (hash, expected) in known {
            let first = extended(hash, &alloc::vec![0; hash.width()], b"first").expect("short");
            assert_eq!(hex(&extended(hash, &first, b"second value").expect("short")), expected);
        }
        assert!(extended(Hash::Sha256, &[0; 32], &[0; 65]).is_err());
    }

    #[test]
    fn blocks_are_the_largest_that_are_aligned_and_fit() {
        assert_eq!(block_sizes(52), [1 << 12, 1 << 21, 1 << 30, 1 << 39]);
        assert_eq!(
            block_sizes(43),
            [1 << 12, 1 << 21, 1 << 30],
            "concatenated tables save a level"
        );
        assert_eq!(block_sizes(34), [1 << 12, 1 << 21]);
        assert_eq!(block_sizes(33), [1 << 12, 1 << 21]);
        let blocks: Vec<_> = blocks(0x3f_f000, 0x60_1000, 48).collect();
        assert_eq!(
            blocks,
            [(0x3f_f000, 0x40_0000), (0x40_0000, 0x60_0000), (0x60_0000, 0x60_1000)]
        );
    }

    fn machine(settings: &[(&str, Value)]) -> Machine {
        let mut machine = Machine { memory: Some(1 << 29), ..Machine::default() };
        machine.vmm.name = "qemu".to_string();
        let common = [("num-bps", Value::Number(6)), ("num-wps", Value::Number(6))];
        let all = common.iter().chain(settings);
        machine.settings.extend(all.map(|(name, value)| (name.to_string(), value.clone())));
        machine
    }

    #[test]
    fn listed_events_extend_their_own_rem() {
        let list = b"rem1 01\nrem0 ff\n\nrem1 02\n";
        let guest = Guest { others: alloc::vec![("rem-events", &list[..])], ..Guest::default() };
        let found =
            one(&guest, &machine(&[("hash", Value::Text("sha256".into()))])).expect("measured");
        let chain = |values: &[&[u8]]| {
            let start = alloc::vec![0; 32];
            values.iter().fold(start, |rem, value| Sha256::of_parts([&rem[..], value]).0.to_vec())
        };
        assert_eq!(found.registers[1].value, chain(&[&[0xff]]));
        assert_eq!(found.registers[2].value, chain(&[&[1], &[2]]));
        assert_eq!(found.registers[3].value, [0; 32]);
        assert_eq!(found.events.len(), 3);
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_what_can() {
        let error = |settings: &[(&str, Value)], list: &[u8]| {
            let others = alloc::vec![("rem-events", list)];
            let guest = Guest { others, ..Guest::default() };
            one(&guest, &machine(settings)).expect_err("refused").to_string()
        };
        let number = Value::Number;
        assert!(
            error(&[("ipa-bits", number(40))], b"")
                .contains("expected 41 or more, which the VMM needs")
        );
        assert!(error(&[("num-bps", number(1))], b"").contains("num-bps: expected 2 to 64"));
        assert!(error(&[("sve-vl", number(100))], b"").contains("a multiple of 128 up to 2048"));
        assert!(error(&[("pmu", Value::Flag(true))], b"").contains("cca needs pmu-num-ctrs"));
        assert!(
            error(&[("personalization-value", Value::Text("xy".into()))], b"")
                .contains("in hexadecimal")
        );
        assert!(
            error(&[], b"rem0 aa\nrem4 aa")
                .starts_with("rem-events, line 2: expected rem0 to rem3")
        );
        let mut bare = machine(&[]);
        bare.settings.clear();
        let bare = one(&Guest::default(), &bare).unwrap_err().to_string();
        assert_eq!(bare, "cca needs num-bps: it is measured; give --num-bps as the host offers it");
    }
}
