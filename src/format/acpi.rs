//! QEMU's `etc/table-loader`: the script by which firmware fetches and links ACPI tables
//! (QEMU, `include/hw/acpi/bios-linker-loader.h`).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Size of an entry of the script.
const ENTRY: usize = 128;

/// Size of a file name, NUL-padded.
const NAME: usize = 56;

/// `BIOS_LINKER_LOADER_COMMAND_ALLOCATE`: fetch a file.
const ALLOCATE: u32 = 1;

/// The greatest known command, `BIOS_LINKER_LOADER_COMMAND_WRITE_POINTER`.
const LAST_COMMAND: u32 = 4;

/// Names of the files that the script fetches, in order.
///
/// # Errors
/// The script is not made of whole entries, or one has an unknown command or a broken name.
pub fn fetched(script: &[u8]) -> Result<Vec<String>> {
    if !script.len().is_multiple_of(ENTRY) || script.is_empty() {
        return Err(Error::Value {
            what: "length of the ACPI table loader",
            offset: 0,
            found: script.len().to_string(),
            expected: format!("a positive multiple of {ENTRY}"),
        });
    }
    let mut names = Vec::new();
    for offset in (0..script.len()).step_by(ENTRY) {
        let mut reader = Reader::at(script, offset);
        let command = reader.u32("ACPI table loader entry")?;
        match command {
            ALLOCATE => names.push(name(reader.take(NAME, "ACPI table loader entry")?, offset)?),
            0..=LAST_COMMAND => {} // 0 fills up the script; links are made after measuring
            0x8000_0000.. => {}    // commands of a platform's own
            _ => {
                let found = format!("{command:#x}");
                let expected = format!("0 to {LAST_COMMAND}");
                let what = "command of the ACPI table loader";
                return Err(Error::Value { what, offset, found, expected });
            }
        }
    }
    Ok(names)
}

/// The text of a NUL-padded name.
fn name(bytes: &[u8], offset: usize) -> Result<String> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = core::str::from_utf8(text).ok().filter(|text| (1..NAME).contains(&text.len()));
    text.map(str::to_string).ok_or_else(|| Error::Value {
        what: "file name in the ACPI table loader",
        offset: offset + 4,
        found: String::from_utf8_lossy(bytes).into_owned(),
        expected: "1 to 55 characters, NUL-terminated".to_string(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A script that fetches `names`.
    pub(crate) fn fetch_script(names: &[&str]) -> Vec<u8> {
        let mut script = Vec::new();
        for name in names {
            let mut entry = ALLOCATE.to_le_bytes().to_vec();
            entry.extend(name.bytes());
            entry.resize(ENTRY, 0);
            script.extend(entry);
        }
        script
    }

    #[test]
    fn names_come_in_the_order_of_the_script() {
        let names = ["etc/acpi/rsdp", "etc/tpm/log", "etc/acpi/tables"];
        assert_eq!(fetched(&fetch_script(&names)).expect("a script"), names);
    }

    #[test]
    fn a_broken_script_is_refused() {
        let script = fetch_script(&["etc/acpi/rsdp"]);
        let cut = fetched(&script[1..]).expect_err("cut").to_string();
        assert!(cut.contains("expected a positive multiple of 128, found 127"), "{cut}");
        let mut unknown = script.clone();
        unknown[0] = 9;
        assert!(fetched(&unknown).expect_err("unknown").to_string().contains("found 0x9"));
        let mut nameless = script;
        nameless[4] = 0;
        assert!(fetched(&nameless).is_err());
        assert!(fetched(&[]).is_err());
    }
}
