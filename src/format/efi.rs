//! UEFI variables: the store in flash, `UEFI_VARIABLE_DATA` as it is measured, boot options and
//! signature lists (UEFI 2.10 sections 3.1.3 and 32.4.1; TCG PC Client Platform Firmware Profile
//! 1.06 section 10.2.6; edk2 `MdeModulePkg/Include/Guid/VariableFormat.h`).

mod signature;
mod store;

pub use signature::*;
pub use store::*;

use alloc::vec::Vec;

use super::guid::Guid;

/// Vendor of the variables that UEFI itself defines (section 3.3).
pub const GLOBAL_VARIABLE: Guid = Guid::of("8be4df61-93ca-11d2-aa0d-00e098032b8c");

/// Vendor of `db`, `dbx` and `dbt` (section 32.4.1).
pub const IMAGE_SECURITY_DATABASE: Guid = Guid::of("d719b2cb-3d3a-4596-a3bc-dad00e67656f");

/// UTF-16 code units of `text`, little-endian, without terminator.
pub fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// `UEFI_VARIABLE_DATA`: how a variable is measured as a whole.
pub fn variable_data(vendor: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let name = wide(name);
    let mut bytes = vendor.0.to_vec();
    bytes.extend((name.len() as u64 / 2).to_le_bytes());
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(name);
    bytes.extend(data);
    bytes
}

/// `EFI_LOAD_OPTION` without optional data: attributes, path length, description, path.
pub fn load_option(attributes: u32, description: &str, path: &[u8]) -> Vec<u8> {
    let mut bytes = attributes.to_le_bytes().to_vec();
    bytes.extend(u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(wide(description));
    bytes.extend([0, 0]);
    bytes.extend(path);
    bytes
}

/// One node of a device path (section 10.3.1).
pub fn path_node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + data.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&[kind, subtype], &length[..], data].concat()
}

/// The device path of a file `file` in the firmware volume called `volume` (PI 1.8, volume II
/// section 10.3: media nodes 7 and 6), with its end node.
pub fn firmware_file_path(volume: Guid, file: Guid) -> Vec<u8> {
    [path_node(4, 7, &volume.0), path_node(4, 6, &file.0), path_node(0x7f, 0xff, &[])].concat()
}

#[cfg(test)]
mod tests;
