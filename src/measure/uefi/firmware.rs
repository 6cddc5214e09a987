//! What a firmware does, read from its volumes: which release of edk2 it was made of, as far as
//! that shows in what it measures (`docs/measure/tdx.md` has the table of epochs with the commits).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::pei;
use super::smbios::Identity;
use crate::format::efi::{self, Variable};
use crate::format::eventlog::{EV_EFI_PLATFORM_FIRMWARE_BLOB, EV_S_CRTM_VERSION};
use crate::format::fv::{self, Volume};
use crate::format::guid::Guid;
use crate::measure::event::{Banks, Step};
use crate::measure::{Error, Result};

/// Names of OVMF's volumes (edk2 `OvmfPkg/OvmfPkgX64.fdf`).
const PEI_VOLUME: Guid = Guid::of("6938079b-b503-4e3d-9d24-b28337a25806");
pub(super) const DXE_VOLUME: Guid = Guid::of("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1");

/// Files whose presence decides (edk2, `FILE_GUID` of the `.inf` files named).
const TCG2_PEI: Guid = Guid::of("a0c98b77-cba5-4bb8-993b-4af6ce33ece4"); // Tcg2Pei.inf
const SECURE_BOOT: Guid = Guid::of("f0e6a44f-7195-41c3-ac64-54f202cd0a21"); // SecureBootConfigDxe.inf
const SMBIOS_MEASUREMENT: Guid = Guid::of("d27fed59-abb4-4fed-bead-2a878c7e4a7e"); // SmbiosMeasurementDxe.inf
const SMM_CORE: Guid = Guid::of("e94f54cd-81eb-47ed-aec3-856f5dc157a9"); // PiSmmCore.inf
const SMBIOS_PLATFORM: Guid = Guid::of("4110465d-5ff3-4f4b-b580-24ed0d06747a"); // SmbiosPlatformDxe.inf
pub(super) const UI_APP: Guid = Guid::of("462caa21-7614-4503-836e-8ab6f4662331"); // UiApp.inf
pub(super) const BOOT_MANAGER_MENU: Guid = Guid::of("eec25bdc-67f2-4d95-b1d5-f81b2039d11d"); // BootManagerMenuApp.inf
pub(super) const SHELL: Guid = Guid::of("7c04a583-9e3e-4f1c-ad65-e05268d0b4d1"); // Shell.inf

/// Releases, by their `edk2-stable` tags; the names that `firmware-epoch` takes.
pub const EPOCHS: &[&str] = &[
    "202211", "202302", "202305", "202308", "202311", "202402", "202405", "202408", "202411",
    "202502", "202505", "202508", "202511", "202602", "202605", "202608",
];

/// What a release of edk2 measures, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// ACPI blobs are measured (202302).
    pub acpi: bool,
    /// The separators of ReadyToBoot go to RTMR1 instead of RTMR0 (202411); none: it cannot be
    /// told from the firmware.
    pub separator_in_rtmr1: Option<bool>,
    /// The kernel is fetched from `etc/boot/kernel`, where QEMU offers it unpatched (202502).
    pub named_kernel: bool,
    /// A TD measures what it reads of fw_cfg (202505).
    pub fw_cfg: bool,
    /// `Boot0000` is the boot manager's menu and the set-up screen an option of its own (202505).
    pub firmware_setup: bool,
    /// SMBIOS tables are measured (202505).
    pub smbios: bool,
    /// `initrd=initrd` comes before the command line instead of behind it (202508).
    pub initrd_first: bool,
}

impl Epoch {
    /// The layout of the release called `name`.
    ///
    /// # Errors
    /// No such release is in [`EPOCHS`].
    pub fn of_release(name: &str) -> Result<Self> {
        let number = EPOCHS.contains(&name).then(|| name.parse::<u32>().ok()).flatten();
        let number = number.ok_or_else(|| Error::Unsupported {
            what: format!("firmware epoch `{name}`"),
            why: format!("known are {}", EPOCHS.join(", ")),
        })?;
        Ok(Self {
            acpi: number >= 202_302,
            separator_in_rtmr1: Some(number >= 202_411),
            named_kernel: number >= 202_502,
            fw_cfg: number >= 202_505,
            firmware_setup: number >= 202_505,
            smbios: number >= 202_505,
            initrd_first: number >= 202_508,
        })
    }

