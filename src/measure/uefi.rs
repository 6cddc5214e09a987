//! Measured boot of OVMF: the events of a boot in their order, before they are mapped to registers.
//! `docs/measure/vtpm.md` and `docs/measure/tdx.md` say where each stands in the sources.

mod boot_options;
mod facts;
mod firmware;
mod pei;
mod secure_boot;
mod smbios;

pub use facts::Facts;
pub use firmware::{EPOCHS, Epoch, Firmware};

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::event::{Banks, Step};
use super::linux::{self, Stub};
use super::machine::{Kind, Setting};
use super::uki::{self, Outside, Uki};
use super::{Error, Guest, Machine, Result};
use crate::format::eventlog::{
    Algorithm, EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_DRIVER, EV_EFI_GPT_EVENT, EV_EFI_HANDOFF_TABLES,
    EV_EFI_RUNTIME_SERVICES_DRIVER, EV_IPL, EV_PLATFORM_CONFIG_FLAGS, EV_SEPARATOR,
};
use crate::format::fat::Fat;
use crate::format::gpt::{BLOCK, EFI_SYSTEM, Gpt};
use crate::format::pe::Pe;
use crate::format::{self, acpi, fw_cfg, option_rom};

/// Where firmware looks for a system on a disk that no boot option names (UEFI 2.10 section
/// 3.5.1.1).
const DEFAULT_IMAGE: &str = "/EFI/BOOT/BOOTX64.EFI";

/// Subsystem of a driver that stays while the system runs (UEFI 2.10 section 2.1.1).
const SUBSYSTEM_RUNTIME: u16 = 12;

/// `bootorder` of a guest that QEMU starts by `-kernel`.
const KERNEL_BOOT_ORDER: &[u8] = b"/rom@genroms/linuxboot_dma.bin\0";

/// Whether a stub that could hand the guest a secret of the machine does not.
pub const NO_BOOT_SECRET: Setting = Setting {
    name: "no-boot-secret",
    about: "systemd-stub adds no secret to the initrd: the disk is read-only, or the firmware has no \
            random numbers",
    kind: Kind::Flag,
};

/// The boot that is predicted: firmware and files once, whatever number of machines.
pub struct Boot<'a> {
    /// The firmware.
    pub firmware: Firmware<'a>,
    banks: Banks,
    trust: Trust,
    guest: Guest<'a>,
    image: Cow<'a, [u8]>,
    beside: Vec<String>,
    /// Its stub may hand the guest a secret of the machine.
    secret: bool,
    kernels: BTreeMap<Vec<u8>, Step>,
    start: Vec<Step>,
    load: Vec<Step>,
}

/// What a TEE's firmware does otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust {
    /// The guest is a TD: fw_cfg is measured, and QEMU leaves the kernel alone from 10.2 on.
    pub td: bool,
}

impl<'a> Boot<'a> {
    /// Reads what all machines share.
    ///
    /// # Errors
    /// A file is missing or broken.
    pub fn new(
        guest: &Guest<'a>,
        epoch: Option<&str>,
        banks: Vec<Algorithm>,
        trust: Trust,
    ) -> Result<Self> {
        let firmware =
            guest.firmware.ok_or_else(|| missing("firmware", "its events come first"))?;
        // A TD's code is in MRTD, and no register stands for PCR 0: its facts will do.
        let firmware = match trust.td {
            true => Firmware::known(guest.facts(firmware)?, firmware, guest.vars, epoch)?,
            false => Firmware::read(firmware, guest.vars, epoch)?,
        };
        let banks = Banks::new(banks);
        let (image, beside) = match (guest.kernel, guest.disk) {
            (Some(kernel), _) => (Cow::Borrowed(kernel), Vec::new()),
            (None, Some(_)) if guest.initrd.is_some() || guest.cmdline.is_some() => {
                let what = "an initrd or a command line beside a disk".to_string();
                let why = "QEMU hands them over with a kernel only".to_string();
                return Err(Error::Unsupported { what, why });
            }
            (None, Some(disk)) => {
                let (image, beside) = system_image(disk)?;
                (Cow::Owned(image), beside)
            }
            (None, None) => return Err(missing("kernel", "or a disk: something has to boot")),
        };
        let secret = match guest.kernel {
            Some(_) => false,
            None => Uki::parse(&image, "disk")?.is_some_and(|uki| uki.has_boot_secret()),
        };
        let mut start = if trust.td { Vec::new() } else { firmware.code(&banks) };
        start.extend(secure_boot::variables(&firmware, &banks));
        start.push(banks.step(7, EV_SEPARATOR, "separator", &[0; 4]));
        let kernels = BTreeMap::new();
        let mut boot = Self {
            firmware,
            banks,
            trust,
            guest: guest.clone(),
            image,
            beside,
            secret,
            kernels,
            start,
            load: Vec::new(),
        };
        boot.load = boot.linux_events();
        Ok(boot)
    }

