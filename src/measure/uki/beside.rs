//! Files that systemd-stub takes from beside a UKI on its file system: add-ons, credentials and
//! extensions (systemd-stub(7), «Companion Files»). What they do to the registers is not predicted;
//! that they are there is.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::format::Result;
use crate::format::eventlog::EV_EVENT_TAG;
use crate::format::fat::Fat;
use crate::measure::event::Step;

/// Directories for all images, beside the `.extra.d` of each.
const COMMON: [&str; 3] = ["/loader/addons", "/loader/credentials", "/loader/extensions"];

/// Ends of names, with the register that such a file is measured into; the first that fits.
const KINDS: [(&str, u32); 4] =
    [(".addon.efi", 12), (".cred", 12), (".confext.raw", 12), (".raw", 13)];

/// Paths of the files that the stub of `image` would take.
///
/// # Errors
/// The file system is broken.
pub fn beside(fat: &Fat<'_>, image: &str) -> Result<Vec<String>> {
    let own = format!("{image}.extra.d");
    let mut found = Vec::new();
    for directory in COMMON.into_iter().chain([own.as_str()]) {
        let names = fat.names(directory)?.into_iter().filter(|name| register(name).is_some());
        found.extend(names.map(|name| format!("{directory}/{name}")));
    }
    Ok(found)
}

fn register(path: &str) -> Option<u32> {
    let path = path.to_ascii_lowercase();
    KINDS.iter().find(|(end, _)| path.ends_with(end)).map(|(_, register)| *register)
}

/// What those files leave unknown: their register, and the command line or initrd of Linux.
pub fn from_beside(files: &[String]) -> Vec<Step> {
    let unknown = |pcr, file: &String| {
        let why = "what systemd-stub takes from beside the UKI is not predicted";
        Step::unknown(pcr, EV_EVENT_TAG, file.as_str(), why)
    };
    let steps = files.iter().flat_map(|file| {
        let own = register(file).map(|pcr| unknown(pcr, file));
        own.into_iter().chain([unknown(9, file)])
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_register() {
        let known = [("a.addon.efi", 12), ("B.CRED", 12), ("c.confext.raw", 12), ("d.raw", 13)];
        known.iter().for_each(|(name, pcr)| assert_eq!(register(name), Some(*pcr)));
        assert_eq!(register("grub.efi"), None);
        let steps = from_beside(&["/loader/extensions/d.raw".into()]);
        assert_eq!(steps.iter().map(|step| step.pcr).collect::<Vec<_>>(), [13, 9]);
    }
}
