//! cloud-hypervisor as the VMM of a realm (cloud-hypervisor, arch/src/aarch64/layout.rs; its realm
//! support is a branch that never was released, so the numbers follow cca-realm-measurements).

use alloc::vec::Vec;

use super::tree::{self, Basics, EDGE_RISING, LEVEL_HIGH, PCI_IO, PCI_MEMORY, PCI_MEMORY_64, SPI};
use super::{Launch, Memory, Shape, device_tree, kernel, length};
use crate::format::fdt::Node;
use crate::measure::tee::cca::GRANULE;
use crate::measure::{Error, Guest, Result};

const RAM: u64 = 0x4000_0000;
const KERNEL: u64 = RAM + 0x40_0000;
const GIC: u32 = 1;
const ITS: u32 = 2;
const CLOCK: u32 = 3;
const DISTRIBUTOR: u64 = 0x08ff_0000;

/// Places kernel, initrd (at the top of memory) and device tree; there is no firmware boot.
pub(super) fn launch<'a>(guest: &Guest<'a>, shape: &Shape) -> Result<Launch<'a>> {
    if guest.firmware.is_some() {
        return Err(Error::Unsupported {
            what: "firmware under cloud-hypervisor".into(),
            why: "its realms boot a kernel directly".into(),
        });
    }
    let mut memory = Memory::default();
    if let Some(bytes) = guest.kernel {
        memory.put(KERNEL + kernel(bytes)?.text_offset, "kernel", bytes)?;
    }
    let mut initrd_at = None;
    if let Some(initrd) = guest.initrd {
        let top = RAM.saturating_add(shape.memory);
        let start = top.checked_sub(length(initrd).next_multiple_of(GRANULE));
        let start = start.filter(|start| *start >= RAM).ok_or_else(|| Error::Unsupported {
            what: "this initrd".into(),
            why: "it is larger than the memory".into(),
        })?;
        memory.put(start, "initrd", initrd)?;
        initrd_at = Some((start, length(initrd)));
    }
    let (vcpus, bootargs) = (shape.vcpus, guest.cmdline);
    let basics =
        Basics { memory: (RAM, shape.memory), vcpus, gic: GIC, bootargs, initrd: initrd_at };
    let dtb = device_tree(guest, || machine(&basics, shape).write())?;
    memory.put(RAM, "device tree", dtb.clone())?;
    let steps = memory.steps(RAM, shape, KERNEL, RAM)?;
    Ok(Launch { ipa_bits: 48, dtb, steps, booted: Vec::new() })
}

fn machine(basics: &Basics<'_>, shape: &Shape) -> Node {
    let redistributors = u64::from(shape.vcpus) * 0x2_0000;
    let below = DISTRIBUTOR - redistributors;
    let reg = [DISTRIBUTOR, 0x1_0000, below, redistributors];
    let uart = tree::at("pl011", 0x0900_0000)
        .texts("clock-names", &["apb_pclk"])
        .wide("reg", &[0x0900_0000, 0x1000])
        .cells("clocks", &[CLOCK])
        .cells("interrupts", &[SPI, 0xb, EDGE_RISING])
        .texts("compatible", &["arm,pl011", "arm,primecell"]);
    tree::root(basics)
        .child(tree::gic(&reg, (GIC, ITS), Some([below - 0x2_0000, 0x2_0000])))
        .child(tree::timer(LEVEL_HIGH))
        .child(tree::pmu())
        .child(tree::clock(CLOCK))
        .child(tree::rtc([0x0901_0000, 0x1000], CLOCK, 8))
        .child(uart)
        .child(pcie())
}

fn pcie() -> Node {
    let high: u64 = 0x2_0000_0000;
    let [base_high, base_low] = tree::halves(high);
    let [size_high, size_low] = tree::halves(0x3fff_0000_0000 - high);
    let ranges = [
        [PCI_IO, 0, 0, 0, 0x0905_0000, 0, 0x1_0000],
        [PCI_MEMORY, 0, 0x1000_0000, 0, 0x1000_0000, 0, 0x2000_0000],
        [PCI_MEMORY_64, base_high, base_low, base_high, base_low, size_high, size_low],
    ];
    tree::at("pcie", 0x3000_0000)
        .cells("ranges", ranges.as_flattened())
        .wide("reg", &[0x3000_0000, 0x10_0000])
        .cells("msi-map", &[0, ITS, 0, 0x100])
        .flag("dma-coherent")
        .cells("bus-range", &[0, 0])
        .cells("linux,pci-domain", &[0])
        .cells("#size-cells", &[2])
        .cells("#address-cells", &[3])
        .texts("device_type", &["pci"])
        .texts("compatible", &["pci-host-ecam-generic"])
}
