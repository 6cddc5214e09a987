//! Firmware volumes and the LZMA streams in them: no panic, bounded memory (run with a memory
//! limit).
#![no_main]

use guestsmith::format::fv;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fv::unlzma(bytes);
    // Volumes begin on a page: without this the fuzzer never gets past the first search.
    let _ = fv::unpack(bytes);
});
