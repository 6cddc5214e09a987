//! Launch digests of the AMD family: known answers on Debian's firmware, and what is refused.

use std::collections::BTreeMap;

use guestsmith::digest::{Sha256, hex};
use guestsmith::format::ovmf;
use guestsmith::measure::{self, Guest, Measurement};
use serde_json::Value;

use crate::inputs;

/// Bytes that anybody can make again: see `about` of the vectors.
fn synthetic(seed: &str, size: usize) -> Vec<u8> {
    let block = |counter: u32| Sha256::of_parts([seed.as_bytes(), &counter.to_le_bytes()[..]]).0;
    (0..).flat_map(block).take(size).collect()
}

fn given(settings: &[(&str, String)]) -> BTreeMap<String, Vec<String>> {
    settings.iter().map(|(name, value)| (name.to_string(), vec![value.clone()])).collect()
}

fn expect(
    tee: &str,
    guest: &Guest<'_>,
    settings: &[(&str, String)],
) -> measure::Result<Measurement> {
    let tee = measure::tee(tee)?;
    let machines = measure::machines(tee, &given(settings))?;
    Ok((tee.expect)(guest, &machines)?.remove(0))
}

fn settings(case: &Value) -> Vec<(&'static str, String)> {
    let text = |key: &str| case[key].as_str().map(str::to_string);
    let number = |key: &str| case[key].as_u64().map(|number| number.to_string());
    let vcpus = number("vcpus").unwrap_or_else(|| "1".to_string());
    let cpu = text("cpu").or_else(|| case["part"].is_string().then(|| "EPYC".to_string()));
    let mut settings = vec![("vcpus", vcpus)];
    settings.extend(cpu.map(|cpu| ("cpu", cpu)));
    settings.extend(text("vmm").map(|vmm| ("vmm", vmm)));
    settings.extend(number("guest_features").map(|bits| ("guest-features", bits)));
    settings
}

#[test]
fn known_answers_on_debian_firmware() {
    let vectors: Value =
        serde_json::from_str(include_str!("../vectors/sev.json")).expect("vectors");
    let (kernel, initrd) = (synthetic("kernel", 1_000_003), synthetic("initrd", 3_000_001));
    let cases = vectors["cases"].as_array().expect("cases");
    for case in cases {
        let firmware = inputs::read(case["firmware"].as_str().expect("firmware"));
        let with_kernel = case["kernel"] == true;
        let guest = Guest {
            firmware: Some(&firmware),
            kernel: Some(&kernel[..]).filter(|_| with_kernel),
            initrd: Some(&initrd[..]).filter(|_| with_kernel),
            cmdline: case["cmdline"].as_str(),
            ..Guest::default()
        };
        let found = expect(case["tee"].as_str().expect("tee"), &guest, &settings(case));
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", case["id"]));
        let part = case["part"].as_str();
        let part = part.and_then(|name| found.parts.iter().find(|part| part.name == name));
        let value = hex(&part.unwrap_or(&found.registers[0]).value);
        assert_eq!(value, case["expected"].as_str().expect("a digest"), "{}", case["id"]);
    }
    assert_eq!(cases.len(), 34);
}

#[test]
fn a_kernel_that_nobody_compares_is_a_warning() {
    let warnings = |name: &str| {
        let firmware = inputs::read(name);
        // Begins as an EFI image does.
        let guest =
            Guest { firmware: Some(&firmware), kernel: Some(b"MZ kernel"), ..Guest::default() };
        let settings = [("vcpus", "1".to_string()), ("cpu", "EPYC".to_string())];
        expect("sev-snp", &guest, &settings).expect("a digest").warnings
    };
    assert_eq!(warnings("sid-OVMF.amdsev.fd"), [""; 0]);
    let generic = warnings("sid-OVMF.fd");
    assert!(generic.len() == 1 && generic[0].contains("any kernel boots"), "{generic:?}");
    let old = warnings("trixie-OVMF.fd");
    assert!(old.len() == 1 && old[0].contains("not covered by the digest"), "{old:?}");
    let split = warnings("bookworm-OVMF_CODE_4M.fd");
    assert!(split.iter().any(|w| w.contains("no SEV metadata")), "{split:?}");
    assert!(split.iter().any(|w| w.contains("-bios")), "{split:?}");
}

