//! What a TEE boots as one file: a Secure Execution image, an enclave image, a realm's device tree.
//!
//! Bytes in, bytes out; the verb writes the files. Nothing enters but the guest and the machine: the
//! same inputs always give the same bytes.

use crate::digest::hex;
use crate::format::eif::{self, Kind, Section};
use crate::measure::tee::{cca, nitro, se, sgx};
use crate::measure::{Error, Guest, Machine, Register, Result};

/// Files by name.
pub type Made = Vec<(&'static str, Vec<u8>)>;

/// A TEE for which files are made.
pub struct Maker {
    /// Name of the TEE.
    pub tee: &'static str,
    /// One line for help and docs: which files.
    pub about: &'static str,
    /// True where the files hold keys: they are made for one owner, and never by a build.
    pub secret: bool,
    /// The files.
    pub make: fn(&Guest<'_>, &Machine) -> Result<Made>,
}

/// Every TEE that boots a file of its own.
pub const MAKERS: &[Maker] = &[
    Maker {
        tee: se::SE.name,
        about: "se.img, to be booted; for verifiers hdr.bin, its header, and as hexadecimal text \
                image_phkh, attestation_phkh, tag, pld, ald, tld",
        secret: true,
        make: secure_execution,
    },
    Maker {
        tee: cca::CCA.name,
        about: "virt.dtb, the device tree that is measured, for the VMM's -dtb",
        secret: false,
        make: device_tree,
    },
    Maker {
        tee: sgx::SGX.name,
        about: "enclave.sgxs, a small enclave that runs --code",
        secret: false,
        make: |guest, machine| Ok(vec![("enclave.sgxs", sgx::stream(guest, machine)?)]),
    },
    Maker {
        tee: nitro::NITRO.name,
        about: "enclave.eif, signed where a --signing-key is given",
        secret: false,
        make: enclave,
    },
];

/// Values of a Secure Execution header that verifiers compare, each in a file of its own, a line for
/// each host.
const SE_VALUES: [&str; 6] = ["image_phkh", "attestation_phkh", "tag", "pld", "ald", "tld"];

fn secure_execution(guest: &Guest<'_>, machine: &Machine) -> Result<Made> {
    let made = se::make(guest, machine)?;
    let header = made.header.write();
    let mut files = vec![("se.img", made.image), ("hdr.bin", header)];
    let registers = se::registers(&made.header);
    // Further hosts are `image_phkh.2` and so on: a line each.
    let of = |name: &str, register: &Register| register.name.split('.').next() == Some(name);
    files.extend(SE_VALUES.map(|name| {
        let lines = registers.iter().filter(|register| of(name, register));
        let lines: String = lines.map(|one| format!("{}\n", hex(&one.value))).collect();
        (name, lines.into_bytes())
    }));
    Ok(files)
}

fn device_tree(guest: &Guest<'_>, machine: &Machine) -> Result<Made> {
    Ok(vec![("virt.dtb", cca::device_tree(guest, machine)?)])
}

/// Name of the enclave image.
pub const ENCLAVE: &str = "enclave.eif";

/// Memory and vCPUs that an enclave gets when nothing else is asked for: those of AWS's tool.
const ENCLAVE_DEFAULTS: (u64, u64) = (1 << 30, 2);

/// An enclave image without a signature; [`super::enclave`] adds one.
fn enclave(guest: &Guest<'_>, _: &Machine) -> Result<Made> {
    let parts = nitro::Parts::from_files(guest)?;
    let section = |kind, data| Section { kind, data: std::borrow::Cow::Borrowed(data) };
    let mut sections = vec![
        section(Kind::Kernel, parts.kernel),
        section(Kind::Cmdline, parts.cmdline),
        section(Kind::Metadata, METADATA),
    ];
    sections.extend(parts.ramdisks.iter().map(|disk| section(Kind::Ramdisk, disk)));
    let (default_memory, default_cpus) = ENCLAVE_DEFAULTS;
    let arm64 = crate::format::arm64_image::Image::parse(parts.kernel).is_ok();
    let version = eif::VERSION;
    let image = eif::Image { version, arm64, default_memory, default_cpus, sections };
    let file = image.write().map_err(|error| Error::Input { input: "ramdisk", error })?;
    Ok(vec![(ENCLAVE, file)])
}

/// The metadata that tools ask for, with the one time that is always the same.
const METADATA: &[u8] = br#"{"ImageName":"guestsmith","ImageVersion":"1","BuildMetadata":{"BuildTime":"1970-01-01T00:00:00Z","BuildTool":"guestsmith","BuildToolVersion":"1","OperatingSystem":"Linux","KernelVersion":"unknown"},"DockerInfo":{},"CustomMetadata":null}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::eif::Image;

    #[test]
    fn an_enclave_image_is_the_same_twice_and_holds_its_parts() {
        let others = vec![("ramdisk", &b"second"[..])];
        let guest = Guest {
            kernel: Some(b"kernel"),
            initrd: Some(b"first"),
            cmdline: Some("quiet"),
            others,
            ..Guest::default()
        };
        let machine = Machine::default();
        let made = enclave(&guest, &machine).expect("made");
        assert_eq!(made, enclave(&guest, &machine).expect("made"));
        let image = Image::parse(&made[0].1).expect("an image");
        assert_eq!(image.of_kind(Kind::Ramdisk).collect::<Vec<_>>(), [&b"first"[..], b"second"]);
        assert!(serde_json::from_slice::<serde_json::Value>(METADATA).is_ok());
    }
}
