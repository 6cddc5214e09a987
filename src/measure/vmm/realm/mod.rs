//! How VMMs load an Arm CCA realm: which granules hold what, and the device tree that says so.
//!
//! The order of the steps is that of the «Realm Virtual Machine specification» 0.3 (veraison,
//! cca-realm-measurements, docs/realm-vm.md): RIPAS of all RAM, measured data by ascending address,
//! the first vCPU. A VMM is one file, which places the parts; the device tree is either the
//! caller's, measured as it is, or one of ours, to be handed to the VMM with its `-dtb` option.

mod cloud_hypervisor;
mod kvmtool;
mod qemu;
mod tree;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::format::arm64_image::Image;
use crate::format::fdt;
use crate::measure::tee::cca::{GRANULE, Step};
use crate::measure::{Error, Guest, Result};

/// What a VMM is told about the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of guest memory.
    pub memory: u64,
    /// vCPUs.
    pub vcpus: u32,
    /// The guest sees a performance monitor.
    pub pmu: bool,
    /// The interrupt controller has an ITS (message-signalled interrupts).
    pub its: bool,
}

/// A realm as a VMM makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch<'a> {
    /// Bits of an address that the VMM asks for.
    pub ipa_bits: u8,
    /// The device tree, as it lies in memory.
    pub dtb: Cow<'a, [u8]>,
    /// The steps, in order.
    pub steps: Vec<Step<'a>>,
    /// What the firmware, if there is one, extends REM 0 by: each part whole.
    pub booted: Vec<(&'static str, &'a [u8])>,
}

/// A VMM's placement of a guest.
type Place = for<'a> fn(&Guest<'a>, &Shape) -> Result<Launch<'a>>;

/// The VMMs, by name.
const VMMS: &[(&str, Place)] = &[
    ("qemu", qemu::launch),
    ("kvmtool", kvmtool::launch),
    ("cloud-hypervisor", cloud_hypervisor::launch),
];

/// The launch of `guest` by the VMM called `vmm`.
///
/// # Errors
/// An unknown VMM, a part that is no kernel or device tree, or parts that do not fit.
pub fn launch<'a>(vmm: &str, guest: &Guest<'a>, shape: &Shape) -> Result<Launch<'a>> {
    let place = VMMS.iter().find(|(name, _)| *name == vmm).map(|(_, place)| place);
    let place = place.ok_or_else(|| Error::Unsupported {
        what: format!("a realm under the VMM `{vmm}`"),
        why: format!(
            "known are {}",
            VMMS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        ),
    })?;
    place(guest, shape)
}

/// Parts by address, from which the steps are made.
#[derive(Debug, Default)]
struct Memory<'a> {
    parts: BTreeMap<u64, (&'static str, Cow<'a, [u8]>)>,
}

impl<'a> Memory<'a> {
    fn put(&mut self, ipa: u64, name: &'static str, data: impl Into<Cow<'a, [u8]>>) -> Result<()> {
        let data = data.into();
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let above = self.parts.range(ipa..).next().map(|(start, (name, _))| (*start, *name));
        let below = self.parts.range(..ipa).next_back();
        let below_end = below.map(|(start, (_, data))| start + data.len() as u64);
        let clash = match (above, below, below_end) {
            (Some((start, other)), ..) if ipa.saturating_add(length) > start => Some(other),
            (_, Some((_, (other, _))), Some(end)) if end > ipa => Some(*other),
            _ => None,
        };
        if let Some(other) = clash {
            return Err(Error::Unsupported {
                what: format!("{name} at {ipa:#x}"),
                why: format!("it would overlap the {other}; give the guest more memory"),
            });
        }
        self.parts.insert(ipa, (name, data));
        Ok(())
    }

    /// The steps for RAM from `base` on, in the specification's order.
    fn steps(self, base: u64, shape: &Shape, pc: u64, x0: u64) -> Result<Vec<Step<'a>>> {
        let top = base.saturating_add(shape.memory.next_multiple_of(GRANULE));
        let outside = self
            .parts
            .iter()
            .find(|(ipa, (_, data))| **ipa >= base && ipa.saturating_add(data.len() as u64) > top);
        if let Some((ipa, (name, _))) = outside {
            return Err(Error::Unsupported {
                what: format!("{name} at {ipa:#x}"),
                why: format!("memory ends at {top:#x}; give the guest more"),
            });
        }
        let data = self.parts.into_iter().map(|(ipa, (_, data))| Step::Data { ipa, data });
        let first = core::iter::once(Step::Ripas { base, top });
        Ok(first.chain(data).chain([Step::Rec { pc, x0 }]).collect())
    }
}

/// The kernel with its header.
fn kernel(bytes: &[u8]) -> Result<Image> {
    Image::parse(bytes).map_err(|error| Error::Input { input: "kernel", error })
}

/// The caller's device tree, checked to be one, or that which `ours` makes.
fn device_tree<'a>(guest: &Guest<'a>, ours: impl FnOnce() -> Vec<u8>) -> Result<Cow<'a, [u8]>> {
    let Some(given) = guest.dtb else { return Ok(ours().into()) };
    fdt::Node::parse(given).map_err(|error| Error::Input { input: "dtb", error })?;
    Ok(given.into())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[cfg(test)]
mod tests;
