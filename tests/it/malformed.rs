//! Firmware that is broken somewhere, through the command: a precise error, exit code 2, no digest.

use std::fs;

use guestsmith::format::ovmf;

use crate::command::run;
use crate::inputs;

/// What `measure` says of `image`, which has no digest.
fn refused(tee: &str, image: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), image).expect("written");
    let path = file.path().display().to_string();
    let machine = ["--vcpus", "2", "--cpu", "EPYC-Milan"];
    let (code, out, error) =
        run(&[&["measure", "--tee", tee, "--firmware", &path][..], &machine].concat());
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    error
}

/// One field: its name, where it stands, what breaks it, and where the error must point.
type Field = (String, usize, Vec<u8>, String);

fn field(name: &str, at: usize, with: &[u8], said: usize) -> Field {
    (name.to_string(), at, with.to_vec(), format!("byte offset {said:#x}"))
}

/// Every field of the GUIDed table.
fn of_the_table(image: &[u8]) -> Vec<Field> {
    let footer = image.len() - 50;
    let mut fields = vec![
        field("the footer's GUID", footer + 2, &[0], footer + 2),
        field("the footer's length: 0", footer, &[0, 0], footer),
        field("the footer's length: below itself", footer, &[17, 0], footer),
        // The table then begins within the code below, which is no entry.
        (
            "the footer's length: all".into(),
            footer,
            vec![0xff; 2],
            "an entry of the table at".into(),
        ),
    ];
    for entry in ovmf::table(image).expect("a table") {
        let length = entry.offset + entry.data.len();
        let name = format!("{}: the length", entry.guid);
        for with in [[0, 0], [17, 0], [0xff, 0xff]] {
            fields.push(field(&name, length, &with, length));
        }
        if entry.guid == ovmf::RESET_BLOCK {
            let said = format!("ends at {:#x} has no entry {}", image.len() - 32, entry.guid);
            fields.push((format!("{}: the GUID", entry.guid), length + 2, vec![0xff], said));
        }
        if entry.guid == ovmf::SEV_METADATA {
            let (far, at) = ([0xff; 4], entry.offset);
            fields.push(field("the metadata's offset: in front of the file", at, &far, at));
            fields.push(field("the metadata's offset: behind", at, &[0; 4], image.len()));
        }
    }
    fields
}

/// Every field of the SEV metadata.
fn of_the_metadata(image: &[u8]) -> Vec<Field> {
    let entries = ovmf::table(image).expect("a table");
    let entry = ovmf::find(&entries, ovmf::SEV_METADATA).expect("metadata");
    let start = ovmf::pointed_to(image, &entry, "offset").expect("within the file");
    let mut fields = vec![
        field("the signature", start, b"V", start),
        field("the length", start + 4, &[17, 0], start + 4),
        field("the version", start + 8, &[2], start + 8),
        field("the number: one more", start + 12, &[image[start + 12] + 1], start + 4),
        field("the number: 1000", start + 12, &1000_u32.to_le_bytes(), start + 12),
    ];
    for number in 0..usize::from(image[start + 12]) {
        let at = start + 16 + 12 * number;
        let word = u32::to_le_bytes;
        fields.push(field("an address within a page", at, &[1], at));
        fields.push(field("a size of nothing", at + 4, &word(0), at + 4));
        fields.push(field("a size of half a page", at + 4, &word(0x800), at + 4));
        fields.push(field("a size beyond 4 GiB", at + 4, &word(!0xfff), at + 4));
        for kind in [0, 5, 0x11, 0x101, u32::MAX] {
            fields.push(field("a type that is none", at + 8, &word(kind), at + 8));
        }
    }
    fields
}

#[test]
fn every_field_of_a_firmware_broken_one_at_a_time() {
    let sound = inputs::read("sid-OVMF.amdsev.fd");
    let fields = [of_the_table(&sound), of_the_metadata(&sound)].concat();
    assert!(fields.len() > 60, "{} fields", fields.len());
    for (name, at, with, expected) in fields {
        let mut image = sound.clone();
        assert_ne!(image[at..at + with.len()], with, "{name} at {at:#x} is broken by this");
        image[at..at + with.len()].copy_from_slice(&with);
        let error = refused("sev-snp", &image);
        assert!(error.contains(&expected), "{name} at {at:#x}, expected {expected}: {error}");
    }
}

