//! QEMU's `virt` machine as a realm (realm-vm.md, «QEMU virt v9.1»; QEMU, hw/arm/virt.c and boot.c).

use alloc::vec::Vec;

use super::tree::{self, Basics, EDGE_RISING, LEVEL_HIGH, PCI_IO, PCI_MEMORY, PCI_MEMORY_64, SPI};
use super::{GIB, Launch, MIB, Memory, Shape, device_tree, kernel, length};
use crate::format::fdt::Node;
use crate::measure::{Error, Guest, Result};

const RAM: u64 = 0x4000_0000;
/// Redistributors that fit below RAM; more of them need a second region.
const LOW_REDISTRIBUTORS: u32 = 0x00f6_0000 / 0x2_0000;
const CLOCK: u32 = 0x8000;

/// Places firmware, kernel, initrd and device tree.
///
/// With firmware, kernel and initrd come through `fw_cfg`, and firmware measures them.
pub(super) fn launch<'a>(guest: &Guest<'a>, shape: &Shape) -> Result<Launch<'a>> {
    let (mut memory, mut booted) = (Memory::default(), Vec::new());
    let (mut dtb_at, mut initrd_at) = (RAM, None);
    if let Some(bytes) = guest.kernel {
        let image = kernel(bytes)?;
        let kernel_at = RAM + image.text_offset;
        let middle = RAM + (shape.memory / 2).min(128 * MIB);
        let start = middle.max(kernel_at.saturating_add(image.image_size));
        let start = start.checked_next_multiple_of(4096).unwrap_or(u64::MAX);
        let size = guest.initrd.map_or(0, length);
        dtb_at = start.saturating_add(size).checked_next_multiple_of(2 * MIB).unwrap_or(u64::MAX);
        let parts = [(kernel_at, "kernel", Some(bytes)), (start, "initrd", guest.initrd)];
        for (ipa, name, part) in parts {
            match (part, guest.firmware) {
                (None, _) => {}
                (Some(part), None) => memory.put(ipa, name, part)?,
                (Some(part), Some(_)) => booted.push((name, part)),
            }
        }
        initrd_at = guest.initrd.map(|initrd| (start, length(initrd)));
    }
    let (mut pc, mut x0) = (RAM, dtb_at);
    if let Some(firmware) = guest.firmware {
        memory.put(0, "firmware", firmware)?;
        (pc, x0, dtb_at) = (0, 0, RAM);
    }
    let regions = Regions::of(shape);
    let bootargs = guest.cmdline;
    let gic = CLOCK + shape.vcpus + 1;
    let basics = Basics {
        memory: (RAM, shape.memory),
        vcpus: shape.vcpus,
        gic,
        bootargs,
        initrd: initrd_at,
    };
    let dtb = device_tree(guest, || machine(&basics, shape, &regions).write())?;
    memory.put(dtb_at, "device tree", dtb.clone())?;
    let steps = memory.steps(RAM, shape, pc, x0)?;
    Ok(Launch { ipa_bits: regions.ipa_bits()?, dtb, steps, booted })
}

/// Regions above RAM, whose places depend on its size.
struct Regions {
    redistributors: u64,
    pci_config: u64,
    pci_memory: u64,
    end: u64,
}

impl Regions {
    fn of(shape: &Shape) -> Self {
        let hotplug = RAM.saturating_add(shape.memory).checked_next_multiple_of(GIB);
        let first = hotplug.unwrap_or(u64::MAX / 2).max(256 * GIB);
        let up = |address: u64, size: u64| address.saturating_add(size - 1) / size * size;
        let (config, pci) = (first + 64 * MIB, first + 320 * MIB);
        Self {
            redistributors: up(first, 64 * MIB),
            pci_config: up(config, 256 * MIB),
            pci_memory: up(pci, 512 * GIB),
            end: pci.saturating_add(512 * GIB),
        }
    }

    /// Bits for the highest address, and one more for the half that is not protected.
    fn ipa_bits(&self) -> Result<u8> {
        let bits = u8::try_from(self.end.ilog2() + 2).ok().filter(|bits| *bits <= 52);
        bits.ok_or_else(|| Error::Unsupported {
            what: "this much memory".into(),
            why: "its addresses do not fit into 52 bits".into(),
        })
    }
}

