//! IBM Secure Execution: what a header says of its image, and images made again from their inputs.
//! `docs/measure/se.md`.

pub mod create;
pub mod digests;
pub mod flags;
pub mod host_key;
pub mod secrets;
pub mod trust;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use create::{Made, Parts};
use digests::Digests;
use flags::NO_ENCRYPTION;
use host_key::HostKey;
use secrets::Secrets;

use crate::format::se_header::{self, Header};
use crate::format::se_image::{Image, is_image};
use crate::measure::guest::{CMDLINE, IMAGE, INITRD, KERNEL};
use crate::measure::machine::Kind;
use crate::measure::{Confidence, Error, File, Guest, Machine, Measurement, Register, Result};
use crate::measure::{Setting, Tee};

/// The row of IBM Secure Execution.
pub const SE: Tee = Tee {
    name: "se",
    about: "IBM Secure Execution: an image, its header, or the files and seed it is made of",
    vmms: &["qemu"],
    takes: &SETTINGS,
    reads: &[IMAGE, KERNEL, INITRD, CMDLINE, STAGE3A, STAGE3B, HOST_KEY, SEED, CCK],
    registers: &["image_phkh", "attestation_phkh", "tag", "version", "pld", "ald", "tld"],
    expect,
};

/// The options of [`flags::FLAGS`] as settings.
const SETTINGS: [Setting; flags::FLAGS.len()] = {
    let none = Setting { name: "", about: "", kind: Kind::Flag };
    let (mut settings, mut index) = ([none; flags::FLAGS.len()], 0);
    while index < settings.len() {
        let flag = &flags::FLAGS[index];
        settings[index] = Setting { name: flag.name, about: flag.about, kind: Kind::Flag };
        index += 1;
    }
    settings
};

const STAGE3A: File = File { name: "stage3a", about: "Loader stage3a.bin of s390-tools" };
const STAGE3B: File = File { name: "stage3b", about: "Loader stage3b_reloc.bin of s390-tools" };
/// What [`trust`] judges: the caller decides whether it must.
pub const HOST_KEY: File = File {
    name: "host-key",
    about: "Host-key document (X.509, PEM or DER); repeat it for each host",
};
/// Files that hold secrets.
pub const SECRETS: &[&str] = &[SEED.name, CCK.name];

const SEED: File =
    File { name: "key-seed", about: "Secret seed of at least 32 bytes: all keys come from it" };
const CCK: File =
    File { name: "cck", about: "Customer communication key, 32 bytes, instead of the seed's" };

fn input(input: &'static str) -> impl Fn(crate::format::Error) -> Error {
    move |error| Error::Input { input, error }
}

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    machines.iter().map(|machine| one(guest, machine)).collect()
}

fn one(guest: &Guest<'_>, machine: &Machine) -> Result<Measurement> {
    let (header, warnings) = match guest.image {
        Some(bytes) if is_image(bytes) => of_image(bytes)?,
        Some(bytes) => (Header::parse(bytes).map_err(input("image"))?, Vec::new()),
        None => (make(guest, machine)?.header, Vec::new()),
    };
    let confidence = Confidence::ToolsAgree;
    Ok(Measurement {
        registers: registers(&header),
        warnings,
        confidence,
        ..Measurement::default()
    })
}

/// The registers that a header stands for. A host that attests is asked for by the same key as
/// runs the image, so that both hashes are one; further hosts follow with their number.
fn registers(header: &Header) -> Vec<Register> {
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
    let parts = parts(guest, machine)?;
    let secrets = secrets(guest, &parts)?;
    create::create(parts, &secrets).map_err(input("kernel"))
}

fn needed<'a>(guest: &Guest<'a>, file: &'static File, why: &str) -> Result<&'a [u8]> {
    let missing = || Error::Missing { tee: SE.name, what: file.name, why: why.to_string() };
    guest.file(file.name).ok_or_else(missing)
}

fn parts<'a>(guest: &Guest<'a>, machine: &Machine) -> Result<Parts<'a>> {
    let why = "give an image or header (--image), or all that an image is made of";
    let hosts = guest.others.iter().filter(|(name, _)| *name == HOST_KEY.name);
    let hosts = hosts.map(|(_, document)| HostKey::parse(document).map_err(input("host-key")));
    let hosts = hosts.collect::<Result<Vec<_>>>()?;
    if hosts.is_empty() {
        needed(guest, &HOST_KEY, why)?;
    }
    let (pcf, scf) = flags::flags(|name| machine.flag(name));
    Ok(Parts {
        stage3a: needed(guest, &STAGE3A, why)?,
        stage3b: needed(guest, &STAGE3B, why)?,
        kernel: needed(guest, &KERNEL, why)?,
        ramdisk: guest.initrd,
        cmdline: guest.cmdline.map(str::as_bytes),
        hosts,
        pcf,
        scf,
    })
}

fn secrets(guest: &Guest<'_>, parts: &Parts<'_>) -> Result<Secrets> {
    let why = "without a seed every image has other keys, and none can be computed";
    let seed = needed(guest, &SEED, why)?;
    let parts = parts.clone().checked().map_err(input("kernel"))?;
    let mut secrets = Secrets::derive(seed, &parts.digest()).map_err(input("seed"))?;
    if let Some(cck) = guest.file(CCK.name) {
        let length = || Error::Setting {
            name: CCK.name.to_string(),
            found: format!("{} bytes", cck.len()),
            expected: "32 bytes".to_string(),
        };
        secrets.cck = cck.try_into().map_err(|_| length())?;
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests;