    /// Name of the input that boots, for messages.
    fn input(&self) -> &'static str {
        if self.guest.kernel.is_some() { "kernel" } else { "disk" }
    }

    /// Load options and initrd of a direct boot, as far as the kernel's stub measures them.
    fn linux_events(&self) -> Vec<Step> {
        let stub = Stub::of(&self.image, self.trust.td);
        let options = Some(self.options()).filter(|options| !options.is_empty());
        stub.steps(&self.banks, options.as_deref(), self.initrd().unwrap_or_default())
    }

    /// The RAM disk of a direct boot; an empty one is none.
    fn initrd(&self) -> Option<&'a [u8]> {
        self.guest.initrd.filter(|initrd| !initrd.is_empty())
    }

    /// The command line as the firmware passes it on, byte by byte widened (edk2
    /// `GenericQemuLoadImageLib`, `UnicodeSPrintAsciiFormat`); nothing where there is none.
    fn options(&self) -> String {
        let cmdline = given(self.guest.cmdline);
        match (self.initrd(), self.firmware.epoch.initrd_first) {
            (None, _) => cmdline,
            (Some(_), true) => format!("initrd=initrd {cmdline}"),
            (Some(_), false) => format!("{cmdline} initrd=initrd"),
        }
    }

    /// What `register`, which holds load options and RAM disk, does not cover or may hold beside what
    /// is predicted.
    pub fn doubt(&self, register: &str, machine: &Machine) -> Option<String> {
        if self.guest.kernel.is_some() {
            let stub = linux::is_linux(&self.image).then(|| Stub::of(&self.image, self.trust.td));
            return stub?.doubt(register);
        }
        (self.secret && !machine.flag(NO_BOOT_SECRET.name)).then(|| {
            format!(
                "{register} is that of a guest without boot secret: this systemd-stub adds one to the \
                 initrd, another on each machine, where the disk can be written and the firmware has \
                 random numbers (RDRAND, virtio-rng); state --no-boot-secret where it does not"
            )
        })
    }

    /// Every event of a boot on `machine`, in order.
    ///
    /// # Errors
    /// A file is broken, or does not fit the machine.
    pub fn steps(&mut self, machine: &Machine) -> Result<Vec<Step>> {
        let bundle = self.fw_cfg(machine)?;
        let epoch = self.firmware.epoch;
        let mut steps = Vec::new();
        if self.trust.td && epoch.fw_cfg {
            steps.extend(self.fw_cfg_steps(bundle.as_ref()));
        }
        steps.extend(self.start.iter().cloned());
        steps.extend(self.acpi(bundle.as_ref()));
        let direct = self.guest.kernel.is_some();
        let smbios = bundle.as_ref().and_then(|files| files.get("etc/smbios/smbios-tables"));
        let structures = smbios.and_then(|tables| smbios::structures(tables));
        let image = self.image_steps(machine)?;
        let handoff = epoch.smbios.then(|| self.smbios(structures.as_deref()));
        if direct {
            steps.extend(image.iter().cloned());
        }
        steps.extend(self.option_roms(bundle.as_ref())?);
        // With management mode the drivers come up in another order, and SMBIOS is measured last.
        let (first, last) = if self.firmware.facts.smm { (None, handoff) } else { (handoff, None) };
        steps.extend(first);
        let disk = self.disk_entry(bundle.as_ref());
        steps.extend(boot_options::steps(&self.firmware, disk.as_deref(), &self.banks));
        let action = |pcr, text: &str| self.banks.step(pcr, EV_EFI_ACTION, text, text.as_bytes());
        steps.push(action(4, "Calling EFI Application from Boot Option"));
        steps.extend((0..7).map(|pcr| self.banks.step(pcr, EV_SEPARATOR, "separator", &[0; 4])));
        steps.extend(last);
        if !direct {
            steps.extend(image);
        }
        steps.extend(self.loader_steps(structures.as_deref())?);
        steps.push(action(5, "Exit Boot Services Invocation"));
        steps.push(action(5, "Exit Boot Services Returned with Success"));
        steps.extend(uki::phases(&self.banks, machine.text("phase").unwrap_or_default()));
        Ok(steps)
    }

    /// The fw_cfg files for `machine`, where a bundle was given.
    fn fw_cfg(&self, machine: &Machine) -> Result<Option<fw_cfg::Files<'a>>> {
        let Some(bundle) = self.guest.file("acpi") else { return Ok(None) };
        let (vcpus, memory) = (machine.vcpus.unwrap_or(1), machine.memory.unwrap_or(0));
        let files = fw_cfg::files(bundle, &fw_cfg::shape(vcpus, memory));
        let files = files.and_then(|files| of_shape(&files, machine).map(|()| files));
        files.map(Some).map_err(|error| Error::Input { input: "acpi", error })
    }

    /// What a TD measures of fw_cfg before anything else (edk2 `QemuFwCfgCacheInit.c`).
    fn fw_cfg_steps(&self, files: Option<&fw_cfg::Files<'_>>) -> Vec<Step> {
        let step = |name: &str, bytes: &[u8]| {
            self.banks.step(1, EV_PLATFORM_CONFIG_FLAGS, format!("fw_cfg {name}"), bytes)
        };
        let file = |name: &str, size| {
            let found = files.and_then(|files| files.get(name)).filter(|bytes| !bytes.is_empty());
            found.filter(|bytes| size == 0 || bytes.len() == size).map(|bytes| step(name, bytes))
        };
        let mut steps = Vec::new();
        steps.extend(file("etc/extra-pci-roots", 8));
        steps.push(step("BootMenu", &[0; 2]));
        steps.extend(file("etc/boot-menu-wait", 2));
        steps.extend(file("etc/reserved-memory-end", 8));
        steps.extend(file("opt/ovmf/X-PciMmio64Mb", 0));
        match (file("bootorder", 0), self.guest.kernel.is_some()) {
            (Some(given), _) => steps.push(given),
            (None, true) => steps.push(step("bootorder", KERNEL_BOOT_ORDER)),
            (None, false) => {}
        }
        steps
    }

    /// ACPI blobs, in the order in which the firmware fetches them.
    fn acpi(&self, files: Option<&fw_cfg::Files<'_>>) -> Vec<Step> {
        if !self.firmware.epoch.acpi {
            return Vec::new();
        }
        let unknown =
            |why: &str| alloc::vec![Step::unknown(1, EV_PLATFORM_CONFIG_FLAGS, "ACPI tables", why)];
        let Some(files) = files else {
            return unknown("QEMU makes them; give its fw_cfg files with --acpi");
        };
        let Some(script) = files.get("etc/table-loader") else {
            return unknown("the fw_cfg files given have no `etc/table-loader`");
        };
        let names = match acpi::fetched(script) {
            Ok(names) => names,
            Err(error) => return unknown(&error.to_string()),
        };
        let step = |name: &str, bytes: &[u8]| {
            self.banks.step(1, EV_PLATFORM_CONFIG_FLAGS, format!("ACPI {name}"), bytes)
        };
        let mut steps = alloc::vec![step("etc/table-loader", script)];
        for name in names {
            match files.get(&name) {
                Some(bytes) => steps.push(step(&name, bytes)),
                None => return unknown(&format!("the fw_cfg files given have no `{name}`")),
            }
        }
        steps
    }

    /// Drivers in the ROMs of PCI devices; confidential guests take none (edk2
    /// `OvmfPkg/IncompatiblePciDeviceSupportDxe`).
    fn option_roms(&self, files: Option<&fw_cfg::Files<'_>>) -> Result<Vec<Step>> {
        let bundle = files.and_then(|files| files.get(fw_cfg::OPTION_ROMS));
        let Some(bundle) = bundle.filter(|_| !self.trust.td) else { return Ok(Vec::new()) };
        let input = |error| Error::Input { input: "acpi", error };
        let mut steps = Vec::new();
        for (device, rom) in fw_cfg::files(bundle, "").map_err(input)? {
            let what = format!("driver in the ROM of PCI device {device}");
            if rom.is_empty() {
                let why = "ROMs are read on PCI bus 0 alone; give the device `romfile=` where it need \
                           not boot";
                steps.push(Step::unknown(2, EV_EFI_BOOT_SERVICES_DRIVER, what, why));
                continue;
            }
            for driver in option_rom::drivers(rom).map_err(input)? {
                let kind = match driver.subsystem {
                    SUBSYSTEM_RUNTIME => EV_EFI_RUNTIME_SERVICES_DRIVER,
                    _ => EV_EFI_BOOT_SERVICES_DRIVER,
                };
                let digests =
                    self.banks.digests(&Pe::parse(&driver.image).map_err(input)?.authenticode());
                steps.push(Step { pcr: 2, kind, what: what.clone(), digests });
            }
        }
        Ok(steps)
    }

    /// SMBIOS tables as the firmware assembles them.
    fn smbios(&self, structures: Option<&[&[u8]]>) -> Step {
        let what = "SMBIOS tables";
        match (structures, &self.firmware.facts.identity) {
            (Some(structures), Some(identity)) => {
                let bytes = smbios::measured(structures, identity);
                self.banks.step(1, EV_EFI_HANDOFF_TABLES, what, &bytes)
            }
            (None, _) => {
                let why = "QEMU makes them; give `etc/smbios/smbios-tables` with --acpi";
                Step::unknown(1, EV_EFI_HANDOFF_TABLES, what, why)
            }
            (_, None) => {
                let why = "the firmware's vendor and date could not be told from its volumes";
                Step::unknown(1, EV_EFI_HANDOFF_TABLES, what, why)
            }
        }
    }

    /// The first disk of QEMU's boot order, where a disk boots.
    fn disk_entry(&self, files: Option<&fw_cfg::Files<'_>>) -> Option<String> {
        if self.guest.kernel.is_some() {
            return None;
        }
        let order = files.and_then(|files| files.get("bootorder")).copied().unwrap_or_default();
        let order = String::from_utf8_lossy(order.split(|byte| *byte == 0).next().unwrap_or(&[]));
        let first = order.lines().next().unwrap_or("no device: give `bootorder` with --acpi");
        Some(first.to_string())
    }

    /// The image that the firmware loads: what allows it, its partition table, itself.
    fn image_steps(&mut self, machine: &Machine) -> Result<Vec<Step>> {
        let input = self.input();
        let mut steps = Vec::new();
        steps.extend(secure_boot::authority(&self.firmware, &self.banks, &self.image, input)?);
        let verified = !steps.is_empty();
        if let (None, Some(disk)) = (self.guest.kernel, self.guest.disk) {
            let table = Gpt::parse(disk).map_err(|error| Error::Input { input, error })?;
            let measured = table.measured();
            steps.push(self.banks.step(5, EV_EFI_GPT_EVENT, "partition table", &measured));
        }
        let header = self.header(machine);
        if verified && !header.is_empty() {
            return Err(Error::Unsupported {
                what: "Secure Boot with a kernel that QEMU patches".to_string(),
                why: "the change breaks its signature, so the firmware would not start it: QEMU \
                      10.0 with firmware from edk2-stable202502 on leaves it alone, and so does \
                      every QEMU a UKI"
                    .to_string(),
            });
        }
        let step = match self.kernels.get(&header) {
            Some(known) => known.clone(),
            None => {
                let mut image = Cow::Borrowed(&self.image[..]);
                if !header.is_empty() {
                    image.to_mut().splice(..header.len().min(self.image.len()), header.clone());
                }
                let step = uki::image(&self.banks, &image, input)?;
                self.kernels.insert(header, step.clone());
                step
            }
        };
        steps.push(step);
        Ok(steps)
    }

    /// The first bytes of the kernel, as QEMU leaves them.
    fn header(&self, machine: &Machine) -> Vec<u8> {
        let direct = self.guest.kernel.is_some();
        let takes_named = self.firmware.epoch.named_kernel;
        let patched = linux::is_patched(&machine.vmm, takes_named, self.trust.td);
        if !direct || !patched || !linux::is_linux(&self.image) {
            return Vec::new();
        }
        let initrd = self.initrd().map_or(0, <[u8]>::len);
        let (memory, cmdline) = (machine.memory.unwrap_or(0), self.guest.cmdline);
        let header =
            linux::patched_header(&self.image, initrd, memory, cmdline.unwrap_or_default());
        header.into_owned()
    }

    /// What runs between firmware and system: systemd-stub and the kernel's own.
    fn loader_steps(&self, smbios: Option<&[&[u8]]>) -> Result<Vec<Step>> {
        let input = self.input();
        if let Some(uki) = Uki::parse(&self.image, input)? {
            if self.guest.initrd.is_some() {
                let what = "an initrd beside a UKI".to_string();
                let why = "the image carries its own; give one of them".to_string();
                return Err(Error::Unsupported { what, why });
            }
            let options = given(self.guest.cmdline);
            let outside = Outside {
                smbios,
                verified: secure_boot::enforced(&self.firmware),
                confidential: self.trust.td,
                options: &options,
            };
            let mut steps = uki.steps(&self.banks, input, &outside)?;
            steps.extend(uki::from_beside(&self.beside));
            return Ok(steps);
        }
        match linux::is_linux(&self.image) {
            true => Ok(self.load.clone()),
            false => Ok(of_a_loader(input)),
        }
    }
}

