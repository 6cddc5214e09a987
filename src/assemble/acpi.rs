//! fw_cfg files of a VMM, ACPI tables before all: from a directory, a bundle, or QEMU itself.

pub mod qemu;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::format::fw_cfg;
use crate::store::entries;

/// Names under which a directory may hold a fw_cfg file: as it is, or with `_` for `/`.
const KNOWN: &[&str] = &[
    "bootorder",
    "etc/acpi/rsdp",
    "etc/acpi/tables",
    "etc/boot-menu-wait",
    "etc/e820",
    "etc/extra-pci-roots",
    "etc/reserved-memory-end",
    "etc/smbios/smbios-tables",
    "etc/table-loader",
    "etc/tpm/log",
    fw_cfg::OPTION_ROMS,
    "opt/ovmf/X-PciMmio64Mb",
];

/// The bundle at `path`: a file, or made of the files in a directory and in the directories of
/// shapes in it.
///
/// # Errors
/// Something cannot be read, or the directory holds no fw_cfg file.
pub fn bundle(path: &Path) -> Result<Vec<u8>> {
    if !path.is_dir() {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let mut files = collect(path, "")?;
    for entry in entries::sorted(path)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains('=') && entry.is_dir() {
            files.extend(collect(&entry, &format!("{name}/"))?);
        }
    }
    if files.is_empty() {
        bail!("{} holds no fw_cfg file; known are {}", path.display(), KNOWN.join(", "));
    }
    Ok(fw_cfg::write(files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..]))))
}

/// The known files in `dir`, each with `prefix` before its name.
fn collect(dir: &Path, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in KNOWN {
        let places = [dir.join(name), dir.join(name.replace('/', "_"))];
        let Some(place) = places.iter().find(|place| place.is_file()) else { continue };
        let bytes = fs::read(place).with_context(|| format!("cannot read {}", place.display()))?;
        found.push((format!("{prefix}{name}"), bytes));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_may_hold_one_machine_or_several() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        assert!(bundle(dir.path()).expect_err("empty").to_string().contains("no fw_cfg file"));
        write("etc_acpi_tables", "one");
        write("notes", "not of fw_cfg");
        let files = bundle(dir.path()).expect("a bundle");
        let files = fw_cfg::files(&files, "").expect("no shapes");
        assert_eq!(
            files.into_iter().collect::<Vec<_>>(),
            [("etc/acpi/tables".into(), &b"one"[..])]
        );
        write("vcpus=2,memory=1/etc/acpi/tables", "two");
        let files = bundle(dir.path()).expect("a bundle");
        let files = fw_cfg::files(&files, "vcpus=2,memory=1").expect("the shape");
        assert_eq!(files["etc/acpi/tables"], b"two");
    }
}
