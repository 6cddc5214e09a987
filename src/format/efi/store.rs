//! The variable store: a firmware volume of its own that holds variables one after another.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::format::guid::Guid;
use crate::format::{Error, Reader, Result};

/// `EFI_SYSTEM_NV_DATA_FV_GUID`: file system of the volume that holds the store.
const NV_DATA_VOLUME: Guid = Guid::of("fff12b8d-7696-4c8b-a985-2747075b4f50");

/// `EFI_AUTHENTICATED_VARIABLE_GUID`: signature of the store.
const AUTHENTICATED_STORE: Guid = Guid::of("aaf32c78-947b-439a-a180-2e144ec37792");

/// `VARIABLE_DATA`: start of a variable.
const START: u16 = 0x55aa;

/// Bits of the state byte, active low: header valid and data added, not yet deleted.
const ADDED: [u8; 2] = [0x3f, 0x3e];

/// Where the header length of a firmware volume stands.
const HEADER_LENGTH: usize = 0x30;

/// A variable of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Vendor.
    pub vendor: Guid,
    /// Name.
    pub name: String,
    /// Attributes (UEFI 2.10 section 8.2).
    pub attributes: u32,
    /// Value.
    pub data: Vec<u8>,
}

/// Live variables of a store, in its order.
///
/// # Errors
/// `bytes` is no volume with a store of authenticated variables, or a variable is broken.
pub fn variables(bytes: &[u8]) -> Result<Vec<Variable>> {
    let store = store_offset(bytes)?;
    let mut reader = Reader::at(bytes, store + 16);
    let size = usize::try_from(reader.u32("variable store")?).unwrap_or(usize::MAX);
    let end = store.saturating_add(size);
    if end > bytes.len() {
        return Err(Error::Value {
            what: "size of the variable store",
            offset: store + 16,
            found: format!("{size:#x}"),
            expected: format!("at most {:#x}", bytes.len() - store),
        });
    }
    let within = bytes.get(..end).unwrap_or_default();
    let mut offset = store + 28;
    let mut found = Vec::new();
    while within.get(offset..offset + 2) == Some(&START.to_le_bytes()[..]) {
        let (variable, next) = variable(within, offset)?;
        found.extend(variable);
        offset = next.next_multiple_of(4);
    }
    Ok(found)
}

/// Value of the variable `name` of `vendor`.
pub fn value<'a>(variables: &'a [Variable], vendor: Guid, name: &str) -> Option<&'a [u8]> {
    let found = variables.iter().find(|v| v.vendor == vendor && v.name == name);
    found.map(|variable| &variable.data[..])
}

/// Offset of the store, behind the header of its volume.
fn store_offset(bytes: &[u8]) -> Result<usize> {
    let mut reader = Reader::at(bytes, 16);
    let volume = Guid(reader.array("volume of the variable store")?);
    let expect = |what, offset, found: Guid, expected: Guid| match found == expected {
        true => Ok(()),
        false => {
            let (found, expected) = (found.to_string(), expected.to_string());
            Err(Error::Value { what, offset, found, expected })
        }
    };
    expect("file system of the variable volume", 16, volume, NV_DATA_VOLUME)?;
    let header = Reader::at(bytes, HEADER_LENGTH).u16("volume of the variable store")?;
    let store = usize::from(header);
    let signature = Guid(Reader::at(bytes, store).array("variable store")?);
    expect("signature of the variable store", store, signature, AUTHENTICATED_STORE)?;
    Ok(store)
}

/// The variable at `offset`, if it is live, and where its data end (`AUTHENTICATED_VARIABLE_HEADER`).
fn variable(bytes: &[u8], offset: usize) -> Result<(Option<Variable>, usize)> {
    let mut reader = Reader::at(bytes, offset);
    let [_, _, state, _] = reader.array("variable header")?;
    let attributes = reader.u32("variable header")?;
    reader.take(8 + 16 + 4, "variable header")?; // count, time stamp, key index
    let name_size = usize::try_from(reader.u32("variable header")?).unwrap_or(usize::MAX);
    let data_size = usize::try_from(reader.u32("variable header")?).unwrap_or(usize::MAX);
    let vendor = Guid(reader.array("variable header")?);
    let name = text(reader.take(name_size, "variable name")?);
    let data = reader.take(data_size, "variable data")?.to_vec();
    let variable = Variable { vendor, name, attributes, data };
    Ok((ADDED.contains(&state).then_some(variable), reader.offset()))
}

/// UTF-16 text without its NUL.
fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<_> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}
