//! Enclave streams, metadata and signature structures: no panic.
#![no_main]

use guestsmith::format::{Reader, sgx, sgx_metadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sgx_metadata::Metadata::parse(bytes);
    if let Ok(sigstruct) = sgx::Sigstruct::parse(bytes) {
        let _ = (sigstruct.mrsigner(), sigstruct.check());
    }
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 && sgx::Record::read(&mut reader).is_ok() {}
});