    /// The layout that the volumes show. What is linked in decides, not a version string: that is
    /// the distribution's own.
    fn of_volumes(volumes: &[Volume<'_>]) -> Self {
        let text = |text: &[u8]| volumes.iter().any(|volume| contains(&volume.bytes, text));
        let named_kernel = text(b"etc/boot/");
        let fw_cfg = text(b"QEMU FW CFG");
        Self {
            acpi: text(b"ACPI DATA"),
            // The move left no mark; what came after it (202502) or before ACPI (202302) tells.
            separator_in_rtmr1: match (named_kernel || fw_cfg, text(b"ACPI DATA")) {
                (true, _) => Some(true),
                (false, false) => Some(false),
                (false, true) => None,
            },
            named_kernel,
            fw_cfg,
            firmware_setup: text(&efi::wide("EFI Firmware Setup")),
            smbios: has_file(volumes, SMBIOS_MEASUREMENT),
            initrd_first: text(b"initrd=initrd \0"),
        }
    }

    /// Name of the newest release that has everything that this layout shows.
    pub fn name(&self) -> &'static str {
        match self {
            Self { initrd_first: true, .. } => "202508 or later",
            Self { firmware_setup: true, .. } => "202505",
            Self { named_kernel: true, .. } => "202502",
            Self { separator_in_rtmr1: Some(true), .. } => "202411",
            Self { acpi: true, separator_in_rtmr1: None, .. } => "202302 to 202411",
            Self { acpi: true, .. } => "202302 to 202408",
            Self { acpi: false, .. } => "202211 or earlier",
        }
    }
}

/// A firmware image, as far as its measurements need it.
#[derive(Debug, Clone)]
pub struct Firmware<'a> {
    /// What it measures, and how.
    pub epoch: Epoch,
    /// It can verify images (SECURE_BOOT_ENABLE).
    pub secure_boot: bool,
    /// It has a management mode, which changes the order of two events (SMM_REQUIRE).
    pub smm: bool,
    /// The text that it measures as its version.
    pub version: String,
    stated: Option<String>,
    volumes: Vec<Volume<'a>>,
    variables: Vec<Variable>,
}

impl<'a> Firmware<'a> {
    /// Name of its release: as stated, or as far as the volumes show it.
    pub fn epoch_name(&self) -> String {
        match &self.stated {
            Some(name) => format!("{name} (stated)"),
            None => self.epoch.name().to_string(),
        }
    }

    /// Reads `image`; variables come from `vars`, or from the store at the image's beginning. A
    /// release in `stated` overrides what the volumes show.
    ///
    /// # Errors
    /// The image or the store is broken, or the release is unknown.
    pub fn read(image: &'a [u8], vars: Option<&[u8]>, stated: Option<&str>) -> Result<Self> {
        let input = |input| move |error| Error::Input { input, error };
        let volumes = fv::unpack(image).map_err(input("firmware"))?;
        let variables = match vars {
            Some(vars) => efi::variables(vars).map_err(input("vars"))?,
            None => efi::variables(image).unwrap_or_default(),
        };
        let epoch = match stated {
            Some(name) => Epoch::of_release(name)?,
            None => Epoch::of_volumes(&volumes),
        };
        let tcg2 = volumes.iter().find_map(|volume| volume.file(TCG2_PEI));
        Ok(Self {
            epoch,
            secure_boot: has_file(&volumes, SECURE_BOOT),
            smm: has_file(&volumes, SMM_CORE),
            version: tcg2.and_then(version).unwrap_or_default(),
            stated: stated.map(str::to_string),
            volumes,
            variables,
        })
    }

    /// The same firmware under another layout.
    #[must_use]
    pub fn with(&self, epoch: Epoch) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// Value of a variable of the store.
    pub fn variable(&self, vendor: Guid, name: &str) -> Option<&[u8]> {
        efi::value(&self.variables, vendor, name)
    }

