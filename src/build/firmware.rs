//! Firmware from source: platforms of edk2, with options and patches declared under `firmware/`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::root::Root;
use super::step::{Builder, Step};
use crate::store::Expected;

const SCRIPT: &str = include_str!("edk2.sh");
const OUTPUT: &str = "out/firmware.fd";

/// A platform that is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Its description in edk2, as a recipe names it.
    pub dsc: &'static str,
    /// Options of edk2's `build`.
    pub options: &'static str,
    /// Where the image then stands.
    pub image: &'static str,
}

/// Every platform; a new one is a row and its options.
pub const PLATFORMS: &[Platform] = &[
    Platform {
        dsc: "OvmfPkg/AmdSev/AmdSevX64.dsc",
        options: include_str!("../../firmware/edk2/AmdSevX64.options"),
        image: "Build/AmdSev/RELEASE_GCC5/FV/OVMF.fd",
    },
    Platform {
        dsc: "OvmfPkg/IntelTdx/IntelTdxX64.dsc",
        options: include_str!("../../firmware/edk2/IntelTdxX64.options"),
        image: "Build/IntelTdx/RELEASE_GCC5/FV/OVMF.fd",
    },
    Platform {
        dsc: "OvmfPkg/OvmfPkgX64.dsc",
        options: include_str!("../../firmware/edk2/OvmfPkgX64.options"),
        image: "Build/OvmfX64/RELEASE_GCC5/FV/OVMF.fd",
    },
];

macro_rules! patches {
    ($($name:literal,)+) => {
        /// Our patches against edk2, in order.
        pub const PATCHES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../firmware/edk2/patches/", $name))),)+];
    };
}

patches! {
    "0001-amdsev-without-grub.patch",
    "0002-stack-cookies.patch",
    "0003-pcd-sizes.patch",
}

impl Platform {
    /// The platform that a recipe names.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn named(dsc: &str) -> Result<Self> {
        let known: Vec<_> = PLATFORMS.iter().map(|platform| platform.dsc).collect();
        let found = PLATFORMS.iter().find(|platform| platform.dsc == dsc);
        found.copied().with_context(|| {
            format!("guestsmith does not build the platform {dsc}; it knows {}", known.join(", "))
        })
    }
}

/// The sources of edk2, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edk2 {
    /// The tarball.
    pub tarball: Expected,
    /// Debian's tarball with its patches, where the sources are a Debian source package.
    pub debian: Option<Expected>,
    /// Version, which the firmware tells the guest (SMBIOS).
    pub version: String,
    /// Seconds since 1970 that stand for the time of the build.
    pub epoch: u32,
}

/// Builds `platform`; the image is in the store then.
///
/// # Errors
/// A patch does not apply, or the build fails.
pub fn build(
    builder: &Builder<'_>,
    root: &Root,
    edk2: &Edk2,
    platform: Platform,
) -> Result<Expected> {
    let name = platform.dsc.rsplit('/').next().unwrap_or_default().trim_end_matches(".dsc");
    let mut inputs = BTreeMap::from([("edk2.tar".to_string(), edk2.tarball)]);
    inputs.extend(edk2.debian.map(|debian| ("debian.tar".to_string(), debian)));
    inputs.insert("options".into(), builder.text(platform.options)?);
    for (name, text) in PATCHES {
        inputs.insert(format!("patches/{name}"), builder.text(text)?);
    }
    let env = [
        ("IMAGE", platform.image.to_string()),
        ("PLATFORM", platform.dsc.to_string()),
        ("SOURCE_DATE_EPOCH", edk2.epoch.to_string()),
        ("VERSION", edk2.version.clone()),
    ];
    let step = Step {
        name: format!("firmware {name}"),
        root,
        script: SCRIPT,
        inputs,
        env: env.map(|(name, value)| (name.into(), value)).into(),
        outputs: vec![OUTPUT.into()],
    };
    builder.run(&step)?.outputs.remove(OUTPUT).context("no image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_known_by_its_description() {
        let sev = Platform::named("OvmfPkg/AmdSev/AmdSevX64.dsc").expect("known");
        assert!(sev.options.contains("BUILD_SHELL"));
        let error = Platform::named("OvmfPkg/Other.dsc").expect_err("unknown").to_string();
        assert!(error.contains("it knows OvmfPkg/AmdSev/AmdSevX64.dsc, OvmfPkg/"), "{error}");
    }

    #[test]
    fn every_option_is_one_of_the_tools() {
        for platform in PLATFORMS {
            let options = platform.options.lines().filter(|line| !line.starts_with('#'));
            for option in options.filter(|line| !line.is_empty()) {
                assert!(option.starts_with("-D "), "{}: {option}", platform.dsc);
            }
        }
    }

    #[test]
    fn every_patch_says_why_and_is_applied() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware/edk2/patches");
        let files = crate::store::entries::sorted(dir.as_ref()).expect("readable");
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!(names, PATCHES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, text) in PATCHES {
            let reason = text.split("diff --git").next().unwrap_or_default();
            assert!(reason.lines().count() > 4, "{name} has no reason");
        }
    }
}
