//! The GUIDed table of an OVMF image and the SEV and TDX metadata it points to: no panic; every
//! section lies in the image; a digest or an error for every TEE of the AMD family. The input stands
//! at the end of the image, as the table does.
#![no_main]

use guestsmith::format::{ovmf, tdvf};
use guestsmith::measure::{self, Cpu, Guest, Machine};
use libfuzzer_sys::fuzz_target;

/// `bytes` as the last ones of whole pages, with the footer's GUID where it must stand: no mutation
/// would ever find it.
fn image(bytes: &[u8]) -> Vec<u8> {
    let mut image = vec![0xff; bytes.len().next_multiple_of(4096).max(4096) - bytes.len()];
    image.extend(bytes);
    let at = image.len() - 32 - 16;
    image[at..at + 16].copy_from_slice(&ovmf::FOOTER.0);
    image
}

fuzz_target!(|bytes: &[u8]| {
    let _ = ovmf::table(bytes);
    let image = image(bytes);
    for bytes in [bytes, &image] {
        let _ = ovmf::SevMetadata::parse(bytes);
        if let Ok(sections) = tdvf::sections(bytes) {
            assert!(sections.iter().all(|section| section.data.len() <= bytes.len()));
        }
    }
    let files = vec![("svsm", &image[..])];
    let plain = Guest { firmware: Some(&image), kernel: Some(b"kernel"), ..Guest::default() };
    let svsm = Guest { others: files, ..plain.clone() };
    let mut machine =
        Machine { vcpus: Some(2), cpu: Cpu::parse("EPYC-Milan").ok(), ..Machine::default() };
    machine.vmm.name = "qemu".to_string();
    for (tee, guest) in
        [("sev", &plain), ("sev-es", &plain), ("sev-snp", &plain), ("sev-snp", &svsm)]
    {
        let _ = (measure::tee(tee).expect("a row").expect)(guest, &[machine.clone()]);
    }
});
