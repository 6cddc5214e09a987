//! PCR 1: SMBIOS tables, as the firmware assembles and filters them (edk2
//! `OvmfPkg/SmbiosPlatformDxe`, `MdeModulePkg/Universal/SmbiosDxe` and `…/SmbiosMeasurementDxe`;
//! DMTF DSP0134 3.7 for the structures).

use alloc::string::String;
use alloc::vec::Vec;

/// Structure type that ends the tables (section 7.45).
const END: u8 = 127;

/// First of the types that belong to vendors: nothing of them but the header is measured.
const OEM: u8 = 128;

/// Handle that SmbiosDxe gives the end of the tables.
const END_HANDLE: [u8; 2] = [0xff, 0xfe];

/// BIOS information as OVMF makes it where QEMU gives none (`mOvmfDefaultType0`), handle 0: string
/// numbers, segment 0xe800, «characteristics not supported», virtual machine.
const BIOS_INFORMATION: [u8; 26] =
    [0, 26, 0, 0, 1, 2, 0, 0xe8, 3, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0x1c, 0, 0, 0xff, 0xff, 0, 0];

/// A field that differs from machine to machine and is blanked: offset, size, whether it is the
/// number of a string, which is blanked too.
type Blank = (usize, usize, bool);

/// Structure types with blanked fields; an empty list blanks the whole structure behind its header.
const FILTER: &[(u8, &[Blank])] = &[
    (1, &[(0x07, 1, true), (0x08, 16, false), (0x18, 1, false)]),
    (2, &[(0x07, 1, true), (0x0a, 1, true)]),
    (3, &[(0x07, 1, true), (0x08, 1, true)]),
    (
        4,
        &[
            (0x20, 1, true),
            (0x21, 1, true),
            (0x22, 1, true),
            (0x23, 1, false),
            (0x24, 1, false),
            (0x25, 1, false),
            (0x2a, 2, false),
            (0x2c, 2, false),
            (0x2e, 2, false),
            (0x11, 1, false),
            (0x16, 2, false),
        ],
    ),
    (11, &[]),
    (15, &[]),
    (17, &[(0x18, 1, true), (0x19, 1, true), (0x1a, 1, true)]),
    (18, &[]),
    (22, &[(0x08, 1, true), (0x10, 2, false), (0x12, 2, false)]),
    (23, &[(0x07, 2, false)]),
    (27, &[(0x0e, 2, false)]),
    (31, &[]),
    (33, &[]),
    (39, &[(0x08, 1, true), (0x09, 1, true), (0x0a, 1, true)]),
];

/// Vendor, version and date that the firmware writes into its BIOS information.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "reference", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Identity {
    /// Vendor.
    pub vendor: String,
    /// Version.
    pub version: String,
    /// Release date.
    pub date: String,
}

/// Structures of QEMU's `etc/smbios/smbios-tables` up to the end mark: formatted area and strings.
/// None where the tables are broken.
pub(super) fn structures(tables: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    let mut rest = tables;
    loop {
        let (kind, length) = (*rest.first()?, usize::from(*rest.get(1)?));
        if kind == END {
            return Some(found);
        }
        let strings = rest.get(length.max(4)..)?;
        let end = strings.windows(2).position(|pair| pair == [0, 0])?;
        let (structure, behind) = rest.split_at_checked(length.max(4) + end + 2)?;
        found.push(structure);
        rest = behind;
    }
}

/// What the firmware hashes: QEMU's structures, its own BIOS information where there is none, and
/// the end mark, each filtered.
pub(super) fn measured(structures: &[&[u8]], identity: &Identity) -> Vec<u8> {
    let mut tables: Vec<u8> = structures.iter().flat_map(|one| filtered(one)).collect();
    if !structures.iter().any(|one| one.first() == Some(&0)) {
        tables.extend(BIOS_INFORMATION);
        for text in [&identity.vendor, &identity.version, &identity.date] {
            tables.extend(text.bytes());
            tables.push(0);
        }
        tables.push(0);
    }
    tables.extend([END, 4]);
    tables.extend(END_HANDLE);
    tables.extend([0, 0]);
    tables
}

/// `structure` without what differs from machine to machine.
fn filtered(structure: &[u8]) -> Vec<u8> {
    let mut bytes = structure.to_vec();
    let (kind, length) = (structure.first().copied(), structure.get(1).map(|n| usize::from(*n)));
    let (Some(kind), Some(length)) = (kind, length) else { return bytes };
    let blanks = FILTER.iter().find(|(known, _)| *known == kind).map(|(_, blanks)| *blanks);
    if kind >= OEM || blanks == Some(&[]) {
        bytes.iter_mut().skip(4).for_each(|byte| *byte = 0);
        return bytes;
    }
    for (offset, size, is_string) in blanks.unwrap_or_default() {
        if offset + size > length {
            continue;
        }
        if let Some(number) = bytes.get(*offset).copied().filter(|_| *is_string) {
            blank_string(&mut bytes, length, number);
        }
        bytes.iter_mut().skip(*offset).take(*size).for_each(|byte| *byte = 0);
    }
    bytes
}

/// Overwrites the string `number` (from 1) with spaces.
fn blank_string(bytes: &mut [u8], length: usize, number: u8) {
    let Some(before) = number.checked_sub(1) else { return };
    let mut ends_seen = 0;
    for byte in bytes.iter_mut().skip(length) {
        match *byte {
            0 => ends_seen += 1,
            _ if ends_seen == before => *byte = b' ',
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_blanked_and_the_rest_stays() {
        let mut system = alloc::vec![1, 27, 0, 1, 1, 2, 0, 3];
        system.extend([0xaa; 16]);
        system.extend([6, 0, 0]);
        system.extend(b"QEMU\0Q35\0s3cret\0\0");
        let blanked = filtered(&system);
        assert_eq!(&blanked[27..], b"QEMU\0Q35\0      \0\0");
        assert_eq!(blanked[4..8], [1, 2, 0, 0]);
        assert_eq!(blanked[8..25], [0; 17]);
    }

    #[test]
    fn tables_are_cut_into_structures_and_broken_ones_are_refused() {
        let tables = b"\x03\x04\0\x03QEMU\0\0\x20\x04\0\x20\0\0\x7f\x04\0\x7f\0\0";
        let found = structures(tables).expect("two and the end");
        assert_eq!(found, [&b"\x03\x04\0\x03QEMU\0\0"[..], b"\x20\x04\0\x20\0\0"]);
        for end in 0..16 {
            assert_eq!(structures(&tables[..end]), None);
        }
    }
}
