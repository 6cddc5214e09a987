//! What systemd-stub measures of a unified kernel image (UAPI.5; systemd `src/boot/stub.c`,
//! `src/boot/measure.c`, `docs/TPM2_PCR_MEASUREMENTS.md`): its sections into PCR 11, and what it
//! hands to the kernel in it.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::event::{Banks, Step};
use super::{Error, Result, linux};
use crate::format::eventlog::{EV_EFI_BOOT_SERVICES_APPLICATION, EV_EVENT_TAG, EV_IPL};
use crate::format::pe::Pe;

/// Sections in the order in which they are measured (`unified_sections`), `.pcrsig` left out, each
/// with the first version of the stub that measures it.
const MEASURED: &[(&str, u32)] = &[
    (".linux", 0),
    (".osrel", 0),
    (".cmdline", 0),
    (".initrd", 0),
    (".ucode", MICROCODE),
    (".splash", 0),
    (".dtb", 0),
    (".uname", 253),
    (".sbat", 254),
    (".pcrpkey", 0),
];

/// Sections that become files below `.extra/` in an initrd of their own, in the order in which those
/// follow the main one, each with the first version that does it.
const EXTRA: &[(&str, &str, u32)] = &[
    (".pcrsig", "tpm2-pcr-signature.json", 252),
    (".pcrpkey", "tpm2-pcr-public-key.pem", 252),
    (".osrel", "os-release", 257),
];

/// The version from which the kernel is called directly instead of by `LoadImage`, which measures.
const CALLS_DIRECTLY: u32 = 258;

/// The first version that takes microcode in a section of its own.
const MICROCODE: u32 = 256;

/// What is assumed where the stub does not tell its version.
const NEWEST: u32 = 262;

/// A unified kernel image.
#[derive(Debug, Clone)]
pub struct Uki<'a> {
    pe: Pe<'a>,
    /// Major version of the stub, where it tells.
    pub version: Option<u32>,
}

impl<'a> Uki<'a> {
    /// The image in `bytes`; none where it is another PE image.
    ///
    /// # Errors
    /// It is no PE image, or it is a UKI without kernel command line.
    pub fn parse(bytes: &'a [u8], input: &'static str) -> Result<Option<Self>> {
        let pe = Pe::parse(bytes).map_err(|error| Error::Input { input, error })?;
        if pe.section(".linux").is_none() {
            return Ok(None);
        }
        let uki = Self { version: version(&pe), pe };
        if uki.section(".cmdline", input)?.is_none() {
            let what = "section `.cmdline`";
            let why = "without it the command line comes from outside the image".to_string();
            let error = crate::format::Error::Missing { what, why };
            return Err(Error::Input { input, error });
        }
        Ok(Some(uki))
    }

