//! What systemd-stub measures of a unified kernel image (UAPI.5; systemd `src/boot/stub.c`,
//! `src/boot/measure.c`, `docs/TPM2_PCR_MEASUREMENTS.md`): its sections into PCR 11, and what it
//! hands to the kernel in it.

mod beside;
mod command_line;

pub use beside::{beside, from_beside};
pub use command_line::Outside;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::event::{Banks, Step};
use super::linux::{self, Stub};
use super::{Error, Result};
use crate::format::efi::wide;
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
    (".profile", PROFILES),
];

/// Sections of which the stub takes one or none, by what the machine's own SMBIOS tells.
const BY_HARDWARE: &[&str] = &[".dtbauto", ".hwids", ".efifw"];

/// Sections that become files below `.extra/` in an initrd of their own, in the order in which those
/// follow the main one, each with the first version that does it.
const EXTRA: &[(&str, &str, u32)] = &[
    (".pcrsig", "tpm2-pcr-signature.json", 252),
    (".pcrpkey", "tpm2-pcr-public-key.pem", 252),
    (".osrel", "os-release", 257),
    (".profile", "profile", PROFILES),
];

/// The first version that knows several profiles in one image.
const PROFILES: u32 = 257;

/// The version from which the kernel is called directly instead of by `LoadImage`, which measures.
const CALLS_DIRECTLY: u32 = 258;

/// The first version that takes microcode in a section of its own.
const MICROCODE: u32 = 256;

/// What is assumed where the stub does not tell its version.
const NEWEST: u32 = 262;

/// The variable from which a stub makes a secret for the guest, in an archive behind the others
/// (`src/boot/boot-secret.c`).
const BOOT_SECRET: &str = "LoaderBootSecret";

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
    /// It is no PE image.
    pub fn parse(bytes: &'a [u8], input: &'static str) -> Result<Option<Self>> {
        let pe = Pe::parse(bytes).map_err(|error| Error::Input { input, error })?;
        if pe.section(".linux").is_none() {
            return Ok(None);
        }
        Ok(Some(Self { version: version(&pe), pe }))
    }

    /// Contents of a section as `profile` sees it: its own, or else that of the image. Profiles
    /// follow each other in the section table, each from its `.profile` on (UAPI.5, «Multi-profile
    /// UKIs»).
    fn section(
        &self,
        name: &str,
        profile: usize,
        input: &'static str,
    ) -> Result<Option<Cow<'a, [u8]>>> {
        let sections = &self.pe.sections;
        let marks = sections.iter().enumerate().filter(|(_, section)| section.name == ".profile");
        let marks: Vec<_> = marks.map(|(place, _)| place).collect();
        let place = |number: usize| marks.get(number).copied().unwrap_or(sections.len());
        let own = sections.get(place(profile)..place(profile.saturating_add(1)));
        let common = sections.get(..place(0));
        let groups = [own, common].into_iter().flatten();
        let found = groups.flatten().find(|s| s.name == name && s.virtual_size > 0);
        let contents = found.map(|section| self.pe.contents(section)).transpose();
        contents.map_err(|error| Error::Input { input, error })
    }

    /// Whether the stub hands the guest a secret of the machine, where the image's own file system
    /// can be written and the firmware has random numbers.
    pub fn has_boot_secret(&self) -> bool {
        self.carries(BOOT_SECRET)
    }

    /// Whether the stub's own code carries `text`, in UTF-16.
    fn carries(&self, text: &str) -> bool {
        let text = wide(text);
        let data = self.pe.sections.iter().filter(|section| !section.name.starts_with(".linux"));
        let mut contents = data.filter_map(|section| self.pe.contents(section).ok());
        contents.any(|bytes| memchr::memmem::find(&bytes, &text).is_some())
    }

    /// Its events, from the start of the stub to that of the kernel. Where the firmware has verified
    /// the image, the stub vouches for the inner kernel in its stead, and the firmware does not
    /// measure that one.
    ///
    /// # Errors
    /// A section is broken, or there is no command line.
    pub fn steps(
        &self,
        banks: &Banks,
        input: &'static str,
        outside: &Outside<'_>,
    ) -> Result<Vec<Step>> {
        let since = self.version.unwrap_or(NEWEST);
        let (profile, mut steps) = self.profile(banks, outside, since)?;
        for (name, _) in MEASURED.iter().filter(|(_, first)| *first <= since) {
            let Some(contents) = self.section(name, profile, input)? else { continue };
            let terminated = [name.as_bytes(), &[0]].concat();
            steps.push(banks.step(11, EV_IPL, format!("name of section {name}"), &terminated));
            steps.push(banks.step(11, EV_IPL, format!("section {name}"), &contents));
        }
        if let Some(name) = BY_HARDWARE.iter().find(|name| self.pe.section(name).is_some()) {
            let why = "which of them is taken, if any, depends on the machine's SMBIOS tables";
            steps.push(Step::unknown(11, EV_IPL, format!("section {name}"), why));
        }
        let line = self.command_line(banks, profile, input, outside)?;
        steps.extend(line.measured);
        steps.extend(self.smbios(banks, outside.smbios));
        if since < CALLS_DIRECTLY
            && !outside.verified
            && let Some(kernel) = self.section(".linux", profile, input)?
        {
            steps.push(image(banks, &kernel, "kernel in the UKI")?);
        }
        let kernel = self.section(".linux", profile, input)?.unwrap_or_default();
        let stub = Stub::of(&kernel, outside.confidential);
        let initrd = self.initrd(profile, input, since)?;
        steps.extend(match line.load_options {
            Ok(options) => stub.steps(banks, Some(&options), &initrd),
            Err(unknown) => [alloc::vec![unknown], stub.steps(banks, None, &initrd)].concat(),
        });
        Ok(steps)
    }

    /// SMBIOS structures that newer stubs measure into PCR 1: system, baseboard, OEM strings. The
    /// stub carries the names that it logs, so it tells by itself.
    fn smbios(&self, banks: &Banks, structures: Option<&[&[u8]]>) -> Vec<Step> {
        if !self.carries("smbios:type1") {
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
    fn initrd(&self, profile: usize, input: &'static str, since: u32) -> Result<Vec<u8>> {
        let main = self.section(".initrd", profile, input)?.unwrap_or_default();
        let microcode = self.section(".ucode", profile, input)?.filter(|_| since >= MICROCODE);
        let mut extra = Vec::new();
        for (section, file, _) in EXTRA.iter().filter(|(_, _, first)| *first <= since) {
            if let Some(contents) = self.section(section, profile, input)? {
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
        let outside = Outside { smbios: Some(&[]), ..Outside::default() };
        uki.steps(&banks, "kernel", &outside)
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
        assert!(error.contains("a UKI without section `.cmdline`"), "{error}");
        let other = pe_image(&[(".text", b"code")]);
        assert!(Uki::parse(&other, "kernel").expect("an image").is_none());
    }

    #[test]
    fn a_stub_with_boot_secrets_tells_by_their_variable() {
        let has = |sections: &[(&str, &[u8])]| {
            let bytes = pe_image(sections);
            let uki = Uki::parse(&bytes, "disk").expect("an image").expect("a UKI");
            uki.has_boot_secret()
        };
        let name = wide(BOOT_SECRET);
        assert!(has(&[(".linux", b"kernel"), (".rodata", &name)]));
        assert!(!has(&[(".linux", &name), (".rodata", b"stub")]), "the kernel's own text");
    }

    #[test]
    fn the_archive_of_an_extra_file_is_whole() {
        let archive = archive("os-release", b"ID=debian\n");
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(archive.len(), 120 + 128 + 12 + 124);
    }
}
