//! PCR 1: the boot options that OVMF registers (edk2 `OvmfPkg/Library/PlatformBootManagerLib` and
//! `MdeModulePkg/Library/UefiBootManagerLib`).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::facts::{BOOT_MANAGER_MENU, SHELL, UI_APP};
use super::firmware::{DXE_VOLUME, Firmware};
use crate::format::efi::{firmware_file_path, load_option, path_node};
use crate::format::eventlog::EV_EFI_VARIABLE_BOOT;
use crate::format::guid::Guid;
use crate::measure::event::{Banks, Step};

/// Attributes of a load option (UEFI 2.10 section 3.1.3).
const ACTIVE: u32 = 0x1;
const HIDDEN: u32 = 0x8;
const CATEGORY_APP: u32 = 0x100;

/// Mark of options that the boot manager made itself (`mBmAutoCreateBootOptionGuid`), their
/// optional data.
const AUTO_CREATED: Guid = Guid::of("8108ac4e-9f11-4d59-850e-e21a522c59b2");

/// One `Boot####` variable.
struct BootOption {
    name: String,
    value: Vec<u8>,
}

/// `BootOrder` and the options in it. `disk` is the first entry of QEMU's `bootorder` where the
/// firmware looks for a disk; with `-kernel` the kernel starts before any device is looked at.
pub(super) fn steps(firmware: &Firmware<'_>, disk: Option<&str>, banks: &Banks) -> Vec<Step> {
    let mut options = menus(firmware);
    let mut order: Vec<usize> = (0..options.len()).collect();
    if let Some(disk) = disk {
        match device(disk) {
            Some(option) => {
                order.insert(0, options.len());
                options.push(option);
            }
            None => return alloc::vec![unknown(disk)],
        }
        if firmware.facts.boots_with(SHELL) {
            order.push(options.len());
            // The shell became an application together with the set-up screen (202505).
            let category = if firmware.epoch.firmware_setup { CATEGORY_APP } else { 0 };
            options.push(application("EFI Internal Shell", SHELL, category));
        }
    }
    let numbers = order.iter().filter_map(|number| u16::try_from(*number).ok());
    let value: Vec<u8> = numbers.flat_map(u16::to_le_bytes).collect();
    let mut steps = alloc::vec![banks.step(1, EV_EFI_VARIABLE_BOOT, "BootOrder", &value)];
    for number in order {
        if let Some(option) = options.get(number) {
            let what = format!("Boot{number:04x}: {}", option.name);
            steps.push(banks.step(1, EV_EFI_VARIABLE_BOOT, what, &option.value));
        }
    }
    steps
}

/// The boot manager's menu, and the set-up screen where it is an option of its own; each where the
/// volume has it.
fn menus(firmware: &Firmware<'_>) -> Vec<BootOption> {
    let (menu, name) = match firmware.epoch.firmware_setup {
        true => (BOOT_MANAGER_MENU, "BootManagerMenuApp"),
        false => (UI_APP, "UiApp"),
    };
    let menu =
        firmware.facts.boots_with(menu).then(|| application(name, menu, CATEGORY_APP | HIDDEN));
    let setup = firmware.epoch.firmware_setup && firmware.facts.boots_with(UI_APP);
    let setup = setup.then(|| application("EFI Firmware Setup", UI_APP, CATEGORY_APP));
    menu.into_iter().chain(setup).collect()
}

fn application(name: &str, file: Guid, attributes: u32) -> BootOption {
    let path = firmware_file_path(DXE_VOLUME, file);
    let value = load_option(ACTIVE | attributes, name, &path);
    BootOption { name: name.to_string(), value }
}

/// The option for a device of QEMU's `bootorder`: `/pci@i0cf8/pci-bridge@2,1/scsi@3/disk@0,0` is a
/// virtio disk in slot 3 behind a bridge, which is function 1 of slot 2 of the root bus.
fn device(entry: &str) -> Option<BootOption> {
    // PciRoot(0) is an ACPI node, PNP0A03 compressed (UEFI 2.10 section 10.3.3).
    let mut path = path_node(2, 1, &[0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0]);
    let (bridges, disk) = entry.strip_prefix("/pci@i0cf8/")?.split_once("scsi@")?;
    for bridge in bridges.split_terminator('/') {
        path.extend(function(bridge.strip_prefix("pci-bridge@")?)?);
    }
    path.extend(function(disk.strip_suffix("/disk@0,0")?)?);
    path.extend(path_node(0x7f, 0xff, &[]));
    let name = "UEFI Misc Device";
    let value = [load_option(ACTIVE, name, &path), AUTO_CREATED.0.to_vec()].concat();
    Some(BootOption { name: name.to_string(), value })
}

/// The node of a PCI function, `slot` or `slot,function` in hexadecimal digits.
fn function(unit: &str) -> Option<Vec<u8>> {
    let (slot, function) = unit.split_once(',').unwrap_or((unit, "0"));
    let number = |digits| u8::from_str_radix(digits, 16).ok();
    Some(path_node(1, 1, &[number(function)?, number(slot)?]))
}

fn unknown(entry: &str) -> Step {
    let why = format!(
        "the boot order names `{entry}`; known are virtio disks, as `/pci@i0cf8/scsi@3/disk@0,0`"
    );
    Step::unknown(1, EV_EFI_VARIABLE_BOOT, "BootOrder", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha384;

    #[test]
    fn options_of_known_firmware_have_known_digests() {
        // From logs of guests; that of the disk in slot 3 is of a TD.
        let digest = |option: BootOption| Sha384::of(&option.value).to_string()[..12].to_string();
        assert_eq!(digest(application("UiApp", UI_APP, CATEGORY_APP | HIDDEN)), "23ada07f5261");
        let menu = application("BootManagerMenuApp", BOOT_MANAGER_MENU, CATEGORY_APP | HIDDEN);
        assert_eq!(digest(menu), "5068e6a9ded2");
        assert_eq!(digest(application("EFI Firmware Setup", UI_APP, CATEGORY_APP)), "dd424f2eeb35");
        assert_eq!(digest(application("EFI Internal Shell", SHELL, CATEGORY_APP)), "af47986215d1");
        for (slot, known) in [(1, "1f880024a6be"), (3, "e1ebe64bc230")] {
            let disk = device(&alloc::format!("/pci@i0cf8/scsi@{slot}/disk@0,0"));
            assert_eq!(digest(disk.expect("a virtio disk")), known);
        }
        let behind = device("/pci@i0cf8/pci-bridge@2,1/pci-bridge@0/scsi@a/disk@0,0");
        let path = behind.expect("a virtio disk").value;
        let nodes = [[1, 1, 6, 0, 1, 2], [1, 1, 6, 0, 0, 0], [1, 1, 6, 0, 0, 10]].concat();
        assert!(path.windows(nodes.len()).any(|window| window == nodes));
        for other in [
            "/pci@i0cf8/ethernet@2/ethernet-phy@0",
            "/pci@i0cf8/scsi@3/channel@0/disk@0,0",
            "/pci@i0cf8/other@2/scsi@3/disk@0,0",
            "/pci-root@28/pci@i0cf8/scsi@3/disk@0,0",
        ] {
            assert!(device(other).is_none(), "{other}");
        }
    }
}