    fn section(&self, name: &str, input: &'static str) -> Result<Option<Cow<'a, [u8]>>> {
        let found = self.pe.section(name).filter(|section| section.virtual_size > 0);
        let contents = found.map(|section| self.pe.contents(section)).transpose();
        contents.map_err(|error| Error::Input { input, error })
    }

    /// Its events, from the start of the stub to that of the kernel. `smbios` are the structures
    /// that QEMU gives, where known. Where the firmware has `verified` the image, the stub vouches
    /// for the inner kernel in its stead, and the firmware does not measure that one.
    ///
    /// # Errors
    /// A section is broken.
    pub fn steps(
        &self,
        banks: &Banks,
        input: &'static str,
        smbios: Option<&[&[u8]]>,
        verified: bool,
    ) -> Result<Vec<Step>> {
        let since = self.version.unwrap_or(NEWEST);
        let mut steps = Vec::new();
        for (name, _) in MEASURED.iter().filter(|(_, first)| *first <= since) {
            let Some(contents) = self.section(name, input)? else { continue };
            let terminated = [name.as_bytes(), &[0]].concat();
            steps.push(banks.step(11, EV_IPL, format!("name of section {name}"), &terminated));
            steps.push(banks.step(11, EV_IPL, format!("section {name}"), &contents));
        }
        steps.extend(self.smbios(banks, smbios));
        if since < CALLS_DIRECTLY
            && !verified
            && let Some(kernel) = self.section(".linux", input)?
        {
            steps.push(image(banks, &kernel, "kernel in the UKI")?);
        }
        let cmdline = self.section(".cmdline", input)?.unwrap_or_default();
        steps.push(linux::load_options(banks, &printable(&cmdline)));
        steps.push(linux::initrd(banks, &self.initrd(input, since)?));
        Ok(steps)
    }

    /// SMBIOS structures that newer stubs measure into PCR 1: system, baseboard, OEM strings. The
    /// stub carries the names that it logs, so it tells by itself.
    fn smbios(&self, banks: &Banks, structures: Option<&[&[u8]]>) -> Vec<Step> {
        let name = crate::format::efi::wide("smbios:type1");
        let data = self.pe.sections.iter().filter(|section| !section.name.starts_with(".linux"));
        let measures = data.filter_map(|section| self.pe.contents(section).ok());
        if !measures.into_iter().any(|bytes| memchr::memmem::find(&bytes, &name).is_some()) {
            return Vec::new();
        }
        let Some(structures) = structures else {
            let why = "give QEMU's SMBIOS tables with --acpi";
            return alloc::vec![Step::unknown(1, EV_EVENT_TAG, "smbios:type1", why)];
        };
        let measured = structures.iter().filter(|one| matches!(one.first(), Some(1 | 2 | 11)));
        let step = |one: &&[u8]| {
            let mut bytes = one.to_vec();
            if let [1, ..] = bytes[..]
                && let Some(wake_up) = bytes.get_mut(0x18)
            {
                *wake_up = 0;
            }
            let what = format!("smbios:type{}", one.first().copied().unwrap_or_default());
            banks.step(1, EV_EVENT_TAG, what, &bytes)
        };
        measured.map(step).collect()
    }

    /// The initrd as the kernel gets it: the section as it is, or, where the stub adds others, all of
    /// them padded.
    fn initrd(&self, input: &'static str, since: u32) -> Result<Vec<u8>> {
        let main = self.section(".initrd", input)?.unwrap_or_default();
        let microcode = self.section(".ucode", input)?.filter(|_| since >= MICROCODE);
        let mut extra = Vec::new();
        for (section, file, _) in EXTRA.iter().filter(|(_, _, first)| *first <= since) {
            if let Some(contents) = self.section(section, input)? {
                extra.extend(archive(file, &contents));
            }
        }
        if extra.is_empty() && microcode.is_none() {
            return Ok(main.into_owned());
        }
        let microcode = microcode.map_or_else(Vec::new, |bytes| padded(&bytes));
        Ok([microcode, padded(&main), extra].concat())
    }
}

/// The event of an image that the firmware loads.
///
/// # Errors
/// It is no PE image.
pub fn image(banks: &Banks, bytes: &[u8], name: &'static str) -> Result<Step> {
    if linux::is_linux(bytes) && !bytes.starts_with(b"MZ") {
        return Err(Error::Unsupported {
            what: format!("{name} without EFI stub"),
            why: "the firmware starts and measures PE images only; build the kernel with \
                  CONFIG_EFI_STUB"
                .to_string(),
        });
    }
    let pe = Pe::parse(bytes).map_err(|error| Error::Input { input: name, error })?;
    let digests = banks.digests(&pe.authenticode());
    Ok(Step { pcr: 4, kind: EV_EFI_BOOT_SERVICES_APPLICATION, what: name.to_string(), digests })
}

/// Steps of systemd's boot phases: each word extends PCR 11 when userspace reaches it
/// (systemd-pcrphase.service(8)).
pub fn phases(banks: &Banks, phases: &str) -> Vec<Step> {
    let words = phases.split(':').filter(|word| !word.is_empty());
    words.map(|word| banks.step(11, EV_IPL, format!("phase {word}"), word.as_bytes())).collect()
}

/// Major version in the mark that every stub carries: `#### LoaderInfo: systemd-stub 257.9 ####`.
fn version(pe: &Pe<'_>) -> Option<u32> {
    let mark = pe.contents(pe.section(".sdmagic")?).ok()?;
    let text = String::from_utf8_lossy(&mark).into_owned();
    let (_, rest) = text.split_once("systemd-stub ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The command line as the stub passes it: control characters become spaces, and none are left at
/// the end (`mangle_stub_cmdline`).
fn printable(section: &[u8]) -> String {
    let text = section.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim_end_matches(' ').to_string()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(padded.len().next_multiple_of(4), 0);
    padded
}

/// The newc archive that the stub makes of one file in `.extra/` (`pack_cpio`).
fn archive(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut bytes = member(1, 0o040_555, ".extra", &[]);
    bytes.extend(member(2, 0o100_444, &format!(".extra/{name}"), contents));
    bytes.extend(b"070701000000000000000000000000000000000000000100000000000000000000000000000000");
    bytes.extend(b"00000000000000000000000B00000000TRAILER!!!\0\0\0\0");
    bytes
}

fn member(inode: usize, mode: usize, path: &str, contents: &[u8]) -> Vec<u8> {
    let fields = [inode, mode, 0, 0, 1, 0, contents.len(), 0, 0, 0, 0, path.len() + 1, 0];
    let mut bytes = b"070701".to_vec();
    fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
    bytes.extend(path.bytes());
    bytes.push(0);
    let mut bytes = padded(&bytes);
    bytes.extend(padded(contents));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::eventlog::Algorithm;
    use crate::format::pe::tests::image as pe_image;

    fn steps(sections: &[(&str, &[u8])]) -> Result<Vec<Step>> {
        let bytes = pe_image(sections);
        let banks = Banks::new(alloc::vec![Algorithm::Sha256]);
        let uki = Uki::parse(&bytes, "kernel")?.expect("a UKI");
        uki.steps(&banks, "kernel", Some(&[]), false)
    }

    #[test]
    fn the_stub_decides_what_is_measured() {
        let kernel = pe_image(&[(".text", b"linux")]);
        let common = [(".linux", &kernel[..]), (".cmdline", b"quiet\n"), (".initrd", b"cpio")];
        let with = |mark: &'static [u8]| {
            let sections = [&common[..], &[(".sdmagic", mark)]].concat();
            let steps = steps(&sections).expect("steps");
            steps.iter().map(|step| (step.pcr, step.what.clone())).collect::<Vec<_>>()
        };
        let older = with(b"#### LoaderInfo: systemd-stub 257.9-1~deb13u1 ####");
        let newer = with(b"#### LoaderInfo: systemd-stub 262-1 ####");
        assert_eq!(older.len(), 9);
        assert_eq!(older[6], (4, "kernel in the UKI".to_string()));
        assert_eq!(newer.len(), 8);
        assert_eq!(newer[6], (9, "load options `quiet`".to_string()));
    }

    #[test]
    fn a_uki_without_command_line_is_refused() {
        let error = steps(&[(".linux", b"x")]).expect_err("no command line").to_string();
        assert!(error.starts_with("kernel: no section `.cmdline` found"), "{error}");
        let other = pe_image(&[(".text", b"code")]);
        assert!(Uki::parse(&other, "kernel").expect("an image").is_none());
    }

    #[test]
    fn the_archive_of_an_extra_file_is_whole() {
        let archive = archive("os-release", b"ID=debian\n");
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(archive.len(), 120 + 128 + 12 + 124);
    }
}
