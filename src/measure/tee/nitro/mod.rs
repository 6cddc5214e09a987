//! AWS Nitro Enclaves: PCR0, PCR1, PCR2 and PCR8 of an enclave image. `docs/measure/nitro.md`.

mod signature;

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use crate::digest::Sha384;
use crate::format::eif::{Image, Kind};
use crate::format::{self, pem};
use crate::measure::event::Event;
use crate::measure::guest::{CMDLINE, IMAGE, INITRD, KERNEL};
use crate::measure::{Confidence, Error, File, Guest, Machine, Measurement, Register, Result, Tee};
use signature::Signature;

/// The row of AWS Nitro Enclaves.
pub const NITRO: Tee = Tee {
    name: "nitro",
    about: "AWS Nitro Enclaves: an enclave image, or the files that one is made of",
    vmms: &[],
    takes: &[],
    reads: &[IMAGE, KERNEL, INITRD, RAMDISK, CMDLINE, CERTIFICATE],
    registers: &["pcr0", "pcr1", "pcr2", "pcr8"],
    expect,
};

/// RAM disks behind the first.
const RAMDISK: File =
    File { name: "ramdisk", about: "A RAM disk behind the initrd; repeat it for each, in order" };
/// What PCR 8 measures.
pub const CERTIFICATE: File = File {
    name: "signing-certificate",
    about: "Certificate (PEM or DER) of the key that signs the enclave image",
};

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let image = guest.image.map(Image::parse).transpose();
    let image = image.map_err(|error| Error::Input { input: "image", error })?;
    let parts = match &image {
        Some(image) => Parts::of(image).map_err(|error| Error::Input { input: "image", error })?,
        None => Parts::from_files(guest)?,
    };
    let events = parts.events();
    let signed = image.as_ref().map_or(Ok(None), |image| signature(image, &parts));
    signed.map_err(|error| Error::Input { input: "image", error })?;
    let value = |event: &Event| Sha384::ZERO.extend(&event.digest);
    let registers = events.iter().map(|e| Register::new(&e.register, value(e))).collect();
    let confidence = Confidence::ToolsAgree;
    let one = Measurement { registers, events, confidence, ..Measurement::default() };
    Ok(machines.iter().map(|_| one.clone()).collect())
}

/// The certificate whose key has signed PCR 0 of `image`, where one has; its hash is PCR 8.
///
/// # Errors
/// There is a signature, and it is broken or wrong.
pub fn signature(image: &Image<'_>, parts: &Parts<'_>) -> format::Result<Option<Vec<u8>>> {
    let Some(section) = image.of_kind(Kind::Signature).next() else { return Ok(None) };
    let signature = Signature::parse(section)?;
    let events = parts.events();
    let digest = events.first().map(|event| Sha384::ZERO.extend(&event.digest));
    signature.check(&digest.unwrap_or(Sha384::ZERO))?;
    Ok(Some(signature.certificate))
}

/// What the enclave is made of, in the order in which it is measured.
#[derive(Debug, Clone, Default)]
pub struct Parts<'a> {
    /// Kernel image.
    pub kernel: &'a [u8],
    /// Kernel command line, without terminator.
    pub cmdline: &'a [u8],
    /// RAM disks: the first is the bootstrap, the others are the application.
    pub ramdisks: Vec<&'a [u8]>,
    /// Certificate of the key that signed the image, DER.
    pub certificate: Option<Vec<u8>>,
}

impl<'a> Parts<'a> {
    /// The parts of an image, in file order of each kind.
    ///
    /// # Errors
    /// A signature section that is not the CBOR that the format asks for.
    pub fn of(image: &'a Image<'a>) -> format::Result<Self> {
        let first = |kind| image.of_kind(kind).next().unwrap_or_default();
        let signed = image.of_kind(Kind::Signature).next().map(Signature::parse).transpose()?;
        let certificate = signed.map(|signature| signature.certificate);
        Ok(Self {
            kernel: first(Kind::Kernel),
            cmdline: first(Kind::Cmdline),
            ramdisks: image.of_kind(Kind::Ramdisk).collect(),
            certificate,
        })
    }

    /// The parts as files.
    ///
    /// # Errors
    /// A part is missing, or the certificate is none.
    pub fn from_files(guest: &Guest<'a>) -> Result<Self> {
        let missing = |what| Error::Missing {
            tee: NITRO.name,
            what,
            why: "give an enclave image (--image), or --kernel, --initrd and --cmdline".to_string(),
        };
        let further = guest.others.iter().filter(|(name, _)| *name == RAMDISK.name);
        let initrd = guest.initrd.ok_or_else(|| missing("initrd"))?;
        let certificate = guest.file(CERTIFICATE.name).map(|file| match pem::is_pem(file) {
            true => pem::first(file, "CERTIFICATE"),
            false => Ok(file.to_vec()),
        });
        let bad = |error| Error::Input { input: "signing-certificate", error };
        Ok(Self {
            kernel: guest.kernel.ok_or_else(|| missing("kernel"))?,
            cmdline: guest.cmdline.ok_or_else(|| missing("cmdline"))?.as_bytes(),
            ramdisks: core::iter::once(initrd).chain(further.map(|(_, file)| *file)).collect(),
            certificate: certificate.transpose().map_err(bad)?,
        })
    }

