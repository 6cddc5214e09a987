//! What an image is made of, as files by name.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use p521::SecretKey;

use super::create::{self, Made, Parts};
use super::flags::{self, NO_ENCRYPTION};
use super::host_key::HostKey;
use super::secrets::{SEED_SIZE, Secrets};
use super::{SE, input};
use crate::measure::guest::KERNEL;
use crate::measure::{Error, File, Guest, Machine, Result};

pub(super) const STAGE3A: File =
    File { name: "stage3a", about: "Loader stage3a.bin of s390-tools" };
pub(super) const STAGE3B: File =
    File { name: "stage3b", about: "Loader stage3b_reloc.bin of s390-tools" };
/// What [`super::trust`] judges: the caller decides whether it must.
pub const HOST_KEY: File = File {
    name: "host-key",
    about: "Host-key document (X.509, PEM or DER); repeat it for each host",
};
/// From what every secret is derived.
pub const SEED: File =
    File { name: "key-seed", about: "Secret seed of at least 32 bytes: all keys come from it" };
pub(super) const HDR_KEY: File = File {
    name: "hdr-key",
    about: "Header key, 32 bytes, instead of the seed's; with --image it opens the header",
};
pub(super) const IMAGE_KEY: File =
    File { name: "image-key", about: "Key of the components, 64 bytes, instead of the seed's" };
pub(super) const CCK: File =
    File { name: "cck", about: "Customer communication key, 32 bytes, instead of the seed's" };
pub(super) const IV: File =
    File { name: "header-iv", about: "IV of the header, 12 bytes, instead of the seed's" };
pub(super) const TWEAKS: File = File {
    name: "tweaks",
    about: "Six bytes each for kernel, RAM disk, command line and stage3b, instead of the seed's",
};
pub(super) const CUSTOMER_KEY: File = File {
    name: "customer-key",
    about: "Customer's private key, the number alone (66 or 80 bytes), instead of the seed's",
};

/// Files that hold secrets.
pub const SECRETS: &[&str] = &[
    SEED.name,
    HDR_KEY.name,
    IMAGE_KEY.name,
    CCK.name,
    CUSTOMER_KEY.name,
    super::evidence::KEY.name,
];

/// Which registers stand fast: without a seed, only what no secret enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    hosts: bool,
    pld: bool,
    tld: bool,
    tag: bool,
}

impl Known {
    /// All of them.
    pub(super) const ALL: Self = Self { hosts: true, pld: true, tld: true, tag: true };

    fn of(guest: &Guest<'_>, parts: &Parts<'_>) -> Self {
        let has = |file: File| guest.file(file.name).is_some();
        if has(SEED) {
            return Self::ALL;
        }
        let (tld, open) = (has(TWEAKS), parts.pcf & NO_ENCRYPTION != 0);
        let pld = open || (tld && has(IMAGE_KEY));
        let hosts = has(HOST_KEY);
        let sealed = [HDR_KEY, CCK, IV, CUSTOMER_KEY, IMAGE_KEY].into_iter().all(has);
        Self { hosts, pld, tld, tag: hosts && tld && sealed }
    }

    /// True if the register `name` stands fast.
    pub(super) fn tells(self, name: &str) -> bool {
        match name {
            "pld" => self.pld,
            "tld" => self.tld,
            "tag" => self.tag,
            "image_phkh" | "attestation_phkh" => self.hosts,
            _ => true,
        }
    }

    pub(super) fn warnings(self, guest: &Guest<'_>) -> Vec<String> {
        let by_hand = [HDR_KEY, IMAGE_KEY, IV, TWEAKS, CUSTOMER_KEY];
        let given = by_hand.iter().any(|file| guest.file(file.name).is_some());
        let all = [
            (self != Self::ALL, "without the seed only what no secret enters can be computed"),
            (!self.hosts, "no host key is given: the addresses hold for up to 44 of them"),
            (given, "keys given by hand are used as they are: never use them for other contents"),
        ];
        all.iter().filter(|(said, _)| *said).map(|(_, text)| text.to_string()).collect()
    }
}

/// The image of the guest's files, and what of it stands fast.
pub(super) fn make(guest: &Guest<'_>, machine: &Machine) -> Result<(Made, Known)> {
    let parts = parts(guest, machine)?.checked().map_err(input("kernel"))?;
    let known = Known::of(guest, &parts);
    let secrets = secrets(guest, &parts)?;
    Ok((create::create(parts, &secrets).map_err(input("kernel"))?, known))
}

