//! The measurement in a guest's attestation evidence, recomputed from the header and the request.
//!
//! s390-tools, `rust/pv/src/uvattest/attest.rs`: HMAC-SHA-512 under the request's measurement key.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use crate::digest::{Sha512, unhex};
use crate::format::se_header::Header;
use crate::measure::machine::Kind;
use crate::measure::{Error, File, Guest, Machine, Register, Result, Setting};

/// The key of the request.
pub(super) const KEY: File =
    File { name: "attestation-key", about: "Measurement key of an attestation request, 64 bytes" };
pub(super) const USER_DATA: File =
    File { name: "user-data", about: "User data in the evidence, up to 256 bytes" };
pub(super) const ADDITIONAL_DATA: File =
    File { name: "additional-data", about: "Additional data in the evidence" };
const CUID: &str = "cuid";
const NONCE: &str = "nonce";
/// What else enters the measurement.
pub(super) const SETTINGS: [Setting; 2] = [
    Setting {
        name: CUID,
        about: "Configuration UID in the evidence, 16 bytes in hexadecimal",
        kind: Kind::Text,
    },
    Setting {
        name: NONCE,
        about: "Nonce of the attestation request, 16 bytes in hexadecimal",
        kind: Kind::Text,
    },
];

/// The register `measurement`, where a measurement key is given.
pub(super) fn measurement(
    guest: &Guest<'_>,
    machine: &Machine,
    header: &Header,
) -> Result<Option<Register>> {
    let Some(key) = guest.file(KEY.name) else { return Ok(None) };
    if key.len() != 64 {
        let (found, expected) = (format!("{} bytes", key.len()), "64 bytes".to_string());
        return Err(Error::Setting { name: KEY.name.to_string(), found, expected });
    }
    let cuid = sixteen(machine, CUID)?.unwrap_or_default();
    let nonce = sixteen(machine, NONCE)?;
    let user = guest.file(USER_DATA.name).unwrap_or_default();
    let additional = guest.file(ADDITIONAL_DATA.name).unwrap_or_default();
    let user_length = u16::try_from(user.len()).ok().filter(|length| *length <= 256);
    let user_length = user_length.ok_or_else(|| Error::Setting {
        name: USER_DATA.name.to_string(),
        found: format!("{} bytes", user.len()),
        expected: "at most 256 bytes".to_string(),
    })?;
    let additional_length = u32::try_from(additional.len()).unwrap_or(u32::MAX);
    let fixed = &header.fixed;
    let parts: [&[u8]; 11] = [
        &fixed.pld,
        &fixed.ald,
        &fixed.tld,
        &header.tag,
        &cuid,
        &user_length.to_be_bytes(),
        &[0; 2],
        &additional_length.to_be_bytes(),
        user,
        nonce.as_ref().map_or(&[], |nonce| nonce.as_slice()),
        additional,
    ];
    Ok(Some(Register::new("measurement", hmac(key, &parts.concat()))))
}

fn sixteen(machine: &Machine, name: &str) -> Result<Option<[u8; 16]>> {
    let Some(text) = machine.text(name) else { return Ok(None) };
    let bytes = unhex(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| Error::Setting {
        name: name.to_string(),
        found: text.to_string(),
        expected: "16 bytes in hexadecimal".to_string(),
    })
}

/// HMAC-SHA-512 (RFC 2104) with a key of at most a block, 128 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Sha512 {
    let padded = |with: u8| -> Vec<u8> {
        let zeros = core::iter::repeat_n(&0, 128_usize.saturating_sub(key.len()));
        key.iter().chain(zeros).map(|byte| byte ^ with).collect()
    };
    let inner = Sha512::of_parts([padded(0x36).as_slice(), message]);
    Sha512::of_parts([padded(0x5c).as_slice(), &inner.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::se_header::{ENCRYPTED, Fixed, Slot};

    // Known answers of s390-tools (commit c6649588), rust/pv/src/uvattest/attest.rs.
    #[test]
    fn the_measurement_is_what_s390_tools_expects() {
        let mut fixed = Fixed::new(1);
        (fixed.pld, fixed.ald, fixed.tld) = ([1; 64], [2; 64], [3; 64]);
        let slot = Slot { phkh: [0; 32], wrapped: [0; 32], tag: [0; 16] };
        let header =
            Header { fixed, slots: [slot].into(), encrypted: [0; ENCRYPTED], tag: [4; 16] };
        let text = |name: &str, byte: &str| {
            (name.to_string(), crate::measure::Value::Text(byte.repeat(16)))
        };
        let mut machine = Machine::default();
        machine.settings.extend([text(CUID, "05")]);
        let of = |others: Vec<(&str, &[u8])>, machine: &Machine| {
            let guest = Guest { others, ..Guest::default() };
            let found = measurement(&guest, machine, &header).expect("measured");
            crate::digest::hex(&found.expect("a register").value)
        };
        let key = ("attestation-key", &[0x41; 64][..]);
        assert_eq!(
            of([key].into(), &machine),
            "c5c34c93835d1ec23f5c2d778dfa20129b11b305601742cb2f38e0ed9894dcdb73fc8695ab6a8dbad0744073ddc81a5eaafa52e4a15af8deb8d761091922847f"
        );
        machine.settings.extend([text(NONCE, "08")]);
        let all = [key, ("user-data", &[7; 256]), ("additional-data", &[9; 128])];
        assert_eq!(
            of(all.into(), &machine),
            "88794c62cce7bcf26216deb3f48f13fea6374b6d7e35bcc5c2ce68121db6f45dfc8c171856463549408bf8e7d1aca11efad0a878af97dc9e21a1fc2a32f3a675"
        );
    }
}
