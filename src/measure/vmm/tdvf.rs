//! How a VMM loads a TDX guest: the pages that MRTD covers, and the hand-off blocks that tell the
//! firmware about memory (QEMU `hw/i386/tdvf.c`, `hw/i386/tdvf-hob.c`, `target/i386/kvm/tdx.c`).

pub mod gce;

use alloc::borrow::Cow;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use crate::format::tdvf::{Kind, Section};
use crate::measure::page::{Action, PAGE_SIZE, Step};
use crate::measure::{Error, Result};

/// What one `TDH.MR.EXTEND` covers (Intel TDX Module ABI, `TDH.MR.EXTEND`).
pub const CHUNK: usize = 256;

/// More than this is not loaded at launch: a firmware's own memory takes a few MiB.
const MAX_LOADED: u64 = 1 << 30;

/// The order of adding and extending, which differs between VMMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each page is added and extended before the next: upstream QEMU and KVM, and GCE.
    SinglePass,
    /// All pages of a section are added, then all are extended: QEMU 8 with Intel's patches
    /// (`tdx-qemu-upstream-v5`, and Ubuntu's 8.2).
    TwoPass,
}

/// Steps of loading `sections`.
///
/// # Errors
/// The sections are larger than anything that is loaded at launch.
pub fn steps<'a>(sections: &[Section<'a>], order: Order) -> Result<Vec<Step<'a>>> {
    let added = sections.iter().filter(|section| !section.on_demand || section.measured);
    let total = added.clone().fold(0u64, |sum, section| sum.saturating_add(section.size));
    if total > MAX_LOADED {
        return Err(Error::Unsupported {
            what: alloc::format!("firmware that loads {total:#x} bytes at launch"),
            why: "its TDX metadata cannot be right".to_string(),
        });
    }
    let mut steps = Vec::new();
    for section in added {
        let pages = (0..section.size).step_by(PAGE_SIZE);
        match order {
            Order::SinglePass => pages.for_each(|at| {
                add(section, at, &mut steps);
                extend(section, at, &mut steps);
            }),
            Order::TwoPass => {
                pages.clone().for_each(|at| add(section, at, &mut steps));
                pages.for_each(|at| extend(section, at, &mut steps));
            }
        }
    }
    Ok(steps)
}

fn add(section: &Section<'_>, at: u64, steps: &mut Vec<Step<'_>>) {
    if !section.on_demand {
        steps.push(Step { gpa: section.address + at, action: Action::Add });
    }
}

fn extend<'a>(section: &Section<'a>, at: u64, steps: &mut Vec<Step<'a>>) {
    if !section.measured {
        return;
    }
    for offset in (0..PAGE_SIZE).step_by(CHUNK) {
        let start = usize::try_from(at).unwrap_or(usize::MAX).saturating_add(offset);
        let whole = start.checked_add(CHUNK).and_then(|end| section.data.get(start..end));
        let chunk = whole.map_or_else(|| short(section.data, start), Cow::Borrowed);
        let gpa = section.address + at + offset as u64;
        steps.push(Step { gpa, action: Action::Extend(chunk) });
    }
}

/// A chunk that reaches behind the section's data: zeros from there on.
fn short(data: &[u8], start: usize) -> Cow<'_, [u8]> {
    let mut chunk = data.get(start..).unwrap_or_default().to_vec();
    chunk.resize(CHUNK, 0);
    Cow::Owned(chunk)
}

