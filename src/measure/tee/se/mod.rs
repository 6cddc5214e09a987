//! IBM Secure Execution: what a header says of its image, and images made again from their inputs.
//! `docs/measure/se.md`.

pub mod create;
pub mod digests;
pub mod evidence;
pub mod flags;
mod given;
pub mod host_key;
pub mod open;
pub mod secrets;
pub mod trust;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use create::Made;
use digests::Digests;
use flags::NO_ENCRYPTION;
use given::Known;
pub use given::{HOST_KEY, SECRETS, SEED};

use crate::format::se_header::{self, Header};
use crate::format::se_image::{Image, is_image};
use crate::measure::guest::{CMDLINE, IMAGE, INITRD, KERNEL};
use crate::measure::machine::Kind;
use crate::measure::{Confidence, Error, Guest, Machine, Measurement, Register, Result};
use crate::measure::{Setting, Tee};

/// The row of IBM Secure Execution.
pub const SE: Tee = Tee {
    name: "se",
    about: "IBM Secure Execution: an image, its header, or the files and seed it is made of",
    vmms: &["qemu"],
    takes: &SETTINGS,
    reads: &[
        IMAGE,
        KERNEL,
        INITRD,
        CMDLINE,
        given::STAGE3A,
        given::STAGE3B,
        HOST_KEY,
        given::SEED,
        given::HDR_KEY,
        given::IMAGE_KEY,
        given::CCK,
        given::IV,
        given::TWEAKS,
        given::CUSTOMER_KEY,
        evidence::KEY,
        evidence::USER_DATA,
        evidence::ADDITIONAL_DATA,
    ],
    registers: &["image_phkh", "attestation_phkh", "tag", "version", "pld", "ald", "tld"],
    expect,
};

/// The options of [`flags::FLAGS`] as settings, and what a request for evidence says.
const SETTINGS: [Setting; flags::FLAGS.len() + evidence::SETTINGS.len()] = {
    let none = Setting { name: "", about: "", kind: Kind::Flag };
    let mut settings = [none; flags::FLAGS.len() + evidence::SETTINGS.len()];
    let mut index = 0;
    while index < settings.len() {
        settings[index] = if index < flags::FLAGS.len() {
            let flag = &flags::FLAGS[index];
            Setting { name: flag.name, about: flag.about, kind: Kind::Flag }
        } else {
            evidence::SETTINGS[index - flags::FLAGS.len()]
        };
        index += 1;
    }
    settings
};

fn input(input: &'static str) -> impl Fn(crate::format::Error) -> Error {
    move |error| Error::Input { input, error }
}

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    machines.iter().map(|machine| one(guest, machine)).collect()
}

fn one(guest: &Guest<'_>, machine: &Machine) -> Result<Measurement> {
    let (header, warnings, known) = match guest.image {
        Some(bytes) => {
            let (header, warnings) = given_image(bytes, guest, machine)?;
            (header, warnings, Known::ALL)
        }
        None => {
            let (made, known) = given::make(guest, machine)?;
            (made.header, known.warnings(guest), known)
        }
    };
    let mut registers = registers(&header);
    registers.retain(|register| known.tells(&register.name));
    registers.extend(evidence::measurement(guest, machine, &header)?);
    let confidence = Confidence::ToolsAgree;
    Ok(Measurement { registers, warnings, confidence, ..Measurement::default() })
}

/// The header of an image or the header itself; checked by the header key or the image's own inputs
/// where these are given.
fn given_image(
    bytes: &[u8],
    guest: &Guest<'_>,
    machine: &Machine,
) -> Result<(Header, Vec<String>)> {
    let (header, warnings) = match is_image(bytes) {
        true => of_image(bytes)?,
        false => (Header::parse(bytes).map_err(input("image"))?, Vec::new()),
    };
    if let Some(key) = given::header_key(guest)? {
        open::open(&header, key).map_err(input("hdr-key"))?;
    }
    if guest.kernel.is_some() {
        let made = make(guest, machine)?;
        let again = if is_image(bytes) { made.image } else { made.header.write() };
        same(bytes, &again)?;
    }
    Ok((header, warnings))
}

/// The image as given is the one that its inputs make.
fn same(given: &[u8], again: &[u8]) -> Result<()> {
    let byte = |bytes: &[u8], at: usize| match bytes.get(at) {
        Some(byte) => format!("{byte:#04x}"),
        None => "the end".to_string(),
    };
    let at = given.iter().zip(again).take_while(|(one, other)| one == other).count();
    if given == again {
        return Ok(());
    }
    let (found, expected) =
        (byte(given, at), format!("{}, as its inputs make it", byte(again, at)));
    let error = crate::format::Error::Value { what: "image", offset: at, found, expected };
    Err(Error::Input { input: "image", error })
}

/// The registers that a header stands for. A host that attests is asked for by the same key as
/// runs the image, so that both hashes are one; further hosts follow with their number.
pub fn registers(header: &Header) -> Vec<Register> {
    let fixed = &header.fixed;
    let (first, further) = header.slots.split_at(header.slots.len().min(1));
    let one = first.iter().flat_map(|slot| {
        ["image_phkh", "attestation_phkh"].map(|name| Register::new(name, slot.phkh))
    });
    let others = (2..).zip(further).flat_map(|(number, slot)| {
        ["image_phkh", "attestation_phkh"]
            .map(|name| Register::new(&format!("{name}.{number}"), slot.phkh))
    });
    let rest = [
        Register::new("tag", header.tag),
        Register::new("version", se_header::VERSION.to_be_bytes()),
        Register::new("pld", fixed.pld),
        Register::new("ald", fixed.ald),
        Register::new("tld", fixed.tld),
    ];
    one.chain(rest).chain(others).collect()
}

/// The header of an image whose components hold what it says of them.
fn of_image(bytes: &[u8]) -> Result<(Header, Vec<String>)> {
    let image = Image::parse(bytes).map_err(input("image"))?;
    let components = image.components.iter().map(|(component, pages)| digests::Component {
        address: component.address.get(),
        tweak: component.tweak.get(),
        pages,
    });
    let found = Digests::of(components);
    let fixed = &image.header.fixed;
    let pairs = [
        ("page list digest", fixed.pld, found.pld),
        ("address list digest", fixed.ald, found.ald),
        ("tweak list digest", fixed.tld, found.tld),
    ];
    if let Some((what, said, found)) = pairs.iter().find(|(_, said, found)| *said != found.0) {
        let (offset, found) = (0, found.to_string());
        let expected = format!("{}, as the header says", crate::digest::hex(said));
        let error = crate::format::Error::Value { what, offset, found, expected };
        return Err(Error::Input { input: "image", error });
    }
    let open = "the components are not encrypted: keep no secrets in them";
    let open = (fixed.pcf.get() & NO_ENCRYPTION != 0).then(|| open.to_string());
    Ok((image.header, open.into_iter().collect()))
}

/// The image of the guest's files under its seed.
///
/// # Errors
/// A file is missing or is not what it should be.
pub fn make(guest: &Guest<'_>, machine: &Machine) -> Result<Made> {
    let (made, known) = given::make(guest, machine)?;
    if known != Known::ALL {
        let why = "without a seed every image has other keys, and none can be computed".to_string();
        return Err(Error::Missing { tee: SE.name, what: SEED.name, why });
    }
    Ok(made)
}

#[cfg(test)]
mod tests;
