//! Option ROMs and UEFI's compression: no panic, and nothing larger than it says comes out.
#![no_main]

use guestsmith::format::{option_rom, uefi_compression};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = option_rom::drivers(bytes);
    if let Ok(unpacked) = uefi_compression::decompress(bytes) {
        let stated = u32::from_le_bytes(bytes[4..8].try_into().expect("a header"));
        assert_eq!(unpacked.len(), stated as usize);
    }
});