/// The crate `sev` 8.0.0 panics at five of these and prints a digest for one, `sev-snp-measure`
/// 0.0.13 prints a digest for two.
#[test]
fn firmware_that_other_tools_stumble_over() {
    let sound = inputs::read("sid-OVMF.amdsev.fd");
    let footer = sound.len() - 50;
    let entries = ovmf::table(&sound).expect("a table");
    let metadata = ovmf::find(&entries, ovmf::SEV_METADATA).expect("metadata");
    let start = ovmf::pointed_to(&sound, &metadata, "offset").expect("within the file");
    let with = |at: usize, bytes: &[u8]| {
        let mut image = sound.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        image
    };
    let many = u32::to_le_bytes(1000);
    for (what, image, expected) in [
        ("empty", vec![], "size of the file at byte offset 0x0".to_string()),
        ("40 bytes", vec![0; 40], "size of the file at byte offset 0x0".into()),
        ("no table", vec![0xff; 65536], "GUID of the table's footer at byte offset 0xffd0".into()),
        ("a corrupt footer", with(footer + 2, &[0]), format!("byte offset {:#x}", footer + 2)),
        ("a long table", with(footer, &[0xff; 2]), "an entry of the table at byte offset".into()),
        (
            "metadata elsewhere",
            with(metadata.offset, &[0xff; 4]),
            format!("byte offset {:#x}", metadata.offset),
        ),
        ("1000 sections", with(start + 12, &many), format!("byte offset {:#x}", start + 12)),
        ("type 0x101", with(start + 24, &[1, 1]), format!("byte offset {:#x}", start + 24)),
    ] {
        let error = refused("sev-snp", &image);
        assert!(error.contains(&expected) && error.contains("expected"), "{what}: {error}");
    }
}

/// `sev-snp-measure` 0.0.13 reads no such firmware; that its registers are right is shown by the
/// same address in a table.
#[test]
fn a_firmware_from_before_the_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let dump = |name: &str, has_table: bool| {
        let mut image = vec![0xff; 65536];
        let mut table = [&0x0080_b004_u32.to_le_bytes()[..], &22_u16.to_le_bytes()].concat();
        table.extend(ovmf::RESET_BLOCK.0);
        if has_table {
            table.extend([&40_u16.to_le_bytes()[..], &ovmf::FOOTER.0].concat());
        }
        let start = image.len() - 32 - table.len();
        image[start..start + table.len()].copy_from_slice(&table);
        let path = directory.path().join(name);
        fs::write(&path, image).expect("written");
        let (path, vmsas) = (path.display().to_string(), directory.path().join("vmsas"));
        let into = vmsas.display().to_string();
        let arguments =
            ["measure", "--tee", "sev-es", "--firmware", &path, "--dump-vmsa", &into, "--json"];
        let (code, out, error) =
            run(&[&arguments[..], &["--vcpus", "2", "--cpu", "EPYC"]].concat());
        assert_eq!(code, 0, "{error}");
        assert!(!out.contains("no GUIDed table"), "{out}");
        ["vmsa0.bin", "vmsa1.bin"].map(|page| fs::read(vmsas.join(page)).expect("a page"))
    };
    let alone = dump("alone", false);
    assert_eq!(alone[1][0x178..0x17c], 0xb004_u32.to_le_bytes(), "RIP: the reset block");
    assert_eq!(alone, dump("table", true));
}

#[test]
fn nothing_is_written_before_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (kernel, metadata, vmsas) = (path("kernel"), path("metadata.json"), path("vmsas"));
    fs::write(&kernel, b"kernel").expect("written");
    let image = inputs::path("sid-OVMF.fd").display().to_string();
    let guest = ["--firmware", &image, "--kernel", &kernel, "--vcpus", "1", "--cpu", "EPYC"];
    let dumps = ["--dump-metadata", &metadata, "--dump-vmsa", &vmsas];
    let all = [&["measure", "--tee", "sev-snp"][..], &guest, &dumps].concat();
    let (code, out, error) = run(&[&all[..], &["--strict"]].concat());
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    let written = |name: &str| fs::exists(path(name)).expect("a directory");
    assert!(!written("metadata.json") && !written("vmsas"));
    let (code, _, error) = run(&all);
    assert!(code == 0 && written("metadata.json") && written("vmsas"), "{error}");
}
