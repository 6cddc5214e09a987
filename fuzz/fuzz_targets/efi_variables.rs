//! EFI variable stores and signature lists: no panic, and no more variables than there are bytes.
#![no_main]

use guestsmith::format::efi;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = efi::signatures(bytes);
    if let Ok(variables) = efi::variables(bytes) {
        assert!(variables.len() <= bytes.len());
        for variable in &variables {
            let _ = efi::signatures(&variable.data);
        }
    }
});