/// A firmware of 4096 bytes with a table of these entries, the last one nearest to the end.
fn firmware(entries: &[(ovmf::Entry<'_>, Option<u16>)], footer: Option<u16>) -> Vec<u8> {
    let mut table = Vec::new();
    for (entry, length) in entries {
        table.extend_from_slice(entry.data);
        let length = length.unwrap_or(u16::try_from(entry.data.len() + 18).expect("short"));
        table.extend_from_slice(&length.to_le_bytes());
        table.extend_from_slice(&entry.guid.0);
    }
    let length = footer.unwrap_or(u16::try_from(table.len() + 18).expect("short"));
    table.extend_from_slice(&length.to_le_bytes());
    table.extend_from_slice(&ovmf::FOOTER.0);
    let mut image = vec![0xff; 4096];
    let start = 4096 - 32 - table.len();
    image[start..4096 - 32].copy_from_slice(&table);
    image
}

/// As [`firmware`], of `size` bytes and with `start` at its beginning.
fn image(size: usize, start: &[u8], entries: &[(ovmf::Entry<'_>, Option<u16>)]) -> Vec<u8> {
    let mut image = vec![0xff; size - 4096];
    image.extend(firmware(entries, None));
    image[..start.len()].copy_from_slice(start);
    image
}

/// SEV metadata at the start of an image, 4096 bytes from its end.
fn metadata(count: u32, length: u32, version: u32, sections: &[[u32; 3]]) -> Vec<u8> {
    let mut bytes = b"ASEV".to_vec();
    let numbers = [length, version, count].into_iter().chain(sections.iter().flatten().copied());
    bytes.extend(numbers.flat_map(u32::to_le_bytes));
    bytes
}

fn entry(guid: guestsmith::format::guid::Guid, data: &[u8]) -> ovmf::Entry<'_> {
    ovmf::Entry { guid, offset: 0, data }
}

fn refused(image: &[u8]) -> String {
    let guest = Guest { firmware: Some(image), ..Guest::default() };
    let settings = [("vcpus", "2".to_string()), ("cpu", "EPYC".to_string())];
    expect("sev-snp", &guest, &settings).expect_err("no digest").to_string()
}

const RESET: [u8; 4] = 0x0080_b004_u32.to_le_bytes();

#[test]
fn malformed_firmware_has_no_digest() {
    let good = |offset: u32, meta: &[u8]| {
        let offset = offset.to_le_bytes();
        let entries =
            [(entry(ovmf::SEV_METADATA, &offset), None), (entry(ovmf::RESET_BLOCK, &RESET), None)];
        let mut image = firmware(&entries, None);
        image[..meta.len()].copy_from_slice(meta);
        image
    };
    let one = [[0x80_0000, 0x9000, 1]];
    let sound = good(4096, &metadata(1, 28, 1, &one));
    let guest = Guest { firmware: Some(&sound), ..Guest::default() };
    let settings = [("vcpus", "2".to_string()), ("cpu", "EPYC".to_string())];
    expect("sev-snp", &guest, &settings).expect("the base of all the broken ones is sound");

    let huge: Vec<_> = (0..300).map(|n| [n * 4096, 4096, 1]).collect();
    let vast = [[0, !0xfff, 1], [0, 8192, 1]];
    let mut bad_footer = sound.clone();
    bad_footer[4096 - 40] ^= 1;
    let table = |length| firmware(&[(entry(ovmf::RESET_BLOCK, &RESET), None)], Some(length));
    let one_entry = |length| firmware(&[(entry(ovmf::RESET_BLOCK, &RESET), Some(length))], None);
    for (what, image, expected) in [
        ("empty", vec![], "size of the file at byte offset 0x0"),
        ("40 bytes", vec![0; 40], "size of the file at byte offset 0x0"),
        ("no footer", vec![0; 4096], "GUID of the table's footer at byte offset 0xfd0"),
        ("a broken footer", bad_footer, "GUID of the table's footer at byte offset 0xfd0"),
        ("the footer's length", table(0xffff), "length of the table at byte offset 0xfce"),
        ("the footer's length 0", table(0), "length of the table at byte offset 0xfce"),
        ("a cut table", table(30), "an entry of the table at byte offset 0xfc2"),
        ("an entry's length", one_entry(200), "length of an entry of the table at byte offset"),
        ("an entry's length 0", one_entry(0), "length of an entry of the table at byte offset"),
        ("reset block", firmware(&[(entry(ovmf::RESET_BLOCK, b"ab"), None)], None), "SEV-ES reset"),
        ("metadata in front", good(4097, &[]), "the SEV metadata's offset at byte offset"),
        ("metadata behind", good(2, &[]), "signature of the SEV metadata at byte offset 0xffe"),
        ("signature", good(4096, b"VESA"), "signature of the SEV metadata at byte offset 0x0"),
        ("version", good(4096, &metadata(1, 28, 2, &one)), "version of the SEV metadata at byte"),
        ("length", good(4096, &metadata(1, 29, 1, &one)), "length of the SEV metadata at byte"),
        ("count", good(4096, &metadata(300, 3616, 1, &huge)), "number of sections at byte offset"),
        ("sizes", good(4096, &metadata(2, 40, 1, &vast)), "sections together at byte offset 0xc"),
        ("type", good(4096, &metadata(1, 28, 1, &[[0, 4096, 0x101]])), "type of a section at byte"),
        ("address", good(4096, &metadata(1, 28, 1, &[[1, 4096, 1]])), "address of a section at"),
        ("size", good(4096, &metadata(1, 28, 1, &[[0, 4095, 1]])), "size of a section at byte"),
        ("end", good(4096, &metadata(1, 28, 1, &[[!0xfff, 8192, 1]])), "size of a section at byte"),
    ] {
        let message = refused(&image);
        assert!(message.contains(expected), "{what}: {message}");
    }
}

#[test]
fn versions_decide_the_launch() {
    let firmware = inputs::read("sid-OVMF.amdsev.fd");
    let guest = Guest { firmware: Some(&firmware), ..Guest::default() };
    let base = [("vcpus", "2".to_string()), ("cpu", "EPYC".to_string())];
    let digest = |tee: &str, more: &[(&'static str, &str)]| {
        let more = more.iter().map(|(name, value)| (*name, value.to_string()));
        let settings: Vec<_> = base.iter().cloned().chain(more).collect();
        expect(tee, &guest, &settings).map(|found| hex(&found.registers[0].value))
    };
    let old = digest("sev-es", &[("vmm", "qemu-legacy-vm")]).expect("a digest");
    assert_ne!(digest("sev-es", &[]), Ok(old.clone()));
    assert_eq!(digest("sev-es", &[("vmm", "qemu@8.2")]), Ok(old.clone()));
    assert_eq!(digest("sev-es", &[("host-kernel", "6.8")]), Ok(old.clone()));
    let swap = digest("sev-es", &[("vmm", "qemu-legacy-vm"), ("guest-features", "0x20")]);
    assert_eq!(digest("sev-es", &[("host-kernel", "6.7.3")]), swap);
    assert_eq!(digest("sev-es", &[("host-kernel", "6.7.10")]), Ok(old));
    let error = digest("sev-snp", &[("vmm", "qemu@8.2")]).expect_err("too early");
    assert!(error.to_string().contains("since 9.1: the object sev-snp-guest"), "{error}");
}

/// An `svsm.bin` of two pages.
fn svsm() -> Vec<u8> {
    let sections = [[0x80_6000, 0x1000, 2], [0x80_7000, 0x1000, 3], [0x80_8000, 0x3000, 1]];
    let (distance, start) = (8192_u32.to_le_bytes(), 0x1000_u32.to_le_bytes());
    let entries =
        [(entry(ovmf::SEV_METADATA, &distance), None), (entry(ovmf::SVSM_INFO, &start), None)];
    image(8192, &metadata(3, 52, 1, &sections), &entries)
}

/// Launches these files below a firmware of one page.
fn below(
    files: &[(&'static str, &[u8])],
    settings: &[(&'static str, &str)],
) -> measure::Result<Measurement> {
    let firmware = firmware(&[(entry(ovmf::RESET_BLOCK, &RESET), None)], None);
    let base = [("vcpus", "1"), ("cpu", "EPYC-Milan")];
    let mut given: BTreeMap<_, _> = base.into_iter().collect();
    given.extend(settings.iter().copied());
    let settings: Vec<_> = given.iter().map(|(name, value)| (*name, value.to_string())).collect();
    let mut guest = Guest { firmware: Some(&firmware), ..Guest::default() };
    for (name, bytes) in files {
        match guest.place(name) {
            Some(place) => *place = Some(bytes),
            None => guest.others.push((name, bytes)),
        }
    }
    expect("sev-snp", &guest, &settings)
}

const SIZE: (&str, &str) = ("vars-size", "8192");

/// Made with `sev-snp-measure` 0.0.13 on the same two files: as it is, and with its misspelt
/// keyword argument (`fcw` for `x87_fcw`) mended.
#[test]
fn a_raw_svsm() {
    let (svsm, bugs, three) = (svsm(), ("bug-compatible", "true"), ("vcpus", "3"));
    let files: [(_, &[u8]); 1] = [("svsm", &svsm)];
    for (settings, expected) in [
        (
            &[SIZE][..],
            "7c77fa86d26d3afa41a26ba38fc258cd11c422f3720123797afe14ccde9cc481805a47c16b1199b1207a7ce359ce74f7",
        ),
        (
            &[SIZE, three],
            "031e0b0fe5fa14281f03f82f6a9514c58da7ad9d7590d26a359739752391cbe570a7a1f006af4faae3349cd31dcf7f70",
        ),
        (
            &[SIZE, bugs],
            "6ef6935dfb5854d5b1cdef5498543a85453a957451c7bcf378c30ac321949e37346404f40034b8589ea62cc4030335e7",
        ),
        (
            &[SIZE, bugs, three, ("guest-features", "0x21")],
            "94d34cdbdc08c13907d444d497aa035b024eac0818d3253691cbdf667a4d5c3386bbae5e5df6ea8d4084cd19ad183db3",
        ),
    ] {
        let found = below(&files, settings).expect("a digest");
        assert_eq!(hex(&found.registers[0].value), expected, "{settings:?}");
        let warned = settings.contains(&bugs);
        assert_eq!(found.warnings.len(), usize::from(warned), "{:?}", found.warnings);
    }
    let with_vars = [("svsm", &svsm[..]), ("vars", &[0; 8192])];
    assert_eq!(below(&with_vars, &[]), below(&files, &[SIZE]));
}

#[test]
fn an_svsm_that_cannot_be_launched() {
    let svsm = svsm();
    let no_svsm = firmware(&[(entry(ovmf::RESET_BLOCK, &RESET), None)], None);
    let (files, odd) = ([("svsm", &svsm[..])], [("svsm", &svsm[1..])]);
    for (settings, files, expected) in [
        (&[][..], &files[..], "the size of the variable store"),
        (&[("vars-size", "4294967296")], &files, "fit below 4 GiB"),
        (&[("vars-size", "1")], &files, "whole pages"),
        (&[SIZE, ("vmm", "ec2")], &files, "a raw SVSM under `ec2`"),
        (&[SIZE], &[("svsm", &no_svsm)], "no entry point of an SVSM found"),
        (&[SIZE], &odd, "size of the SVSM at byte offset 0x0"),
        (&[SIZE], &[], "give --svsm svsm.bin"),
    ] {
        let error = below(files, settings).expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