/// The header key, if it was given.
pub(super) fn header_key<'a>(guest: &Guest<'a>) -> Result<Option<&'a [u8; 32]>> {
    exact(guest, HDR_KEY)
}

fn needed<'a>(guest: &Guest<'a>, file: &'static File) -> Result<&'a [u8]> {
    let why = "give an image or header (--image), or all that an image is made of".to_string();
    guest.file(file.name).ok_or(Error::Missing { tee: SE.name, what: file.name, why })
}

pub(super) fn parts<'a>(guest: &Guest<'a>, machine: &Machine) -> Result<Parts<'a>> {
    let hosts = guest.others.iter().filter(|(name, _)| *name == HOST_KEY.name);
    let hosts = hosts.map(|(_, document)| HostKey::parse(document).map_err(input("host-key")));
    let hosts = hosts.collect::<Result<Vec<_>>>()?;
    let hosts = match hosts.is_empty() {
        true if guest.file(SEED.name).is_none() => placeholder().into_iter().collect(),
        true => needed(guest, &HOST_KEY).map(|_| Vec::new())?,
        false => hosts,
    };
    let (pcf, scf) = flags::flags(|name| machine.flag(name));
    Ok(Parts {
        stage3a: needed(guest, &STAGE3A)?,
        stage3b: needed(guest, &STAGE3B)?,
        kernel: needed(guest, &KERNEL)?,
        ramdisk: guest.initrd,
        cmdline: guest.cmdline.map(str::as_bytes),
        hosts,
        pcf,
        scf,
    })
}

/// A host for whom nothing is made: it stands for up to 44, which leave the layout alone.
fn placeholder() -> Option<HostKey> {
    let mut one = [0; 66];
    one.last_mut().into_iter().for_each(|last| *last = 1);
    SecretKey::from_slice(&one).ok().map(|key| HostKey::of(key.public_key()))
}

/// The seed's secrets, each replaced by what was given by hand. Without a seed they are those of
/// zeros, which no image is made with: [`Known`] tells what does not depend on them.
pub(super) fn secrets(guest: &Guest<'_>, parts: &Parts<'_>) -> Result<Secrets> {
    let seed = guest.file(SEED.name).unwrap_or(&[0; SEED_SIZE]);
    let mut secrets = Secrets::derive(seed, &parts.digest()).map_err(input("seed"))?;
    secrets.header_key = exact(guest, HDR_KEY)?.copied().unwrap_or(secrets.header_key);
    secrets.image_key = exact(guest, IMAGE_KEY)?.copied().unwrap_or(secrets.image_key);
    secrets.cck = exact(guest, CCK)?.copied().unwrap_or(secrets.cck);
    secrets.iv = exact(guest, IV)?.copied().unwrap_or(secrets.iv);
    if let Some(tweaks) = exact::<24>(guest, TWEAKS)? {
        let given = secrets.tweaks.iter_mut().zip(tweaks.as_chunks().0);
        given.for_each(|(own, given)| *own = *given);
    }
    if let Some(number) = guest.file(CUSTOMER_KEY.name) {
        secrets.customer = scalar(number)?;
    }
    Ok(secrets)
}

fn exact<'a, const N: usize>(guest: &Guest<'a>, file: File) -> Result<Option<&'a [u8; N]>> {
    let Some(bytes) = guest.file(file.name) else { return Ok(None) };
    let wrong = |_| Error::Setting {
        name: file.name.to_string(),
        found: format!("{} bytes", bytes.len()),
        expected: format!("{N} bytes"),
    };
    bytes.try_into().map(Some).map_err(wrong)
}

/// A private key of P-521 as a number of 66 bytes, or 80 with zeros before it.
fn scalar(number: &[u8]) -> Result<SecretKey> {
    let (filling, own) = number.split_at(number.len().saturating_sub(66));
    let fits = filling.iter().all(|byte| *byte == 0);
    let key = SecretKey::from_slice(own).ok().filter(|_| fits);
    key.ok_or_else(|| Error::Setting {
        name: CUSTOMER_KEY.name.to_string(),
        found: format!("{} bytes", number.len()),
        expected: "a number below the order of P-521, 66 or 80 bytes".to_string(),
    })
}
