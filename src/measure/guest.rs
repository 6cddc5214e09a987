//! What boots: the files of a guest, by the names that recipes and the command line use.

use alloc::vec::Vec;
use core::fmt;

use super::Result;
use super::uefi::Facts;
use crate::digest::{Prefix256, Sha256};

/// What boots: the bytes that reach the TEE, borrowed from the caller.
#[derive(Debug, Clone, Default)]
pub struct Guest<'a> {
    /// Firmware image, as given to the VMM (`OVMF.fd`, a TDVF, an EC2 image).
    pub firmware: Option<&'a [u8]>,
    /// Variable store beside the firmware (`OVMF_VARS.fd`), where it is a file of its own.
    pub vars: Option<&'a [u8]>,
    /// Kernel image, whole and unpatched; a UKI where the VMM loads one by `-kernel`.
    pub kernel: Option<&'a [u8]>,
    /// Initial RAM disk, whole.
    pub initrd: Option<&'a [u8]>,
    /// Kernel command line, without terminator.
    pub cmdline: Option<&'a str>,
    /// IGVM file that carries the whole launch.
    pub igvm: Option<&'a [u8]>,
    /// Flattened device tree that the VMM hands to the guest.
    pub dtb: Option<&'a [u8]>,
    /// Disk image that the firmware boots from.
    pub disk: Option<&'a [u8]>,
    /// An image that is the whole guest: Secure Execution image, enclave image, enclave.
    pub image: Option<&'a [u8]>,
    /// SNP firmware by its digest, where the image is not at hand.
    pub precomputed: Option<&'a super::ovmf::Precomputed>,
    /// Who keeps the facts about firmware images; where nobody does, the image is unpacked.
    pub facts: Option<Keeper<'a>>,
    /// What is known of the files already. Whoever gives it measures the same bytes many times and
    /// asks for registers alone: doubts are not looked for.
    pub known: Option<&'a Known<'a>>,
    /// Files that only one TEE reads, by the names in its row.
    pub others: Vec<(&'a str, &'a [u8])>,
}

/// One who tells the facts about a firmware image, from memory where it was looked through before.
#[derive(Clone, Copy)]
pub struct Keeper<'a>(pub &'a (dyn Fn(&[u8]) -> Result<Facts> + Sync));

impl fmt::Debug for Keeper<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// Files that were hashed already, found again by their place in memory.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    files: Vec<(&'a [u8], Prefix256)>,
}

impl<'a> Known<'a> {
    /// Hashes `files`.
    pub fn of(files: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { files: files.into_iter().map(|bytes| (bytes, Prefix256::of([bytes]))).collect() }
    }

    fn get(&self, bytes: &[u8]) -> Option<&Prefix256> {
        let found = self.files.iter().find(|(known, _)| core::ptr::eq(*known, bytes));
        found.map(|(_, prefix)| prefix)
    }
}

/// A file of a guest: its name in [`Guest`], and `--NAME` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Name: `kernel`.
    pub name: &'static str,
    /// One line for help and docs.
    pub about: &'static str,
}

/// [`Guest::firmware`].
pub const FIRMWARE: File =
    File { name: "firmware", about: "Firmware image, as given to the VMM (OVMF.fd)" };
/// [`Guest::vars`].
pub const VARS: File =
    File { name: "vars", about: "Variable store beside the firmware (OVMF_VARS.fd)" };
/// [`Guest::kernel`].
pub const KERNEL: File = File { name: "kernel", about: "Kernel image, whole" };
/// [`Guest::initrd`].
pub const INITRD: File = File { name: "initrd", about: "Initial RAM disk, whole" };
/// [`Guest::cmdline`]; the one entry whose flag takes the text itself.
pub const CMDLINE: File =
    File { name: "cmdline", about: "Kernel command line, exact, without terminator" };
/// [`Guest::igvm`].
pub const IGVM: File = File { name: "igvm", about: "IGVM file that carries the whole launch" };
/// [`Guest::dtb`].
pub const DTB: File = File { name: "dtb", about: "Device tree that the VMM hands to the guest" };
/// [`Guest::disk`].
pub const DISK: File = File { name: "disk", about: "Disk image that the firmware boots from" };
/// [`Guest::image`].
pub const IMAGE: File = File { name: "image", about: "An image that is the whole guest" };

impl<'a> Guest<'a> {
    /// The file called `name`, if it was given.
    pub fn file(&self, name: &str) -> Option<&'a [u8]> {
        let other = || self.others.iter().find(|(known, _)| *known == name);
        match name {
            "firmware" => self.firmware,
            "vars" => self.vars,
            "kernel" => self.kernel,
            "initrd" => self.initrd,
            "cmdline" => self.cmdline.map(str::as_bytes),
            "igvm" => self.igvm,
            "dtb" => self.dtb,
            "disk" => self.disk,
            "image" => self.image,
            _ => other().map(|(_, bytes)| *bytes),
        }
    }

    /// What the volumes of the firmware `image` tell.
    ///
    /// # Errors
    /// It has none, or broken ones.
    pub fn facts(&self, image: &[u8]) -> Result<Facts> {
        self.facts.map_or_else(|| Facts::read(image), |Keeper(tell)| tell(image))
    }

    /// SHA-256 over `bytes`, a file of this guest, to be continued.
    pub fn prefix(&self, bytes: &[u8]) -> Prefix256 {
        let known = self.known.and_then(|known| known.get(bytes));
        known.cloned().unwrap_or_else(|| Prefix256::of([bytes]))
    }

    /// SHA-256 of `bytes`, a file of this guest.
    pub fn sha256(&self, bytes: &[u8]) -> Sha256 {
        self.prefix(bytes).digest([])
    }

    /// The place of the file called `name`, where it is one that several TEEs read.
    pub fn place(&mut self, name: &str) -> Option<&mut Option<&'a [u8]>> {
        match name {
            "firmware" => Some(&mut self.firmware),
            "vars" => Some(&mut self.vars),
            "kernel" => Some(&mut self.kernel),
            "initrd" => Some(&mut self.initrd),
            "igvm" => Some(&mut self.igvm),
            "dtb" => Some(&mut self.dtb),
            "disk" => Some(&mut self.disk),
            "image" => Some(&mut self.image),
            _ => None,
        }
    }
}
