//! What the volumes of a firmware tell. Unpacking them takes most of the time of a prediction, and
//! they tell the same on every machine: this is what is worth keeping of them.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::firmware::{DXE_VOLUME, Epoch, has_file};
use super::smbios::Identity;
use crate::format::fv::{self, Volume};
use crate::format::guid::Guid;
use crate::measure::{Error, Result, ovmf};

/// Files whose presence decides (edk2, `FILE_GUID` of the `.inf` files named).
const TCG2_PEI: Guid = Guid::of("a0c98b77-cba5-4bb8-993b-4af6ce33ece4"); // Tcg2Pei.inf
const SECURE_BOOT: Guid = Guid::of("f0e6a44f-7195-41c3-ac64-54f202cd0a21"); // SecureBootConfigDxe.inf
const SMM_CORE: Guid = Guid::of("e94f54cd-81eb-47ed-aec3-856f5dc157a9"); // PiSmmCore.inf
const SMBIOS_PLATFORM: Guid = Guid::of("4110465d-5ff3-4f4b-b580-24ed0d06747a"); // SmbiosPlatformDxe.inf
pub(super) const UI_APP: Guid = Guid::of("462caa21-7614-4503-836e-8ab6f4662331"); // UiApp.inf
pub(super) const BOOT_MANAGER_MENU: Guid = Guid::of("eec25bdc-67f2-4d95-b1d5-f81b2039d11d"); // BootManagerMenuApp.inf
pub(super) const SHELL: Guid = Guid::of("7c04a583-9e3e-4f1c-ad65-e05268d0b4d1"); // Shell.inf

/// What the volumes of a firmware tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "reference", derive(serde::Serialize, serde::Deserialize))]
pub struct Facts {
    /// What it measures, and how.
    pub epoch: Epoch,
    /// It can verify images (SECURE_BOOT_ENABLE).
    pub secure_boot: bool,
    /// It has a management mode, which changes the order of two events (SMM_REQUIRE).
    pub smm: bool,
    /// It compares the kernel that it loads with the table of hashes that SEV launches.
    pub verifies: bool,
    /// The text that it measures as its version.
    pub version: String,
    pub(super) identity: Option<Identity>,
    applications: Vec<Guid>,
}

impl Facts {
    /// Those of a flash image.
    ///
    /// # Errors
    /// The image has no volume, or a broken one.
    pub fn read(image: &[u8]) -> Result<Self> {
        let volumes =
            fv::unpack(image).map_err(|error| Error::Input { input: "firmware", error })?;
        Ok(Self::of(&volumes))
    }

    /// Those of volumes.
    pub(super) fn of(volumes: &[Volume<'_>]) -> Self {
        let file = |name| volumes.iter().find_map(|volume: &Volume<'_>| volume.file(name));
        let main = volumes.iter().find(|volume| volume.name == Some(DXE_VOLUME));
        let boots_with = |name: &Guid| main.is_some_and(|volume| volume.file(*name).is_some());
        Self {
            epoch: Epoch::of_volumes(volumes),
            secure_boot: has_file(volumes, SECURE_BOOT),
            smm: has_file(volumes, SMM_CORE),
            verifies: ovmf::verifier_in(volumes),
            version: file(TCG2_PEI).and_then(version).unwrap_or_default(),
            identity: file(SMBIOS_PLATFORM).and_then(identity),
            applications: [UI_APP, BOOT_MANAGER_MENU, SHELL]
                .into_iter()
                .filter(boots_with)
                .collect(),
        }
    }

    /// True when the volume that boots the system holds the application `file`.
    pub(super) fn boots_with(&self, file: Guid) -> bool {
        self.applications.contains(&file)
    }
}

/// What the firmware says of itself in SMBIOS: UTF-16 texts of SmbiosPlatformDxe, beside its own
/// fallbacks and the name and version of the module.
fn identity(module: &[u8]) -> Option<Identity> {
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
