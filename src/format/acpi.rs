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

/// Number of enabled processors in the table «APIC» of QEMU's `etc/acpi/tables` (ACPI 6.5 section
/// 5.2.12), and where it stands; none where there is no such table.
pub fn processors(tables: &[u8]) -> Option<(usize, u32)> {
    const HEADER: usize = 44;
    memchr::memmem::find_iter(tables, b"APIC").find_map(|at| {
        let length = usize::try_from(Reader::at(tables, at + 4).u32("ACPI table").ok()?).ok()?;
        let table = tables.get(at..at.checked_add(length)?)?;
        let of_qemu = table.get(10..16) == Some(b"BOCHS ");
        let mut entries = table.get(HEADER..).filter(|_| of_qemu)?;
        let mut count = 0;
        while let [kind, length, ..] = entries {
            let (entry, rest) = entries.split_at_checked(usize::from(*length).max(2))?;
            // Local APIC: flags at 4; local x2APIC: flags at 8.
            let flags = match kind {
                0 => entry.get(4),
                9 => entry.get(8),
                _ => None,
            };
            count += u32::from(flags.is_some_and(|flags| flags & 1 == 1));
            entries = rest;
        }
        Some((at, count))
    })
}

/// Bytes of memory that a guest may use, by QEMU's `etc/e820`: entries of start, length and type.
pub fn memory(e820: &[u8]) -> Option<u64> {
    const USABLE: u32 = 1;
    let mut total = 0u64;
    for entry in e820.chunks(20) {
        let mut reader = Reader::at(entry, 8);
        let length = reader.u64("e820 entry").ok()?;
        if reader.u32("e820 entry").ok()? == USABLE {
            total = total.checked_add(length)?;
        }
    }
    Some(total)
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

    #[test]
    fn the_shape_of_the_machine_is_read_from_its_tables() {
        let entry = |kind: u8, length: usize, flags_at: usize, flags: u8| {
            let mut entry = alloc::vec![0; length];
            (entry[0], entry[1], entry[flags_at]) =
                (kind, u8::try_from(length).expect("short"), flags);
            entry
        };
        let entries =
            [entry(0, 8, 4, 1), entry(1, 12, 4, 1), entry(9, 16, 8, 1), entry(0, 8, 4, 0)];
        let entries = entries.concat();
        let mut table = b"APIC".to_vec();
        table.extend(u32::try_from(44 + entries.len()).expect("short").to_le_bytes());
        table.extend(b"\x03\0BOCHS ");
        table.resize(44, 0);
        table.extend(entries);
        let tables = [&b"DSDT APIC"[..], &table].concat();
        assert_eq!(processors(&tables), Some((9, 2)));
        assert_eq!(processors(&tables[..tables.len() - 1]), None);
        let e820 =
            |kind: u32| [&[0; 8][..], &(1u64 << 30).to_le_bytes(), &kind.to_le_bytes()].concat();
        assert_eq!(memory(&[e820(1), e820(2), e820(1)].concat()), Some(2 << 30));
        assert_eq!(memory(&e820(1)[..19]), None);
    }
}
