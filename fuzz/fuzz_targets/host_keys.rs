//! Certificates, revocation lists and manifests: no panic, and nothing is trusted by its looks.
#![no_main]

use guestsmith::measure::tee::se::host_key::HostKey;
use guestsmith::measure::tee::se::trust::{Material, Trust};
use guestsmith::measure::tee::sgx::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = HostKey::parse(bytes);
    let _ = Manifest::parse(bytes);
    let files = [bytes.to_vec()];
    let material = Material { certificates: &files, lists: &files, roots: &files, at: 1 << 31 };
    let _ = Trust::new(&material);
});
