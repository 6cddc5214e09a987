//! IGVM files: no panic; every directive lies in the file; every loader's launch is bounded. The
//! fixed header is made right first, since no mutation would ever find its checksum.
#![no_main]

use guestsmith::format::igvm::{File, checksum_of};
use guestsmith::measure::{self, Guest, Machine, Vmm};
use libfuzzer_sys::fuzz_target;

const LOADERS: [&str; 5] = ["file-order", "vanadium", "hyperv", "qemu", "cloud-hypervisor-mshv"];

/// `bytes` behind a fixed header that fits them; the first two say how many are headers.
fn sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    let headers = usize::from(u16::from_le_bytes(*size)).min(rest.len());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let fixed = [1_u32.to_le_bytes(), number(24), number(headers), number(24 + rest.len()), [0; 4]];
    let mut file = [b"IGVM", &fixed.concat()[..], rest].concat();
    let (fixed, rest) = file.split_at_checked(24)?;
    let checksum = checksum_of(fixed, rest.get(..headers)?);
    file.get_mut(20..24)?.copy_from_slice(&checksum.to_le_bytes());
    Some(file)
}

fuzz_target!(|bytes: &[u8]| {
    let _ = File::parse(bytes);
    let Some(file) = sealed(bytes) else { return };
    let Ok(parsed) = File::parse(&file) else { return };
    assert!(parsed.directives.len() <= file.len() / 8);
    let guest = Guest { igvm: Some(&file), ..Guest::default() };
    let expect = measure::tee("sev-snp").expect("a row").expect;
    for loader in LOADERS {
        let machine = Machine { vmm: Vmm::parse(loader).expect("a name"), ..Machine::default() };
        if let Ok(found) = expect(&guest, &[machine]) {
            assert_eq!(found[0].registers[0].value.len(), 48);
        }
    }
});
