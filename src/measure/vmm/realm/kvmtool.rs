//! kvmtool as the VMM of a realm (realm-vm.md, «Kvmtool»; kvmtool, arm/kvm.c and arm/fdt.c).

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use super::tree::{self, Basics, LEVEL_HIGH, LEVEL_LOW, PCI_IO, PCI_MEMORY, SPI};
use super::{Launch, MIB, Memory, Shape, device_tree, kernel, length};
use crate::format::fdt::Node;
use crate::measure::{Error, Guest, Result};

const RAM: u64 = 0x8000_0000;
/// The device tree fills this much, with zeros behind it.
const DTB_SIZE: u64 = 0x1_0000;
const GIC: u32 = 1;
const ITS: u32 = 2;
const DISTRIBUTOR: u64 = 0x3fff_0000;

/// Places kernel, initrd, firmware and device tree.
pub(super) fn launch<'a>(guest: &Guest<'a>, shape: &Shape) -> Result<Launch<'a>> {
    if !shape.memory.is_multiple_of(2 * MIB) || shape.memory < 4 * MIB {
        return Err(Error::Unsupported {
            what: format!("{:#x} bytes of memory under kvmtool", shape.memory),
            why: "a realm's memory is a multiple of 2 MiB there, and at least 4 MiB".into(),
        });
    }
    let mut memory = Memory::default();
    let limit = RAM.saturating_add(shape.memory).min(RAM + 256 * MIB);
    let dtb_at = (limit - 2 * MIB - DTB_SIZE).next_multiple_of(2 * MIB);
    let mut pc = 0;
    if let Some(bytes) = guest.kernel {
        memory.put(RAM + kernel(bytes)?.text_offset, "kernel", bytes)?;
        pc = RAM;
    }
    let mut initrd_at = None;
    if let Some(initrd) = guest.initrd {
        let start = dtb_at.checked_sub(length(initrd) + 4).filter(|start| *start >= RAM);
        let start = start.ok_or_else(|| Error::Unsupported {
            what: "this initrd".into(),
            why: "it is larger than the memory below the device tree".into(),
        })?;
        let start = start.next_multiple_of(4);
        memory.put(start, "initrd", initrd)?;
        initrd_at = Some((start, length(initrd)));
    }
    if let Some(firmware) = guest.firmware {
        memory.put(RAM, "firmware", firmware)?;
        pc = RAM;
    }
    let bootargs = bootargs(guest.cmdline.unwrap_or_default());
    let basics = Basics {
        memory: (RAM, shape.memory),
        vcpus: shape.vcpus,
        gic: GIC,
        bootargs: Some(&bootargs),
        initrd: initrd_at,
    };
    let dtb = filled(device_tree(guest, || machine(&basics, shape).write())?)?;
    memory.put(dtb_at, "device tree", dtb.clone())?;
    let steps = memory.steps(RAM, shape, pc, dtb_at)?;
    let last = RAM.saturating_add(shape.memory - 1);
    let ipa_bits = u8::try_from(last.ilog2().max(32) + 1).unwrap_or(u8::MAX);
    Ok(Launch { ipa_bits, dtb, steps, booted: Vec::new() })
}

/// kvmtool puts words of its own before the user's.
fn bootargs(given: &str) -> alloc::string::String {
    let own = " console=hvc0 root=/dev/vda rw ";
    if given.is_empty() { own.into() } else { format!("{own} {given}") }
}

fn filled(dtb: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>> {
    let size = usize::try_from(DTB_SIZE).unwrap_or(usize::MAX);
    if dtb.len() > size {
        return Err(Error::Unsupported {
            what: format!("a device tree of {} bytes under kvmtool", dtb.len()),
            why: format!("it has room for {size}"),
        });
    }
    let mut filled = dtb.into_owned();
    filled.resize(size, 0);
    Ok(filled.into())
}

fn machine(basics: &Basics<'_>, shape: &Shape) -> Node {
    let mut root = tree::root(basics).child(gic(shape)).child(tree::timer(LEVEL_LOW));
    if shape.pmu {
        root = root.child(tree::pmu());
    }
    root = (0..4).fold(root, |root, number| root.child(uart(number)));
    let rtc = tree::at("rtc", 0x0101_0000)
        .texts("compatible", &["motorola,mc146818"])
        .wide("reg", &[0x0101_0000, 2]);
    root.child(rtc).child(pci(shape))
}

/// One redistributor per vCPU below the distributor, and the ITS below them.
fn gic(shape: &Shape) -> Node {
    let redistributors = u64::from(shape.vcpus) * 0x2_0000;
    let below = DISTRIBUTOR - redistributors;
    let gic = Node::new("intc")
        .texts("compatible", &["arm,gic-v3"])
        .cells("#interrupt-cells", &[3])
        .flag("interrupt-controller")
        .wide("reg", &[DISTRIBUTOR, 0x1_0000, below, redistributors])
        .cells("phandle", &[GIC])
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .flag("ranges");
    if !shape.its {
        return gic;
    }
    gic.child(
        Node::new("msic")
            .texts("compatible", &["arm,gic-v3-its"])
            .flag("msi-controller")
            .cells("phandle", &[ITS])
            .wide("reg", &[below - 0x2_0000, 0x2_0000]),
    )
}

fn uart(number: u32) -> Node {
    let address = 0x0100_0000 + u64::from(number) * 0x1000;
    tree::at("U6_16550A", address)
        .texts("compatible", &["ns16550a"])
        .wide("reg", &[address, 8])
        .cells("interrupts", &[SPI, number, LEVEL_HIGH])
        .cells("clock-frequency", &[1_843_200])
}

fn pci(shape: &Shape) -> Node {
    let ranges = [
        [PCI_IO, 0, 0, 0, 0, 0, 0x1_0000],
        [PCI_MEMORY, 0, 0x5000_0000, 0, 0x5000_0000, 0, 0x3000_0000],
    ];
    let lines: Vec<u32> = (0..32)
        .flat_map(|slot| [slot << 11, 0, 0, 1, GIC, 0, 0, SPI, 64 + slot, LEVEL_HIGH])
        .collect();
    let node = tree::at("pci", 0x4000_0000)
        .texts("device_type", &["pci"])
        .cells("#address-cells", &[3])
        .cells("#size-cells", &[2])
        .flag("dma-coherent")
        .cells("bus-range", &[0, 0])
        .texts("compatible", &["pci-host-ecam-generic"])
        .wide("reg", &[0x4000_0000, 1 << 28])
        .cells("ranges", ranges.as_flattened())
        .cells("interrupt-map", &lines)
        .cells("interrupt-map-mask", &[0x1f << 11, 0, 0, 7])
        .cells("#interrupt-cells", &[1]);
    if shape.its { node.cells("msi-map", &[0, ITS, 0, 0x1_0000]) } else { node }
}
