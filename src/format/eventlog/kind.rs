//! Event types and what their data say, for people.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::Record;

/// Makes the constants and the table of names from one row per type.
macro_rules! kinds {
    ($($name:ident = $value:literal,)+) => {
        $(
            #[doc = concat!("Event type `", stringify!($name), "`.")]
            pub const $name: u32 = $value;
        )+

        /// TCG name of an event type; its number where it has none.
        pub fn kind_name(kind: u32) -> String {
            match kind {
                $($name => stringify!($name).to_string(),)+
                other => format!("{other:#010x}"),
            }
        }
    };
}

// TCG PC Client Platform Firmware Profile 1.06, section 10.4.1.
kinds! {
    EV_POST_CODE = 0x1,
    EV_NO_ACTION = 0x3,
    EV_SEPARATOR = 0x4,
    EV_ACTION = 0x5,
    EV_EVENT_TAG = 0x6,
    EV_S_CRTM_CONTENTS = 0x7,
    EV_S_CRTM_VERSION = 0x8,
    EV_CPU_MICROCODE = 0x9,
    EV_PLATFORM_CONFIG_FLAGS = 0xa,
    EV_TABLE_OF_DEVICES = 0xb,
    EV_COMPACT_HASH = 0xc,
    EV_IPL = 0xd,
    EV_IPL_PARTITION_DATA = 0xe,
    EV_NONHOST_CODE = 0xf,
    EV_NONHOST_CONFIG = 0x10,
    EV_NONHOST_INFO = 0x11,
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x12,
    EV_POST_CODE2 = 0x13,
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001,
    EV_EFI_VARIABLE_BOOT = 0x8000_0002,
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003,
    EV_EFI_BOOT_SERVICES_DRIVER = 0x8000_0004,
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005,
    EV_EFI_GPT_EVENT = 0x8000_0006,
    EV_EFI_ACTION = 0x8000_0007,
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008,
    EV_EFI_HANDOFF_TABLES = 0x8000_0009,
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a,
    EV_EFI_HANDOFF_TABLES2 = 0x8000_000b,
    EV_EFI_VARIABLE_BOOT2 = 0x8000_000c,
    EV_EFI_GPT_EVENT2 = 0x8000_000d,
    EV_EFI_HCRTM_EVENT = 0x8000_0010,
    EV_EFI_VARIABLE_AUTHORITY = 0x8000_00e0,
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1,
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2,
}

/// What a record's data say, in words.
pub fn describe(record: &Record) -> String {
    let data = &record.data[..];
    match record.kind {
        EV_EFI_VARIABLE_DRIVER_CONFIG
        | EV_EFI_VARIABLE_BOOT
        | EV_EFI_VARIABLE_BOOT2
        | EV_EFI_VARIABLE_AUTHORITY => variable(data).unwrap_or_else(|| text(data)),
        EV_EVENT_TAG => data.get(8..).map_or_else(String::new, text),
        EV_EFI_HANDOFF_TABLES2 | EV_EFI_PLATFORM_FIRMWARE_BLOB2 => {
            let name = data.split_first().and_then(|(size, rest)| rest.get(..usize::from(*size)));
            name.map_or_else(String::new, text)
        }
        EV_EFI_BOOT_SERVICES_APPLICATION => {
            data.get(32..).and_then(path).unwrap_or_else(String::new)
        }
        EV_EFI_PLATFORM_FIRMWARE_BLOB => blob(data).unwrap_or_default(),
        EV_EFI_GPT_EVENT | EV_EFI_GPT_EVENT2 => "partition table".to_string(),
        EV_SEPARATOR => "separator".to_string(),
        _ => text(data),
    }
}

/// Name of the variable of a `UEFI_VARIABLE_DATA`.
fn variable(data: &[u8]) -> Option<String> {
    let length: [u8; 8] = data.get(16..24)?.try_into().ok()?;
    let bytes = usize::try_from(u64::from_le_bytes(length)).ok()?.checked_mul(2)?;
    Some(wide(data.get(32..32usize.checked_add(bytes)?)?))
}

/// Names in the file nodes of a device path (UEFI 2.10 section 10.3.5.4), joined.
fn path(data: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    let mut rest = data;
    while let [kind, subtype, low, high, ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let node = rest.get(..length).filter(|node| node.len() >= 4)?;
        if (*kind, *subtype) == (4, 4) {
            names.push(wide(&node[4..]));
        }
        rest = rest.get(length..)?;
    }
    Some(names.join(""))
}

/// Address and length of a `UEFI_PLATFORM_FIRMWARE_BLOB`.
fn blob(data: &[u8]) -> Option<String> {
    let number = |at: usize| data.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    Some(format!("{:#x} bytes at {:#x}", number(8)?, number(0)?))
}

/// UTF-16 text up to its NUL.
fn wide(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<_> = units.take_while(|unit| *unit != 0).collect();
    printable(&String::from_utf16_lossy(&units))
}

/// Text of either width, as far as it looks like text.
fn text(bytes: &[u8]) -> String {
    match bytes {
        [first, 0, ..] if first.is_ascii_graphic() => wide(bytes),
        _ => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            match text.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\n') {
                true => printable(&String::from_utf8_lossy(text)),
                false => format!("{} bytes", bytes.len()),
            }
        }
    }
}

/// Control characters would let a log write over the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
