//! Real inputs from Debian, as locked in `tests/inputs/`. `ci/test` puts them into place.

use std::path::PathBuf;

/// Where `ci/test` puts the inputs.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-inputs").join(name)
}

/// Contents of an input, as `sid-OVMF.amdsev.fd`.
pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| {
        panic!("{}: {error}; run ci/test, which fetches the inputs", path(name).display())
    })
}
