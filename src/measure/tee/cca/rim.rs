//! The Realm Initial Measurement: one hash chain over the calls that make a realm.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use zerocopy::little_endian::U64;
use zerocopy::{Immutable, IntoBytes};

use super::hash::{Hash, WIDTH, padded};

/// Bytes of a granule.
pub const GRANULE: u64 = 4096;
const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];
/// `RmmDataFlags.measure`.
const MEASURE_CONTENT: u64 = 1;

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

/// The entries of the translation table that cover `base` up to `top`: RIPAS is measured once for
/// each. A host maps by the largest block that is aligned and fits.
pub(super) fn blocks(base: u64, top: u64, ipa_bits: u8) -> impl Iterator<Item = (u64, u64)> {
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
pub(super) fn block_sizes(ipa_bits: u8) -> Vec<u64> {
    let table_bits = ipa_bits.saturating_sub(12);
    let levels = table_bits.div_ceil(9);
    let first = table_bits.saturating_sub(9 * levels.saturating_sub(1));
    let levels = if first <= 4 { levels.saturating_sub(1) } else { levels };
    (0..levels.clamp(1, 4)).map(|level| GRANULE << (9 * level)).collect()
}
