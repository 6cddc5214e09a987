//! Each format is recognised by its content, and hostile bytes are refused in words.

use super::{INSPECTORS, inspect, recognise};
use crate::digest::Sha384;

/// A SEV-SNP report of version 3 with debugging allowed.
fn snp_report() -> Vec<u8> {
    let mut bytes = vec![0; crate::format::snp_report::SIZE];
    bytes[0] = 3;
    bytes[0x08..0x10].copy_from_slice(&0xb_0000u64.to_le_bytes()); // SMT, reserved one, debug
    bytes[0x34] = 1;
    bytes[0x90..0xc0].copy_from_slice(&Sha384::of(b"guest").0);
    bytes[0x188] = 0x19;
    bytes
}

#[test]
fn a_report_in_words() {
    let found = inspect(&snp_report()).expect("a report");
    assert_eq!(found.format, "sev-snp-report");
    insta::assert_snapshot!(found.facts.text());
    insta::assert_snapshot!(serde_json::to_string_pretty(&found).expect("JSON"));
}

#[test]
fn nothing_claims_a_checked_signature() {
    let facts = inspect(&snp_report()).expect("a report").facts;
    assert_eq!(facts.get("signature"), Some(&"not checked here".into()));
}

#[test]
fn what_is_unknown_is_told_with_what_is_known() {
    let error = inspect(b"hello").expect_err("unknown").to_string();
    for row in INSPECTORS {
        assert!(error.contains(row.about), "{error}");
    }
}

#[test]
fn a_broken_file_is_told_by_the_format_that_it_claims() {
    let mut quote = vec![4, 0, 2, 0, 0x81, 0, 0, 0, 0, 0, 0, 0];
    quote.extend([0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9]);
    quote.extend([0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07]);
    quote.extend([0; 40]);
    assert_eq!(recognise(&quote).map(|row| row.name), Some("tdx-quote"));
    let error = format!("{:#}", inspect(&quote).expect_err("cut"));
    assert_eq!(
        error,
        "this looks like TDX quote: MRSEAM at byte offset 0x40 needs 48 bytes, only 4 are left"
    );
}

/// One member of a newc archive (Linux `Documentation/driver-api/early-userspace`).
fn member(name: &str, mode: usize, data: &[u8]) -> Vec<u8> {
    let numbers = [1, mode, 0, 0, 1, 7, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
    let mut bytes = b"070701".to_vec();
    numbers.iter().for_each(|n| bytes.extend(format!("{n:08x}").bytes()));
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn an_initrd_of_two_segments() {
    use std::io::Write as _;
    let early = [member("kernel", 0o040755, b""), member("TRAILER!!!", 0, b"")].concat();
    let main = [member("init", 0o120777, b"bin/sh"), member("x", 0o100644, b"abc")].concat();
    let main = [main, member("TRAILER!!!", 0, b"")].concat();
    let mut encoder = flate2::write::GzEncoder::new(early, flate2::Compression::fast());
    encoder.write_all(&main).expect("memory");
    let initrd = encoder.finish().expect("memory");
    let found = inspect(&initrd).expect("an initrd");
    let text = found.facts.text();
    let (_, segments) = text.split_once('\n').expect("lines");
    insta::assert_snapshot!(segments);
    let error = format!("{:#}", inspect(&initrd[..initrd.len() - 9]).expect_err("cut"));
    assert!(error.starts_with("this looks like initial RAM disk (cpio): segment 1 at"), "{error}");
}

/// A kernel image whose payload, packed by `pack`, carries a configuration.
fn kernel(config: &str, pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(config.as_bytes()).expect("memory");
    let packed = encoder.finish().expect("memory");
    let payload = pack(&[b"code IKCFG_ST", &packed[..], b"IKCFG_ED more"].concat());
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x24c..0x250]
        .copy_from_slice(&u32::try_from(payload.len()).expect("short").to_le_bytes());
    [image, payload].concat()
}

/// As the kernel's build packs: the unpacked size, which nobody looks at, behind it.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    [zstd::encode_all(bytes, 3).expect("memory"), vec![0, 0, 1, 0]].concat()
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// One block of the legacy frame.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(bytes);
    let length = u32::try_from(packed.len()).expect("short").to_le_bytes();
    [b"\x02\x21\x4c\x18", &length[..], &packed, &[0, 0, 1, 0]].concat()
}

fn lzo(bytes: &[u8]) -> Vec<u8> {
    [b"\x89LZO\0\r\n\x1a\n", &bytes[..8]].concat()
}

#[test]
fn a_kernel_tells_the_configuration_that_it_carries() {
    let config = "# CONFIG_DEBUG is not set\nCONFIG_SMP=y\nCONFIG_NAME=\"a b\"\n# words\n";
    for pack in [zstd, plain, lz4] {
        let found = inspect(&kernel(config, pack)).expect("a kernel");
        let json = serde_json::to_value(&found.facts).expect("JSON");
        let options = serde_json::json!(
            {"CONFIG_DEBUG": "n", "CONFIG_NAME": "\"a b\"", "CONFIG_SMP": "y"}
        );
        assert_eq!((found.format, &json["configuration"]), ("kernel", &options));
    }
    let other = kernel(&config.replace("SMP=y", "SMP=n"), zstd);
    let (_, changes) = crate::verify::diff::bytes(&kernel(config, zstd), &other).expect("kernels");
    let change = changes.iter().find(|change| change.at == "configuration › CONFIG_SMP");
    let change = change.expect("the option");
    assert_eq!((change.before.as_deref(), change.after.as_deref()), (Some("y"), Some("n")));
    let without = inspect(&kernel("", plain)).expect("a kernel");
    assert_eq!(without.facts.get("configuration"), None);
    let unread = inspect(&kernel(config, lzo)).expect("a kernel").facts.text();
    let why = "the kernel cannot be unpacked: it is packed by lzo, which this tool does not unpack";
    assert!(unread.contains(why), "{unread}");
    // An Image of arm64 is not packed.
    let mut image = kernel(config, plain);
    image[0x1fe] = 0;
    image[56..60].copy_from_slice(b"ARM\x64");
    let found = inspect(&image).expect("a kernel");
    assert!(found.facts.text().contains("CONFIG_SMP"), "{}", found.facts.text());
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(
        row in 0..6usize,
        mut bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..400),
    ) {
        let starts: [&[u8]; 6] =
            [b"HCLA\x02\0\0\0", b"MZ", b".eif", b"{\"version\":1", b"\x81\0\0\0", b"\x04\0\x02\0"];
        bytes.splice(0..0, starts[row].iter().copied());
        let _ = inspect(&bytes).map(|found| found.facts.text());
    }
}
