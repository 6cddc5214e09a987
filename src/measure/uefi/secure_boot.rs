//! PCR 7: the Secure Boot variables, and which of their entries allowed an image (TCG PC Client
//! Platform Firmware Profile 1.06 section 3.3.4.8; edk2 `SecurityPkg/Tcg/Tcg2Dxe/Tcg2Dxe.c` and
//! `SecurityPkg/Library/DxeImageVerificationLib`).

use alloc::format;
use alloc::vec::Vec;
use core::cell::OnceCell;

use super::firmware::Firmware;
use crate::digest::Sha256;
use crate::format::efi::{
    self, CERT_SHA256, CERT_X509, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, Signature,
};
use crate::format::eventlog::{EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_DRIVER_CONFIG};
use crate::format::guid::Guid;
use crate::format::pe::Pe;
use crate::measure::event::{Banks, Step};
use crate::measure::{Error, Result};

/// `EFI_SECURE_BOOT_ENABLE_DISABLE` (edk2): the switch in the set-up screen.
const SECURE_BOOT_SWITCH: Guid = Guid::of("f0a30bc7-af08-4556-99c4-001009c93a44");

/// The variables in the order of the specification; an absent one is measured with empty data.
const VARIABLES: [(&str, Guid); 4] = [
    ("PK", GLOBAL_VARIABLE),
    ("KEK", GLOBAL_VARIABLE),
    ("db", IMAGE_SECURITY_DATABASE),
    ("dbx", IMAGE_SECURITY_DATABASE),
];

/// True when the firmware will refuse images that `db` does not allow.
pub(super) fn enforced(firmware: &Firmware<'_>) -> bool {
    let keys = firmware.variable(GLOBAL_VARIABLE, "PK").is_some();
    let on = firmware.variable(SECURE_BOOT_SWITCH, "SecureBootEnable") != Some(&[0]);
    firmware.facts.secure_boot && keys && on
}

/// The variables, without the separator behind them.
pub(super) fn variables(firmware: &Firmware<'_>, banks: &Banks) -> Vec<Step> {
    let step = |name: &str, vendor, data: &[u8]| {
        let what = format!("{name}, {} bytes", data.len());
        let data = efi::variable_data(vendor, name, data);
        banks.step(7, EV_EFI_VARIABLE_DRIVER_CONFIG, what, &data)
    };
    // Firmware that cannot verify images never makes the variable.
    let state = [u8::from(enforced(firmware))];
    let state = if firmware.facts.secure_boot { &state[..] } else { &[] };
    let mut steps = alloc::vec![step("SecureBoot", GLOBAL_VARIABLE, state)];
    for (name, vendor) in VARIABLES {
        steps.push(step(name, vendor, firmware.variable(vendor, name).unwrap_or_default()));
    }
    let timestamps = firmware.variable(IMAGE_SECURITY_DATABASE, "dbt");
    steps.extend(timestamps.map(|data| step("dbt", IMAGE_SECURITY_DATABASE, data)));
    steps
}

/// The entry of `db` that allows `image`, measured before the image is; an unknown event where none
/// does, nothing where Secure Boot is off.
///
/// # Errors
/// `db` or the image is broken.
pub(super) fn authority(
    firmware: &Firmware<'_>,
    banks: &Banks,
    image: &[u8],
    name: &'static str,
) -> Result<Option<Step>> {
    if !enforced(firmware) {
        return Ok(None);
    }
    let db = firmware.variable(IMAGE_SECURITY_DATABASE, "db").unwrap_or_default();
    let allowed = efi::signatures(db).map_err(|error| Error::Input { input: "db", error })?;
    let pe = Pe::parse(image).map_err(|error| Error::Input { input: name, error })?;
    let certificates = pe.certificates();
    let digest = OnceCell::new(); // most of db are certificates
    let digest = || *digest.get_or_init(|| Sha256::of_parts(pe.authenticode()));
    let found = allowed.into_iter().find(|entry| allows(entry, certificates, digest));
    let what = format!("entry of db that allows the {name}");
    let Some(found) = found else {
        let why = "none does, so the firmware would not start it: sign it with a key whose \
                   certificate is in db, or measure with variables without keys";
        return Ok(Some(Step::unknown(7, EV_EFI_VARIABLE_AUTHORITY, what, why)));
    };
    let data = efi::variable_data(IMAGE_SECURITY_DATABASE, "db", found.entry);
    Ok(Some(banks.step(7, EV_EFI_VARIABLE_AUTHORITY, what, &data)))
}

/// True when `entry` is the image's digest, or a certificate that its signature names: the
/// certificate itself is in the signature, or its subject is the issuer of one that is. Whether
/// the signature is valid is the firmware's question, not ours.
fn allows(entry: &Signature<'_>, certificates: &[u8], digest: impl Fn() -> Sha256) -> bool {
    let within = |part: &[u8]| memchr::memmem::find(certificates, part).is_some();
    match entry.kind {
        CERT_SHA256 => entry.data() == digest().0,
        CERT_X509 => within(entry.data()) || subject(entry.data()).is_some_and(within),
        _ => false,
    }
}

/// DER of the subject of a certificate (RFC 5280 section 4.1): behind version, serial number,
/// signature algorithm, issuer and validity.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    let (tag, _, behind) = element(rest)?;
    if tag == 0xa0 {
        rest = behind; // the explicit version
    }
    for _ in 0..4 {
        (_, _, rest) = element(rest)?;
    }
    let (_, _, behind) = element(rest)?;
    rest.get(..rest.len() - behind.len())
}

/// Tag and contents of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first & 0x80 {
        0 => (usize::from(*first), rest),
        _ => {
            let count = usize::from(first & 0x7f);
            let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            let length = bytes.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
            (length, rest.get(count..)?)
        }
    };
    Some((*tag, rest.get(..length)?, rest.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
        let contents = contents.concat();
        let length = u8::try_from(contents.len()).expect("short");
        [&[tag, length][..], &contents].concat()
    }

    #[test]
    fn the_subject_is_found_with_and_without_a_version() {
        let name = der(0x30, &[b"subject"]);
        let four = [der(2, &[b"1"]), der(0x30, &[b"alg"]), der(0x30, &[b"ca"]), der(0x30, &[b"t"])];
        let four: Vec<&[u8]> = four.iter().map(Vec::as_slice).collect();
        let version = der(0xa0, &[&der(2, &[b"2"])]);
        for version in [&[][..], &version] {
            let body = der(0x30, &[&[version], &four[..], &[&name, b"key"]].concat());
            let certificate = der(0x30, &[&body]);
            assert_eq!(subject(&certificate), Some(&name[..]));
            for end in 0..certificate.len() {
                assert_eq!(subject(&certificate[..end]), None);
            }
        }
    }
}