/// The hand-off block list without its end, as the firmware hashes it (PI 1.8 volume III, section
/// 5): where it ends, and which memory is accepted already. None without a place for it.
pub fn hand_off(sections: &[Section<'_>], memory: u64) -> Option<Vec<u8>> {
    let place = sections.iter().find(|section| section.kind == Kind::TdHob)?;
    let resources = resources(sections, memory);
    let end = place.address + 56 + 48 * resources.len() as u64 + 8;
    let mut blocks = block(1, 56);
    blocks.extend([9, 0, 0, 0]); // version of the list
    blocks.extend([0; 36]); // boot mode, limits of memory
    blocks.extend(end.to_le_bytes());
    for (kind, start, length) in resources {
        blocks.extend(block(3, 48));
        blocks.extend([0; 16]); // owner
        blocks.extend(kind.to_le_bytes());
        blocks.extend(7u32.to_le_bytes()); // present, initialised, tested
        blocks.extend([start.to_le_bytes(), length.to_le_bytes()].concat());
    }
    Some(blocks)
}

/// Header of a hand-off block: type, length, reserved.
fn block(kind: u16, length: u16) -> Vec<u8> {
    [kind.to_le_bytes(), length.to_le_bytes(), [0; 2], [0; 2]].concat()
}

/// Memory by address: 0 for what the firmware already has, 7 for what it has yet to accept
/// (`EFI_RESOURCE_SYSTEM_MEMORY`, `EFI_RESOURCE_MEMORY_UNACCEPTED`).
fn resources(sections: &[Section<'_>], memory: u64) -> Vec<(u32, u64, u64)> {
    // q35 has 2 GiB below the PCI hole as soon as 2.75 GiB would not fit.
    let below_4g = if memory >= 0xb000_0000 { 0x8000_0000 } else { memory };
    let above = memory - below_4g;
    let ram = [(0, below_4g), (1 << 32, above)];
    let owned = |section: &&Section<'_>| matches!(section.kind, Kind::TdHob | Kind::TempMem);
    let mut accepted: Vec<_> =
        sections.iter().filter(owned).map(|section| (section.address, section.size)).collect();
    accepted.sort_unstable();
    let mut found = Vec::new();
    for (start, length) in ram.into_iter().filter(|(_, length)| *length > 0) {
        let mut at = start;
        let end = start + length;
        for (address, size) in accepted.iter().filter(|(a, _)| (start..end).contains(a)) {
            if *address > at {
                found.push((7, at, address - at));
            }
            found.push((0, *address, *size));
            at = address + size;
        }
        if end > at {
            found.push((7, at, end - at));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha384;

    /// Where OVMF has its memory, and no other section.
    fn ovmf() -> Vec<Section<'static>> {
        let section = |kind, address, size| Section {
            kind,
            data: &[],
            address,
            size,
            measured: false,
            on_demand: false,
        };
        alloc::vec![
            section(Kind::TempMem, 0x81_0000, 0x1_0000),
            section(Kind::TempMem, 0x80_b000, 0x2000),
            section(Kind::TdHob, 0x80_9000, 0x2000),
            section(Kind::TempMem, 0x80_0000, 0x6000),
        ]
    }

    #[test]
    fn hand_off_blocks_are_those_of_real_machines() {
        // Digests of the first event in the logs of two TDX machines, with 2 GiB and 64 GiB.
        let digest = |memory| {
            let blocks = hand_off(&ovmf(), memory).expect("a place for them");
            Sha384::of(&blocks).to_string()[..16].to_string()
        };
        assert_eq!(digest(2 << 30), "0b8772e5b0b41b83");
        assert!(digest(64 << 30).starts_with("8ae1e425"));
    }

    #[test]
    fn both_orders_have_the_same_steps() {
        let data = [7; 300];
        let mut section = ovmf()[1];
        section.data = &data;
        section.measured = true;
        let single = steps(&[section], Order::SinglePass).expect("steps");
        let mut two = steps(&[section], Order::TwoPass).expect("steps");
        assert_eq!(single.len(), 2 * 17);
        assert_ne!(single, two);
        assert_eq!(two[1].action, Action::Add);
        two.sort_by_key(|step| (step.gpa, step.action != Action::Add));
        assert_eq!(single, two);
        let Action::Extend(chunk) = &single[2].action else { panic!("the second chunk") };
        assert_eq!((chunk[43], chunk[44]), (7, 0));
    }

    #[test]
    fn absurd_metadata_are_refused() {
        let mut section = ovmf()[0];
        section.size = 1 << 40;
        assert!(steps(&[section], Order::SinglePass).is_err());
    }
}
