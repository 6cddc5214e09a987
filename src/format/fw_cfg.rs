//! Bundles of fw_cfg files: what QEMU hands to the firmware of one or several machines (QEMU,
//! `docs/specs/fw_cfg.rst`), as a newc archive, so that it can be shipped, compressed and looked
//! into with ordinary tools.
//!
//! A path is the fw_cfg file's name (`etc/acpi/tables`), below the machine's shape where the bundle
//! has several (`vcpus=2,memory=4294967296/etc/acpi/tables`).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Magic of a newc member, and the name of the last one.
const MAGIC: &[u8] = b"070701";
const TRAILER: &str = "TRAILER!!!";

/// Numbers in a newc header.
const FIELDS: usize = 13;

/// No file of fw_cfg, but beside them: a bundle of the ROMs of PCI devices that hold a driver for the
/// firmware, by `bus:slot.function`; an empty one was not read.
pub const OPTION_ROMS: &str = "pci/option-roms";

/// Files of one machine, by name.
pub type Files<'a> = BTreeMap<String, &'a [u8]>;

/// The files of `bundle` for the machine of `shape`: those below its name, or, where the bundle has
/// no shapes, all.
///
/// # Errors
/// The bundle is broken, or has other shapes only.
pub fn files<'a>(bundle: &'a [u8], shape: &str) -> Result<Files<'a>> {
    let mut found = Files::new();
    let mut shapes = Vec::new();
    for (path, bytes) in members(bundle)? {
        match path.split_once('/') {
            Some((first, name)) if first.contains('=') => {
                if first == shape {
                    found.insert(name.to_string(), bytes);
                } else if !shapes.iter().any(|known| known == first) {
                    shapes.push(first.to_string());
                }
            }
            _ => drop(found.insert(path, bytes)),
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(Error::Missing {
            what: "machine in the fw_cfg bundle",
            why: format!("`{shape}` is not among {}", shapes.join(" ")),
        }),
    }
}

/// Name of the shape of a machine.
pub fn shape(vcpus: u32, memory: u64) -> String {
    format!("vcpus={vcpus},memory={memory}")
}

/// A bundle of `files`, in their order.
pub fn write<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for (number, (path, bytes)) in files.into_iter().enumerate() {
        member(&mut bundle, number + 1, path, bytes);
    }
    member(&mut bundle, 0, TRAILER, &[]);
    bundle
}

/// Appends a regular file, every field but number, size and name fixed.
fn member(bundle: &mut Vec<u8>, number: usize, path: &str, bytes: &[u8]) {
    let mode = 0o100_644;
    let fields = [number, mode, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, path.len() + 1, 0];
    bundle.extend(MAGIC);
    fields.iter().for_each(|field| bundle.extend(format!("{field:08x}").bytes()));
    bundle.extend(path.bytes());
    bundle.push(0);
    bundle.resize(bundle.len().next_multiple_of(4), 0);
    bundle.extend(bytes);
    bundle.resize(bundle.len().next_multiple_of(4), 0);
}

/// Path and contents of every member.
fn members(bundle: &[u8]) -> Result<Vec<(String, &[u8])>> {
    let mut reader = Reader::new(bundle);
    let mut found = Vec::new();
    loop {
        let offset = reader.offset();
        let magic = reader.take(MAGIC.len(), "fw_cfg bundle")?;
        if magic != MAGIC {
            let found = format!("{:?}", String::from_utf8_lossy(magic));
            let (what, expected) = ("magic of a member", "`070701`: a newc archive".to_string());
            return Err(Error::Value { what, offset, found, expected });
        }
        let mut fields = [0; FIELDS];
        for field in &mut fields {
            *field = hexadecimal(&mut reader)?;
        }
        let [_, _, _, _, _, _, size, _, _, _, _, name, _] = fields;
        let path = reader.take(name, "path in the fw_cfg bundle")?;
        let path = path.strip_suffix(&[0]).unwrap_or(path);
        let path = String::from_utf8_lossy(path).into_owned();
        align(&mut reader)?;
        if path == TRAILER {
            return Ok(found);
        }
        let bytes = reader.take(size, "file in the fw_cfg bundle")?;
        align(&mut reader)?;
        found.push((path, bytes));
    }
}

/// Eight hexadecimal digits.
fn hexadecimal(reader: &mut Reader<'_>) -> Result<usize> {
    let offset = reader.offset();
    let digits = reader.take(8, "number in the fw_cfg bundle")?;
    let number = core::str::from_utf8(digits).ok();
    let number = number.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| Error::Value {
        what: "number in the fw_cfg bundle",
        offset,
        found: format!("{:?}", String::from_utf8_lossy(digits)),
        expected: "eight hexadecimal digits".to_string(),
    })
}

fn align(reader: &mut Reader<'_>) -> Result<()> {
    let padding = reader.offset().next_multiple_of(4) - reader.offset();
    reader.take(padding, "padding in the fw_cfg bundle").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_gives_the_files_of_one_shape() {
        let two = shape(2, 1 << 31);
        let path = format!("{two}/etc/acpi/tables");
        let bundle = write([("vcpus=1,memory=2147483648/bootorder", &b"x"[..]), (&path, b"two")]);
        let found = files(&bundle, &two).expect("the shape");
        assert_eq!(found, Files::from([("etc/acpi/tables".to_string(), &b"two"[..])]));
        let other = files(&bundle, "vcpus=9,memory=1").expect_err("missing").to_string();
        assert!(other.contains("`vcpus=9,memory=1` is not among vcpus=1"), "{other}");
        let plain = write([("bootorder", &b"x"[..])]);
        assert!(files(&plain, &two).expect("no shapes").contains_key("bootorder"));
    }

    #[test]
    fn broken_bundles_are_refused() {
        let bundle = write([("bootorder", &b"x"[..])]);
        for end in 0..bundle.len() {
            assert!(files(&bundle[..end], "").is_err(), "cut at {end}");
        }
        assert!(files(b"PK\x03\x04 zip", "").is_err());
    }
}
