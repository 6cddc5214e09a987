//! What a firmware does, read from its volumes: which release of edk2 it was made of, as far as
//! that shows in what it measures (`docs/measure/tdx.md` has the table of epochs with the commits).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::facts::Facts;
use super::pei;
use crate::format::efi::{self, Variable};
use crate::format::eventlog::{EV_EFI_PLATFORM_FIRMWARE_BLOB, EV_S_CRTM_VERSION};
use crate::format::fv::{self, Volume};
use crate::format::guid::Guid;
use crate::measure::event::{Banks, Step};
use crate::measure::{Error, Result};

/// Names of OVMF's volumes (edk2 `OvmfPkg/OvmfPkgX64.fdf`).
const PEI_VOLUME: Guid = Guid::of("6938079b-b503-4e3d-9d24-b28337a25806");
pub(super) const DXE_VOLUME: Guid = Guid::of("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1");

/// File whose presence decides (edk2 `SmbiosMeasurementDxe.inf`).
const SMBIOS_MEASUREMENT: Guid = Guid::of("d27fed59-abb4-4fed-bead-2a878c7e4a7e");

/// Releases, by their `edk2-stable` tags; the names that `firmware-epoch` takes.
pub const EPOCHS: &[&str] = &[
    "202211", "202302", "202305", "202308", "202311", "202402", "202405", "202408", "202411",
    "202502", "202505", "202508", "202511", "202602", "202605", "202608",
];

/// What a release of edk2 measures, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "reference", derive(serde::Serialize, serde::Deserialize))]
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
    pub(super) fn of_volumes(volumes: &[Volume<'_>]) -> Self {
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
    /// What it measures, and how: as stated, or as its volumes show.
    pub epoch: Epoch,
    /// What its volumes tell.
    pub facts: Facts,
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
        let volumes =
            fv::unpack(image).map_err(|error| Error::Input { input: "firmware", error })?;
        let read = Self::known(Facts::of(&volumes), image, vars, stated)?;
        Ok(Self { volumes, ..read })
    }

    /// As [`Self::read`], where the volumes were looked through before: all but [`Self::code`].
    ///
    /// # Errors
    /// The store is broken, or the release is unknown.
    pub fn known(
        facts: Facts,
        image: &'a [u8],
        vars: Option<&[u8]>,
        stated: Option<&str>,
    ) -> Result<Self> {
        let variables = match vars {
            Some(vars) => {
                efi::variables(vars).map_err(|error| Error::Input { input: "vars", error })?
            }
            None => efi::variables(image).unwrap_or_default(),
        };
        let epoch = match stated {
            Some(name) => Epoch::of_release(name)?,
            None => facts.epoch,
        };
        let stated = stated.map(str::to_string);
        Ok(Self { epoch, facts, stated, volumes: Vec::new(), variables })
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

    fn volume(&self, name: Guid) -> Option<&Volume<'a>> {
        self.volumes.iter().find(|volume| volume.name == Some(name))
    }

    /// PCR 0: version and volumes (edk2 `SecurityPkg/Tcg/Tcg2Pei/Tcg2Pei.c`). The volumes are
    /// hashed as they lie in memory, unpacked.
    pub fn code(&self, banks: &Banks) -> Vec<Step> {
        let version = &self.facts.version;
        let what = format!("firmware version `{version}`");
        let version = [efi::wide(version), alloc::vec![0, 0]].concat();
        let mut steps = alloc::vec![banks.step(0, EV_S_CRTM_VERSION, what, &version)];
        let blob = EV_EFI_PLATFORM_FIRMWARE_BLOB;
        steps.extend(self.volume(PEI_VOLUME).map(|volume| {
            match pei::unknown(volume, self.epoch.acpi, self.facts.smm) {
                None => banks.step(0, blob, "PEI volume", &pei::as_it_runs(volume)),
                Some(why) => Step::unknown(0, blob, "PEI volume", why),
            }
        }));
        let main = self.volume(DXE_VOLUME);
        steps.extend(main.map(|volume| banks.step(0, blob, "DXE volume", &volume.bytes)));
        steps
    }
}

pub(super) fn has_file(volumes: &[Volume<'_>], name: Guid) -> bool {
    volumes.iter().any(|volume| volume.file(name).is_some())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}
