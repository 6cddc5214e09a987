//! IGVM files: no panic; every directive lies in the file.
#![no_main]

use guestsmith::format::igvm;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = igvm::File::parse(bytes) {
        assert!(file.directives.len() <= bytes.len());
    }
});
