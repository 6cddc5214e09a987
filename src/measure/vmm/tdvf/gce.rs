//! What Google Compute Engine once measured into MRTD: every section of the firmware, and the hand-off
//! blocks among them, which tell the machine's memory (google/gce-tcb-verifier, `ovmf/tdx_data.go` and
//! `tdx/mrtd_from_ovmf.go`, whose name for it is «TDHOB bug»).

use alloc::vec::Vec;

use super::block;
use crate::format::tdvf::{Kind, Section};

const GIB: u64 = 1 << 30;

/// The hole below 4 GiB, and the memory at its end that the firmware lies in.
const HOLE: (u64, u64) = (3 * GIB, 4 * GIB);
const FIRMWARE: u64 = 2 << 20;

/// The most that one NUMA node of a C3 machine has.
const NODE: u64 = 176 * GIB;

/// Attributes of memory: present, initialised, tested; and to be accepted before the system starts.
const PRESENT: u32 = 0x7;
const EARLY_ACCEPT: u32 = 0x1000_0000;

/// Resource types: memory that the firmware has, and memory that it has yet to accept.
const ACCEPTED: u32 = 0;
const UNACCEPTED: u32 = 7;

/// Memory of a machine: start and end of its banks, in order.
fn banks(memory: u64) -> Vec<(u64, u64)> {
    let mut banks = alloc::vec![(0, HOLE.0), (HOLE.1 - FIRMWARE, HOLE.1)];
    let mut left = memory.saturating_sub(HOLE.0);
    let (mut at, mut taken) = (HOLE.1, HOLE.0);
    while left > 0 {
        let length = left.min(NODE - taken);
        banks.push((at, at + length));
        at += length;
        left -= length;
        taken = 0;
    }
    banks
}

/// What of the banks no section covers, in order.
fn unaccepted(sections: &[Section<'_>], memory: u64) -> Vec<(u64, u64)> {
    let mut owned: Vec<_> = sections.iter().map(|s| (s.address, s.address + s.size)).collect();
    owned.sort_unstable();
    let mut found = Vec::new();
    for (start, end) in banks(memory) {
        let mut at = start;
        for (first, last) in owned.iter().filter(|(first, last)| *first < end && *last > start) {
            if *first > at {
                found.push((at, *first));
            }
            at = at.max(*last);
        }
        if at < end {
            found.push((at, end));
        }
    }
    found
}

/// The hand-off blocks, with their end, of a machine with `memory` bytes. Sections come in the order
/// of the firmware's metadata. With `early_accept` the firmware accepts all memory.
pub fn hand_off(sections: &[Section<'_>], memory: u64, early_accept: bool) -> Vec<u8> {
    let place = sections.iter().find(|section| section.kind == Kind::TdHob);
    let owned = sections.iter().map(|s| (ACCEPTED, PRESENT, s.address, s.address + s.size));
    let rest = unaccepted(sections, memory).into_iter().map(|(start, end)| {
        let early = early_accept || end <= HOLE.1;
        (UNACCEPTED, if early { PRESENT | EARLY_ACCEPT } else { PRESENT }, start, end)
    });
    let resources: Vec<_> = owned.chain(rest).collect();
    let end = place.map_or(0, |place| place.address) + 56 + 48 * resources.len() as u64;
    let mut blocks = block(1, 56);
    blocks.extend([9, 0, 0, 0]); // version of the list
    blocks.extend([0; 36]); // boot mode, limits of memory
    blocks.extend(end.to_le_bytes());
    for (kind, attributes, start, end) in resources {
        blocks.extend(block(3, 48));
        blocks.extend([0; 16]); // owner
        blocks.extend([kind.to_le_bytes(), attributes.to_le_bytes()].concat());
        blocks.extend([start.to_le_bytes(), (end - start).to_le_bytes()].concat());
    }
    blocks.extend(block(0xffff, 8));
    blocks
}

/// `sections`, all of them measured, with `blocks` where the hand-off blocks belong.
pub fn measured<'a>(sections: &[Section<'a>], blocks: &'a [u8]) -> Vec<Section<'a>> {
    let all = sections.iter().map(|section| {
        let data = if section.kind == Kind::TdHob { blocks } else { section.data };
        Section { data, measured: true, on_demand: false, ..*section }
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_are_those_of_the_verifiers_own_test() {
        // google/gce-tcb-verifier, tdx/tdx_test.go, c3-standard-176: 704 GiB in four nodes.
        let known = [
            (0, 0xc000_0000),
            (0xffe0_0000, 0x20_0000),
            (0x1_0000_0000, 0x2b_4000_0000),
            (0x2c_4000_0000, 0x2c_0000_0000),
            (0x58_4000_0000, 0x2c_0000_0000),
            (0x84_4000_0000, 0x2c_0000_0000),
        ];
        let banks: Vec<(u64, u64)> = banks(704 * GIB).iter().map(|(s, e)| (*s, e - s)).collect();
        assert_eq!(banks, known);
    }

    #[test]
    fn what_no_section_covers_is_left() {
        let section = |address, size| Section {
            kind: Kind::TempMem,
            data: &[],
            address,
            size,
            measured: false,
            on_demand: false,
        };
        let sections = [section(0xffe0_0000, 0x20_0000), section(0x80_9000, 0x2000)];
        let left = unaccepted(&sections, 16 * GIB);
        let expected = [(0, 0x80_9000), (0x80_b000, 3 * GIB), (4 * GIB, 17 * GIB)];
        assert_eq!(left, expected);
        let blocks = hand_off(&sections, 16 * GIB, false);
        assert_eq!(blocks.len(), 56 + 5 * 48 + 8);
        assert_eq!(blocks[56 + 2 * 48 + 28..][..4], (PRESENT | EARLY_ACCEPT).to_le_bytes());
        assert_eq!(blocks[56 + 4 * 48 + 28..][..4], PRESENT.to_le_bytes());
    }
}
