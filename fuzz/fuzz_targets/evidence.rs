//! Reports, quotes, logs, tokens: recognising, parsing and inspecting end without a panic, in
//! bounded memory.
#![no_main]

use guestsmith::verify;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = verify::evidence::parse(bytes);
    let _ = verify::inspect::inspect(bytes);
});
