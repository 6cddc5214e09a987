//! The Realm Extensible Measurements: what firmware and guest extend at run time.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::hash::{Hash, WIDTH};
use crate::digest::unhex;
use crate::measure::event::Event;
use crate::measure::vmm::realm::Launch;
use crate::measure::{Error, File, Guest, Result};

/// The registers.
pub(super) const REMS: [&str; 4] = ["rem0", "rem1", "rem2", "rem3"];

pub(super) const REM_EVENTS: File =
    File { name: "rem-events", about: "What is extended at run time: lines `rem0 HEX`, in order" };

/// What extends the REMs: firmware by what it boots, then what the caller lists.
pub(super) fn events(guest: &Guest<'_>, launch: &Launch<'_>, hash: Hash) -> Result<Vec<Event>> {
    let booted = launch.booted.iter().map(|(name, bytes)| Event {
        register: "rem0".to_string(),
        kind: "boot".to_string(),
        digest: hash.of(&[bytes]),
        what: name.to_string(),
    });
    let mut events: Vec<_> = booted.collect();
    let listed = String::from_utf8_lossy(guest.file(REM_EVENTS.name).unwrap_or_default());
    for (number, line) in listed.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || Error::Setting {
            name: alloc::format!("{}, line {}", REM_EVENTS.name, number + 1),
            found: line.to_string(),
            expected: "rem0 to rem3 and 1 to 64 bytes in hexadecimal".to_string(),
        };
        let (register, value) = line.trim().split_once(' ').ok_or_else(wrong)?;
        let digest = unhex(value.trim()).map_err(|_| wrong())?;
        let known = REMS.contains(&register);
        if !known || digest.is_empty() || digest.len() > WIDTH {
            return Err(wrong());
        }
        let (register, kind) = (register.to_string(), "run time".to_string());
        events.push(Event { register, kind, digest, what: "as listed".to_string() });
    }
    Ok(events)
}

/// One RSI_MEASUREMENT_EXTEND of a REM that holds `rem`: the old value is part of the hash.
///
/// # Errors
/// A value of more than 64 bytes, which the call does not take.
pub fn extended(hash: Hash, rem: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    if value.len() > WIDTH {
        return Err(Error::Unsupported {
            what: alloc::format!("an extend by {} bytes", value.len()),
            why: "RSI_MEASUREMENT_EXTEND takes at most 64".to_string(),
        });
    }
    Ok(hash.of(&[rem, value]))
}
