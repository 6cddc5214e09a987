//! Nodes that the device trees of every realm share.

use alloc::format;

use crate::format::fdt::Node;

/// First cell of an interrupt specifier: shared peripheral, private peripheral.
pub(super) const SPI: u32 = 0;
const PPI: u32 = 1;
/// Last cell of an interrupt specifier.
pub(super) const EDGE_RISING: u32 = 1;
pub(super) const LEVEL_HIGH: u32 = 4;
pub(super) const LEVEL_LOW: u32 = 8;

/// First cell of a PCI range (IEEE 1275 PCI bus binding, section 2.2.1).
pub(super) const PCI_IO: u32 = 0x0100_0000;
pub(super) const PCI_MEMORY: u32 = 0x0200_0000;
pub(super) const PCI_MEMORY_64: u32 = 0x0300_0000;

/// Where the guest's parts lie, as the tree tells it.
pub(super) struct Basics<'a> {
    /// Base and size of RAM.
    pub(super) memory: (u64, u64),
    /// vCPUs.
    pub(super) vcpus: u32,
    /// Handle of the interrupt controller.
    pub(super) gic: u32,
    /// Kernel command line.
    pub(super) bootargs: Option<&'a str>,
    /// Base and size of the initrd.
    pub(super) initrd: Option<(u64, u64)>,
}

/// The root with `chosen`, memory, vCPUs and PSCI.
pub(super) fn root(basics: &Basics<'_>) -> Node {
    let (base, size) = basics.memory;
    let mut chosen = Node::new("chosen");
    if let Some(bootargs) = basics.bootargs {
        chosen = chosen.texts("bootargs", &[bootargs]);
    }
    if let Some((start, size)) = basics.initrd {
        chosen = chosen.wide("linux,initrd-start", &[start]);
        chosen = chosen.wide("linux,initrd-end", &[start + size]);
    }
    let memory = at("memory", base).texts("device_type", &["memory"]).wide("reg", &[base, size]);
    let cpus = Node::new("cpus").cells("#size-cells", &[0]).cells("#address-cells", &[1]);
    let psci = Node::new("psci")
        .cells("cpu_on", &[0xc400_0003])
        .cells("cpu_off", &[0x8400_0002])
        .texts("method", &["smc"])
        .texts("compatible", &["arm,psci-1.0", "arm,psci-0.2", "arm,psci"]);
    Node::new("")
        .texts("compatible", &["linux,dummy-virt"])
        .texts("model", &["linux,dummy-virt-realm"])
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .cells("interrupt-parent", &[basics.gic])
        .child(chosen)
        .child(memory)
        .child((0..basics.vcpus).fold(cpus, |cpus, number| cpus.child(cpu(number))))
        .child(psci)
}

fn cpu(number: u32) -> Node {
    Node::new(format!("cpu@{number}"))
        .cells("reg", &[number])
        .texts("enable-method", &["psci"])
        .texts("compatible", &["arm,armv8"])
        .texts("device_type", &["cpu"])
}

/// A node with its unit address.
pub(super) fn at(name: &str, address: u64) -> Node {
    Node::new(format!("{name}@{address:x}"))
}

/// GICv3 by its `reg` (distributor, redistributors) with its ITS, if it has one.
pub(super) fn gic(reg: &[u64], handles: (u32, u32), its: Option<[u64; 2]>) -> Node {
    let (handle, its_handle) = handles;
    let regions = u32::try_from(reg.len() / 2).unwrap_or(1).saturating_sub(1);
    let gic = at("intc", reg.first().copied().unwrap_or_default())
        .cells("phandle", &[handle])
        .wide("reg", reg)
        .cells("#redistributor-regions", &[regions])
        .texts("compatible", &["arm,gic-v3"])
        .flag("ranges")
        .cells("#size-cells", &[2])
        .cells("#address-cells", &[2])
        .flag("interrupt-controller")
        .cells("#interrupt-cells", &[3]);
    let Some(reg) = its else { return gic };
    gic.child(
        at("its", reg[0])
            .cells("phandle", &[its_handle])
            .wide("reg", &reg)
            .cells("#msi-cells", &[1])
            .flag("msi-controller")
            .texts("compatible", &["arm,gic-v3-its"]),
    )
}

/// The generic timer: secure, non-secure and virtual interrupt.
pub(super) fn timer(trigger: u32) -> Node {
    Node::new("timer")
        .cells("interrupts", &[PPI, 13, trigger, PPI, 14, trigger, PPI, 11, trigger])
        .flag("always-on")
        .texts("compatible", &["arm,armv8-timer", "arm,armv7-timer"])
}

/// The performance monitor.
pub(super) fn pmu() -> Node {
    Node::new("pmu")
        .cells("interrupts", &[PPI, 7, LEVEL_HIGH])
        .texts("compatible", &["arm,armv8-pmuv3"])
}

/// The fixed clock of the peripherals.
pub(super) fn clock(handle: u32) -> Node {
    Node::new("apb-pclk")
        .cells("phandle", &[handle])
        .texts("clock-output-names", &["clk24mhz"])
        .cells("clock-frequency", &[24_000_000])
        .cells("#clock-cells", &[0])
        .texts("compatible", &["fixed-clock"])
}

/// The real-time clock.
pub(super) fn rtc(reg: [u64; 2], clock: u32, spi: u32) -> Node {
    at("pl031", reg[0])
        .texts("clock-names", &["apb_pclk"])
        .wide("reg", &reg)
        .cells("clocks", &[clock])
        .cells("interrupts", &[SPI, spi, LEVEL_HIGH])
        .texts("compatible", &["arm,pl031", "arm,primecell"])
}

/// Upper and lower half of a number, as cells.
pub(super) fn halves(number: u64) -> [u32; 2] {
    let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(u32::MAX);
    [half(number >> 32), half(number)]
}
