//! Expansion ROMs of PCI devices (PCI Firmware 3.3 section 5.1.2; UEFI 2.10 section 14.4.2): the
//! drivers that they bring for UEFI.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{Reader, Result, uefi_compression};

/// First bytes of an image, and of its data structure.
const IMAGE: u16 = 0xaa55;
const DATA: [u8; 4] = *b"PCIR";

/// Code type of images for UEFI, and their signature.
const EFI: u8 = 3;
const EFI_SIGNATURE: u32 = 0x0ef1;

/// Machine type of drivers for x86-64.
const X86_64: u16 = 0x8664;

/// Unit of lengths in bytes.
const UNIT: usize = 512;

/// The header of an image: of those for UEFI every field (`EFI_PCI_EXPANSION_ROM_HEADER`), of others
/// the first and the last.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: U16,
    size: U16,
    signature: U32,
    subsystem: U16,
    machine: U16,
    compression: U16,
    reserved: [u8; 8],
    driver: U16,
    data: U16,
}

const _: () = assert!(size_of::<Header>() == 0x1a);

/// What follows of every image (`PCI_DATA_STRUCTURE`), as far as it is read.
#[derive(Debug, Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Data {
    signature: [u8; 4],
    device: [u8; 12],
    length: U16,
    revision: U16,
    kind: u8,
    indicator: u8,
}

const _: () = assert!(size_of::<Data>() == 0x16);

/// A driver in a ROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver<'a> {
    /// Its PE image, unpacked.
    pub image: Cow<'a, [u8]>,
    /// Its subsystem: 11 boot services driver, 12 runtime driver (UEFI 2.10 section 2.1.1).
    pub subsystem: u16,
}

/// The drivers for x86-64 in `rom`, in order. What is no image ends the list, as it does for firmware.
///
/// # Errors
/// A driver does not lie within the ROM, or is packed and broken.
pub fn drivers(rom: &[u8]) -> Result<Vec<Driver<'_>>> {
    let (mut found, mut start) = (Vec::new(), 0);
    while let Some((header, data)) = image(rom, start) {
        let size = usize::from(data.length.get()) * UNIT;
        let is_efi = data.kind == EFI && header.signature.get() == EFI_SIGNATURE;
        if is_efi && header.machine.get() == X86_64 {
            found.push(driver(rom, start, &header)?);
        }
        if data.indicator & 0x80 != 0 || size == 0 {
            break;
        }
        start += size;
    }
    Ok(found)
}

/// The two headers of the image at `start`.
fn image(rom: &[u8], start: usize) -> Option<(Header, Data)> {
    let (header, _) = Header::read_from_prefix(rom.get(start..)?).ok()?;
    let place = start.checked_add(header.data.get().into())?;
    let (data, _) = Data::read_from_prefix(rom.get(place..)?).ok()?;
    (header.magic.get() == IMAGE && data.signature == DATA).then_some((header, data))
}

fn driver<'a>(rom: &'a [u8], start: usize, header: &Header) -> Result<Driver<'a>> {
    let offset = usize::from(header.driver.get());
    let size = (usize::from(header.size.get()) * UNIT).saturating_sub(offset);
    let bytes = Reader::at(rom, start + offset).take(size, "driver in an option ROM")?;
    let image = match header.compression.get() {
        0 => bytes.into(),
        _ => uefi_compression::decompress(bytes)?.into(),
    };
    Ok(Driver { image, subsystem: header.subsystem.get() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A ROM of images of one unit each: code type, compression, whether it is the last.
    fn rom(images: &[(u8, u8, bool)]) -> Vec<u8> {
        let one = |(kind, compression, last): &(u8, u8, bool)| {
            let mut bytes = vec![0; UNIT];
            bytes[..8].copy_from_slice(&[0x55, 0xaa, 1, 0, 0xf1, 0x0e, 0, 0]);
            bytes[8..0xe].copy_from_slice(&[11, 0, 0x64, 0x86, *compression, 0]);
            (bytes[0x16], bytes[0x18]) = (0x40, 0x1c);
            bytes[0x1c..0x20].copy_from_slice(&DATA);
            (bytes[0x2c], bytes[0x30]) = (1, *kind);
            bytes[0x31] = if *last { 0x80 } else { 0 };
            (bytes[0x40], bytes[0x43]) = (7, 0xff);
            bytes
        };
        images.iter().flat_map(one).collect()
    }

    #[test]
    fn drivers_stand_among_other_images() {
        let count = |images: &[(u8, u8, bool)]| drivers(&rom(images)).expect("a ROM").len();
        assert_eq!(drivers(&[]), Ok(Vec::new()));
        assert_eq!(count(&[(0, 0, true)]), 0);
        assert_eq!(count(&[(0, 0, false), (EFI, 0, true)]), 1);
        assert_eq!(count(&[(EFI, 0, false), (EFI, 0, false)]), 2);
        assert_eq!(count(&[(0, 0, true), (EFI, 0, true)]), 0, "behind the last one");
        let rom = rom(&[(EFI, 0, true)]);
        let found = drivers(&rom).expect("a ROM");
        assert_eq!((found[0].subsystem, &found[0].image[..2]), (11, &[7, 0][..]));
    }

    #[test]
    fn what_is_broken_is_refused_where_it_stands() {
        let whole = rom(&[(EFI, 0, true)]);
        for end in 0..UNIT {
            let cut = drivers(&whole[..end]);
            assert!(cut.is_err() || cut == Ok(Vec::new()), "cut at {end}");
        }
        let error = drivers(&whole[..UNIT - 1]).expect_err("cut").to_string();
        assert!(error.contains("driver in an option ROM at byte offset 0x40"), "{error}");
        assert!(drivers(&rom(&[(EFI, 1, true)])).is_err(), "a stream of 4 GiB");
    }
}
