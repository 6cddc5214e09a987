//! Archives: whatever `cpio::parse` accepts is written back and read again as the same members;
//! tar, ar and deb end without a panic.
#![no_main]

use guestsmith::format::{Error, ar, cpio, deb, tar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = (tar::parse(bytes), ar::parse(bytes), deb::parse(bytes));
    let Ok((entries, length)) = cpio::parse(bytes) else { return };
    assert!(length <= bytes.len());
    let mut written = Vec::new();
    let sink = |piece: &[u8]| {
        written.extend_from_slice(piece);
        Ok::<_, Error>(())
    };
    // The writer is stricter about names than the reader.
    if cpio::write(entries.iter().cloned(), cpio::Variant::Newc, sink).is_ok() {
        let (again, _) = cpio::parse(&written).expect("what we write can be read");
        assert_eq!(again, entries);
    }
});
