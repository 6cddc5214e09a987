//! Enclave images: whatever is accepted is written back and read again as the same image.
#![no_main]

use guestsmith::format::eif;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = eif::Image::parse(bytes) else { return };
    if let Ok(written) = image.write() {
        let again = eif::Image::parse(&written).expect("what we write can be read");
        assert_eq!(again.sections.len(), image.sections.len());
    }
});