/// A command line as firmware hands it on: each byte is a character of its own.
fn given(cmdline: Option<&str>) -> String {
    cmdline.unwrap_or_default().bytes().map(char::from).collect()
}

/// What a program leaves unknown that is neither Linux nor a UKI.
fn of_a_loader(input: &str) -> Vec<Step> {
    let why = "only Linux and UKIs are predicted, and the image that starts is neither";
    let what = format!("what the boot loader in the {input} measures");
    let unknown = |pcr| Step::unknown(pcr, EV_IPL, what.as_str(), why);
    [4, 5, 7, 8, 9, 11, 12, 13, 14].map(unknown).to_vec()
}

/// Refuses fw_cfg files of a machine with other processors or other memory, as far as they tell.
fn of_shape(files: &fw_cfg::Files<'_>, machine: &Machine) -> format::Result<()> {
    let wrong = |what, offset, found: String, expected: String| {
        Err(format::Error::Value { what, offset, found, expected })
    };
    let processors = files.get("etc/acpi/tables").and_then(|tables| acpi::processors(tables));
    if let (Some((offset, found)), Some(stated)) = (processors, machine.vcpus)
        && found != stated
    {
        let what = "number of processors in the ACPI tables";
        return wrong(what, offset, found.to_string(), format!("{stated}, as the machine has"));
    }
    let memory = files.get("etc/e820").and_then(|e820| acpi::memory(e820));
    if let (Some(found), Some(stated)) = (memory, machine.memory)
        && found != stated
    {
        let what = "memory in `etc/e820`";
        return wrong(what, 0, format!("{found} bytes"), format!("{stated}, as the machine has"));
    }
    Ok(())
}

/// The image that firmware starts from a disk, and the files that systemd-stub would take from beside
/// it.
fn system_image(disk: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
    let input = |error| Error::Input { input: "disk", error };
    let table = Gpt::parse(disk).map_err(input)?;
    let system = table.find(EFI_SYSTEM).ok_or_else(|| {
        missing("an EFI system partition on the disk", "the firmware finds nothing to start")
    })?;
    let block = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(BLOCK);
    let (first, last) = system.blocks;
    let bytes = disk.get(block(first)..block(last.saturating_add(1)).min(disk.len()));
    let fat = Fat::open(bytes.unwrap_or_default()).map_err(input)?;
    let beside = uki::beside(&fat, DEFAULT_IMAGE).map_err(input)?;
    Ok((fat.read(DEFAULT_IMAGE).map_err(input)?, beside))
}

fn missing(what: &'static str, why: &str) -> Error {
    Error::Missing { tee: "measured boot", what, why: why.to_string() }
}