    /// The one extend that each PCR gets: `PCR = SHA384(0^48 || SHA384(data))`.
    pub fn events(&self) -> Vec<Event> {
        let boot = [self.kernel, self.cmdline];
        let (bootstrap, application) = self.ramdisks.split_at(self.ramdisks.len().min(1));
        let all = boot.iter().chain(&self.ramdisks).copied();
        let booted = boot.iter().chain(bootstrap).copied();
        let mut events = vec![
            event(0, Sha384::of_parts(all), "kernel, command line and every RAM disk"),
            event(1, Sha384::of_parts(booted), "kernel, command line and the first RAM disk"),
            event(2, Sha384::of_parts(application.iter().copied()), "the RAM disks but the first"),
        ];
        let signed = self.certificate.as_deref().map(Sha384::of);
        events.extend(signed.map(|digest| event(8, digest, "the signing certificate")));
        events
    }
}

fn event(pcr: u8, digest: Sha384, what: &str) -> Event {
    let (register, kind) = (format!("pcr{pcr}"), "EIF".to_string());
    Event { register, kind, digest: digest.0.to_vec(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::digest::{hex, unhex};
    use crate::format::eif::{Section, VERSION};

    fn section(kind: Kind, data: &'static [u8]) -> Section<'static> {
        Section { kind, data: data.into() }
    }

    fn image(sections: Vec<Section<'static>>) -> Image<'static> {
        let (default_memory, default_cpus) = (1 << 30, 2);
        Image { version: VERSION, arm64: true, default_memory, default_cpus, sections }
    }

    fn three_disks() -> Image<'static> {
        image(vec![
            section(Kind::Kernel, b"kernel"),
            section(Kind::Cmdline, b"console=ttyS0"),
            section(Kind::Metadata, b"{}"),
            section(Kind::Ramdisk, b"first ramdisk"),
            section(Kind::Ramdisk, b"second ramdisk"),
            section(Kind::Ramdisk, b"third"),
        ])
    }

    fn registers(image: &Image<'_>) -> Vec<(String, String)> {
        let events = Parts::of(image).expect("parts").events();
        let extend = |e: &Event| Sha384::ZERO.extend(&e.digest).to_string();
        events.iter().map(|e| (e.register.clone(), extend(e))).collect()
    }

    // Values computed with Python's hashlib from the formula of docs/measure/nitro.md.
    #[test]
    fn each_pcr_covers_its_own_sections() {
        let registers = registers(&three_disks());
        let expected = [
            (
                "pcr0",
                "8fd4bd031d8a5fa5a70d14b61c854b5c346305751128d03bcffe8b6550f74b61ff4cb3f78f497da37270a09814ead4e4",
            ),
            (
                "pcr1",
                "5fe1aeda49d5d421c95a10148a9730a588b3543443aa54fc2bdac925a0d9250e5c39dd9e63169bba04db090a56c72bae",
            ),
            (
                "pcr2",
                "6dbbca867c3702045c87f814ad9b90e97b7c74322b91b5139a192d74b9fe60198c709321fb2f339460199290d2e58894",
            ),
        ];
        assert_eq!(registers, expected.map(|(r, v)| (r.to_string(), v.to_string())));
    }

    #[test]
    fn a_lone_ramdisk_leaves_pcr2_at_the_value_of_nothing() {
        let mut image = three_disks();
        image.sections.truncate(4);
        let registers = registers(&image);
        assert_eq!(registers[0].1, registers[1].1);
        assert_eq!(
            registers[2].1,
            "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"
        );
    }

    #[test]
    fn pcr8_is_the_certificate_as_der() {
        // [{"signing_certificate": [PEM of the bytes `certificate`], "signature": h''}]
        let pem = b"-----BEGIN CERTIFICATE-----\nY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        let mut cbor = b"\x81\xa2\x69signature\x40\x73signing_certificate\x98".to_vec();
        cbor.push(u8::try_from(pem.len()).expect("short"));
        cbor.extend(pem.iter().flat_map(|byte| [0x18, *byte]));
        let mut image = three_disks();
        image.sections.push(Section { kind: Kind::Signature, data: cbor.into() });
        assert_eq!(registers(&image)[3], ("pcr8".to_string(), "e2ad58e7a1a9fdb1dcd72ae5858372974416919245e567ea8f717937e8b914f644320b0f88dcfca2d7a83b5ee6c832dd".to_string()));
    }

    // A file laid out by an independent script (Python, struct and zlib), by its digest.
    #[test]
    fn an_image_is_written_as_the_format_says_and_read_back() {
        let file = three_disks().write().expect("fits");
        let digest = crate::digest::Sha256::of(&file);
        assert_eq!(
            hex(&digest.0),
            "f47dc1ecd229a0810eaa3179bf7d5c70af222cacc6914d37449fa736fee2fc01"
        );
        assert_eq!(Image::parse(&file), Ok(three_disks()));
        assert_eq!(unhex(&hex(&file)).expect("hex"), file);
    }
}
