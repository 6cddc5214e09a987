//! A launch up to its VMSAs, from which every number of vCPUs follows.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::chain::next;
use super::{TEE, vcpus};
use crate::digest::Sha384;
use crate::measure::machine::Kind;
use crate::measure::{Confidence, Error, Machine, Measurement, Register, Result, Setting, ovmf};

/// A launch up to the VMSAs, in place of files.
pub const SEED: Setting = Setting {
    name: "seed",
    about: "In place of files: the seed that --parts shows, before_vmsas:first_vmsa:other_vmsa",
    kind: Kind::Text,
};

/// Type of a page with the registers of a vCPU (AMD 56860, section 8.17.2).
const VMSA: u8 = 2;

/// All that a launch needs, from which the digest of any number of vCPUs follows.
///
/// ```
/// use guestsmith::measure::tee::snp::Seed;
///
/// let text = "01".repeat(48) + ":" + &"02".repeat(48) + ":" + &"03".repeat(48);
/// let seed = Seed::parse(&text, 0xffff_ffff_f000)?;
/// let counts: Vec<_> = seed.digests().take(64).collect();
/// assert_eq!(counts[3], seed.digest(4));
/// # Ok::<_, guestsmith::measure::Error>(())
/// ```
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
    /// The seed that `text` states: three digests in the order of the fields, with or without
    /// colons between.
    ///
    /// # Errors
    /// It is no three digests of 48 bytes.
    pub fn parse(text: &str, gpa: u64) -> Result<Self> {
        const DIGITS: usize = 2 * Sha384::WIDTH;
        let digits = text.replace(':', "");
        let digest = |place: usize| {
            digits.get(place * DIGITS..(place + 1) * DIGITS).and_then(|part| part.parse().ok())
        };
        match (digest(0), digest(1), digest(2)) {
            (Some(before), Some(first), Some(other)) if digits.len() == 3 * DIGITS => {
                Ok(Self { before, first, other, gpa })
            }
            _ => Err(Error::Setting {
                name: SEED.name.to_string(),
                found: text.to_string(),
                expected: "before_vmsas:first_vmsa:other_vmsa, 96 hexadecimal digits each".into(),
            }),
        }
    }

    /// Its digests one by one, and the seed as [`Self::parse`] reads it back.
    pub fn parts(&self) -> Vec<Register> {
        let one =
            [("before_vmsas", self.before), ("first_vmsa", self.first), ("other_vmsa", self.other)];
        let whole = Register::new(SEED.name, [self.before.0, self.first.0, self.other.0].concat());
        one.map(|(name, value)| Register::new(name, value)).into_iter().chain([whole]).collect()
    }

    /// The digest after every number of vCPUs from 1 on.
    pub fn digests(self) -> impl Iterator<Item = Sha384> {
        let first = next(self.before, VMSA, self.first, self.gpa);
        core::iter::once(first).chain(self.after(first))
    }

    /// The digests after one vCPU more than those that gave `digest`, after two more, and so on.
    pub(super) fn after(self, digest: Sha384) -> impl Iterator<Item = Sha384> {
        let one_more = move |digest: &Sha384| Some(next(*digest, VMSA, self.other, self.gpa));
        core::iter::successors(Some(digest), one_more).skip(1)
    }

    /// The digest of a machine with `vcpus` vCPUs, at least one.
    pub fn digest(self, vcpus: u32) -> Sha384 {
        let wanted = usize::try_from(vcpus.saturating_sub(1)).unwrap_or(usize::MAX);
        self.digests().nth(wanted).unwrap_or(self.before)
    }
}

/// The last steps alone, from a seed that an earlier measurement showed.
pub(super) fn expect(machine: &Machine) -> Result<Measurement> {
    let launch = ovmf::launch(TEE.name, machine)?;
    let gpa = (launch.vmsa_gpa)(machine.cpu.as_ref());
    let seed = Seed::parse(machine.text(SEED.name).unwrap_or_default(), gpa)?;
    let digest = seed.digest(vcpus(TEE.name, machine)?);
    Ok(Measurement {
        registers: alloc::vec![Register::new("measurement", digest)],
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    })
}
