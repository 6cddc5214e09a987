//! Secure Execution headers and images: whatever header is accepted is written back as the same
//! bytes.
#![no_main]

use guestsmith::format::{se_header, se_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = se_image::Image::parse(bytes);
    if let Ok(header) = se_header::Header::parse(bytes) {
        let written = header.write();
        assert!(bytes.starts_with(&written));
    }
});
