//! Expansion ROMs of PCI devices (PCI Firmware 3.3, section 5; UEFI 2.10 section 14.4.2), as far as
//! telling whether they bring a driver for UEFI.

use super::Reader;

/// First bytes of an image in a ROM, and of its data structure (little-endian).
const IMAGE: u16 = 0xaa55;
const DATA: &[u8] = b"PCIR";

/// Where an image has the offset of its data structure, in bytes from its start.
const POINTER: usize = 0x18;

/// Code type of images for UEFI, and the mark of the last image.
const EFI: u8 = 3;
const LAST: u8 = 0x80;

/// Unit of an image's length, in bytes.
const UNIT: usize = 512;

/// Whether one of the images in `rom` is for UEFI. What is broken ends the list, as it does for a
/// firmware.
pub fn has_driver(rom: &[u8]) -> bool {
    let mut start = 0;
    while let Some((kind, length, last)) = image(rom.get(start..).unwrap_or_default()) {
        if kind == EFI {
            return true;
        }
        if last || length == 0 {
            return false;
        }
        start += length;
    }
    false
}

/// Code type and length in bytes of the image that `rom` begins with, and whether it is the last.
fn image(rom: &[u8]) -> Option<(u8, usize, bool)> {
    let mut reader = Reader::new(rom);
    let magic = u16::from_le_bytes(reader.array("magic").ok()?);
    let pointer = rom.get(POINTER..POINTER + 2)?;
    let data = rom.get(usize::from(u16::from_le_bytes(pointer.try_into().ok()?))..)?;
    let length = usize::from(u16::from_le_bytes(data.get(0x10..0x12)?.try_into().ok()?));
    let (kind, mark) = (*data.get(0x14)?, *data.get(0x15)?);
    (magic == IMAGE && data.starts_with(DATA)).then_some((kind, length * UNIT, mark & LAST != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn rom(images: &[(u8, u8)]) -> Vec<u8> {
        let one = |(kind, mark): &(u8, u8)| {
            let mut bytes = vec![0; UNIT];
            bytes[..2].copy_from_slice(&[0x55, 0xaa]);
            bytes[POINTER] = 0x1c;
            bytes[0x1c..0x20].copy_from_slice(DATA);
            bytes[0x2c] = 1;
            (bytes[0x30], bytes[0x31]) = (*kind, *mark);
            bytes
        };
        images.iter().flat_map(one).collect()
    }

    #[test]
    fn an_image_for_uefi_is_found_behind_others() {
        assert!(!has_driver(&[]));
        assert!(!has_driver(&rom(&[(0, LAST)])));
        assert!(has_driver(&rom(&[(EFI, LAST)])));
        assert!(has_driver(&rom(&[(0, 0), (EFI, LAST)])));
        assert!(!has_driver(&rom(&[(0, LAST), (EFI, LAST)])), "behind the last one");
        let mut broken = rom(&[(0, 0), (EFI, LAST)]);
        broken[0x2c] = 0;
        assert!(!has_driver(&broken), "no length");
        let legacy = rom(&[(0, 0)]);
        assert!((0..=UNIT).all(|end| !has_driver(&legacy[..end])), "cut anywhere");
    }
}