fn machine(basics: &Basics<'_>, shape: &Shape, regions: &Regions) -> Node {
    let gic = basics.gic;
    let its = shape.its.then_some([0x0808_0000, 0x2_0000]);
    let platform_bus = tree::at("platform-bus", 0x0c00_0000)
        .cells("interrupt-parent", &[gic])
        .cells("ranges", &[0, 0, 0x0c00_0000, 0x0200_0000])
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1])
        .texts("compatible", &["qemu,platform", "simple-bus"]);
    let fw_cfg = tree::at("fw-cfg", 0x0902_0000)
        .flag("dma-coherent")
        .wide("reg", &[0x0902_0000, 0x18])
        .texts("compatible", &["qemu,fw-cfg-mmio"]);
    let mut root = tree::root(basics).child(platform_bus).child(fw_cfg);
    root = (0..32).fold(root, |root, slot| root.child(virtio(slot)));
    root = root.child(pcie(gic, shape, regions));
    root = root.child(tree::rtc([0x0901_0000, 0x1000], CLOCK, 2)).child(uart());
    if shape.pmu {
        root = root.child(tree::pmu());
    }
    let mut reg = alloc::vec![0x0800_0000, 0x1_0000, 0x080a_0000, 0x00f6_0000];
    if shape.vcpus > LOW_REDISTRIBUTORS {
        reg.extend([regions.redistributors, 64 * MIB]);
    }
    root.child(tree::gic(&reg, (gic, gic + 1), its))
        .child(tree::timer(LEVEL_HIGH))
        .child(tree::clock(CLOCK))
}

fn virtio(slot: u32) -> Node {
    let address = 0x0a00_0000 + u64::from(slot) * 0x200;
    tree::at("virtio_mmio", address)
        .flag("dma-coherent")
        .cells("interrupts", &[SPI, 16 + slot, EDGE_RISING])
        .wide("reg", &[address, 0x200])
        .texts("compatible", &["virtio,mmio"])
}

fn uart() -> Node {
    tree::at("pl011", 0x0900_0000)
        .texts("clock-names", &["uartclk", "apb_pclk"])
        .wide("reg", &[0x0900_0000, 0x1000])
        .cells("clocks", &[CLOCK, CLOCK])
        .cells("interrupts", &[SPI, 1, LEVEL_HIGH])
        .texts("compatible", &["arm,pl011", "arm,primecell"])
}

/// All devices share four interrupt lines, turned by one from slot to slot.
fn pcie(gic: u32, shape: &Shape, regions: &Regions) -> Node {
    let pins = (0..4).flat_map(|slot| (0..4).map(move |pin| (slot, pin)));
    let lines: Vec<u32> = pins
        .flat_map(|(slot, pin)| {
            [slot << 11, 0, 0, pin + 1, gic, 0, 0, SPI, 3 + (pin + slot) % 4, LEVEL_HIGH]
        })
        .collect();
    let [high, low] = tree::halves(regions.pci_memory);
    let [size_high, size_low] = tree::halves(512 * GIB);
    let ranges = [
        [PCI_IO, 0, 0, 0, 0x3eff_0000, 0, 0x1_0000],
        [PCI_MEMORY, 0, 0x1000_0000, 0, 0x1000_0000, 0, 0x2eff_0000],
        [PCI_MEMORY_64, high, low, high, low, size_high, size_low],
    ];
    let node = tree::at("pcie", 0x1000_0000)
        .cells("interrupt-map", &lines)
        .cells("interrupt-map-mask", &[3 << 11, 0, 0, 7])
        .cells("#interrupt-cells", &[1])
        .cells("ranges", ranges.as_flattened())
        .wide("reg", &[regions.pci_config, 256 * MIB]);
    let node = if shape.its { node.cells("msi-map", &[0, gic + 1, 0, 0x1_0000]) } else { node };
    node.flag("dma-coherent")
        .cells("bus-range", &[0, 0xff])
        .cells("linux,pci-domain", &[0])
        .cells("#size-cells", &[2])
        .cells("#address-cells", &[3])
        .texts("device_type", &["pci"])
        .texts("compatible", &["pci-host-ecam-generic"])
}
