//! The GUIDed table of an OVMF image and the SEV and TDX metadata it points to: no panic; every
//! section lies in the image. The input stands at the end of the image, as the table does.
#![no_main]

use guestsmith::format::{ovmf, tdvf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ovmf::table(bytes);
    let _ = ovmf::SevMetadata::parse(bytes);
    if let Ok(sections) = tdvf::sections(bytes) {
        assert!(sections.iter().all(|section| section.data.len() <= bytes.len()));
    }
});