    /// True when the volume that boots the system holds `file`.
    pub(super) fn boots_with(&self, file: Guid) -> bool {
        self.volume(DXE_VOLUME).is_some_and(|volume| volume.file(file).is_some())
    }

    fn volume(&self, name: Guid) -> Option<&Volume<'a>> {
        self.volumes.iter().find(|volume| volume.name == Some(name))
    }

    /// What the firmware says of itself in SMBIOS: UTF-16 texts of SmbiosPlatformDxe, beside its
    /// own fallbacks and the name and version of the module.
    pub(super) fn identity(&self) -> Option<Identity> {
        let module = self.volumes.iter().find_map(|volume| volume.file(SMBIOS_PLATFORM))?;
        let fallbacks = ["unknown", "02/02/2022", "SmbiosPlatformDxe", "1.0"];
        let texts = texts(module).into_iter().filter(|text| !fallbacks.contains(&text.as_str()));
        let (dates, texts): (Vec<_>, Vec<_>) = texts.partition(|text| is_date(text));
        let own = version(module);
        let vendors: Vec<_> = texts.into_iter().filter(|text| Some(text) != own.as_ref()).collect();
        let one = |found: Vec<String>, fallback: &str| match &found[..] {
            [] => Some(fallback.to_string()),
            [only] => Some(only.clone()),
            _ => None,
        };
        Some(Identity {
            vendor: one(vendors, "unknown")?,
            version: own.unwrap_or_else(|| "unknown".to_string()),
            date: one(dates, "02/02/2022")?,
        })
    }

    /// PCR 0: version and volumes (edk2 `SecurityPkg/Tcg/Tcg2Pei/Tcg2Pei.c`). The volumes are
    /// hashed as they lie in memory, unpacked.
    pub fn code(&self, banks: &Banks) -> Vec<Step> {
        let version = [efi::wide(&self.version), alloc::vec![0, 0]].concat();
        let what = format!("firmware version `{}`", self.version);
        let mut steps = alloc::vec![banks.step(0, EV_S_CRTM_VERSION, what, &version)];
        let blob = EV_EFI_PLATFORM_FIRMWARE_BLOB;
        steps.extend(self.volume(PEI_VOLUME).map(|volume| {
            match pei::unknown(volume, self.epoch.acpi, self.smm) {
                None => banks.step(0, blob, "PEI volume", &pei::as_it_runs(volume)),
                Some(why) => Step::unknown(0, blob, "PEI volume", why),
            }
        }));
        let main = self.volume(DXE_VOLUME);
        steps.extend(main.map(|volume| banks.step(0, blob, "DXE volume", &volume.bytes)));
        steps
    }
}

fn has_file(volumes: &[Volume<'_>], name: Guid) -> bool {
    volumes.iter().any(|volume| volume.file(name).is_some())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

/// The version text in Tcg2Pei, where `PcdFirmwareVersionString` is fixed at build time: UTF-16
/// that begins with four digits and a dot.
fn version(module: &[u8]) -> Option<String> {
    let starts = module.windows(10).position(|window| {
        let [y0, 0, y1, 0, y2, 0, y3, 0, b'.', 0] = window else { return false };
        [y0, y1, y2, y3].into_iter().all(u8::is_ascii_digit)
    })?;
    let units = module.get(starts..)?.chunks_exact(2);
    let text = units.map_while(|unit| match unit {
        [byte, 0] if byte.is_ascii_graphic() => Some(char::from(*byte)),
        _ => None,
    });
    Some(text.collect::<String>().to_string())
}

/// True for a date as SMBIOS has it: `09/26/2026`.
fn is_date(text: &str) -> bool {
    let shape = |(place, c): (usize, char)| match place {
        2 | 5 => c == '/',
        _ => c.is_ascii_digit(),
    };
    text.len() == 10 && text.char_indices().all(shape)
}

/// UTF-16 texts of at least three characters that end with a NUL.
fn texts(module: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut text = String::new();
    for unit in module.chunks_exact(2) {
        match unit {
            [byte @ 0x20..=0x7e, 0] => text.push(char::from(*byte)),
            [0, 0] if text.len() >= 3 => found.push(core::mem::take(&mut text)),
            _ => text.clear(),
        }
    }
    found
}
