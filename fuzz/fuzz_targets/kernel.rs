//! Kernels and executables: bzImage, PE, ELF and arm64 Image parsers end without a panic.
#![no_main]

use guestsmith::format::{arm64_image, bzimage, elf, pe};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = (bzimage::parse(bytes), elf::Elf::parse(bytes), arm64_image::Image::parse(bytes));
    let _ = pe::Pe::parse(bytes);
});
