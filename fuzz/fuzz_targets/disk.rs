//! Disks: GPT and FAT parsers end without a panic; a file that is read fits the partition.
#![no_main]

use guestsmith::format::{fat, gpt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = gpt::Gpt::parse(bytes).map(|table| table.measured());
    let Ok(fat) = fat::Fat::open(bytes) else { return };
    if let Ok(file) = fat.read("/EFI/BOOT/BOOTX64.EFI") {
        assert!(file.len() <= bytes.len());
    }
});
