//! Event logs: whatever is accepted is written back and read again as the same records; each is
//! described.
#![no_main]

use guestsmith::format::eventlog::{self, Log};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(log) = Log::parse(bytes) else { return };
    for record in &log.records {
        let _ = eventlog::describe(record);
    }
    let again = Log::parse(&log.write()).expect("what we write can be read");
    assert_eq!(again.records, log.records);
});
