//! Tests of `realm`.

use alloc::string::String;
use alloc::vec;

use super::*;
use crate::format::arm64_image;
use crate::measure::tee::cca::{FLAG_PMU, Hash, Parameters, Rim, Rmm};

/// Nothing but a firmware image.
fn firmware() -> Guest<'static> {
    Guest { firmware: Some(b"FW CONTENT"), ..empty() }
}

fn empty() -> Guest<'static> {
    Guest::default()
}

fn shape(memory: u64, vcpus: u32) -> Shape {
    Shape { memory, vcpus, pmu: false, its: true }
}

fn rim(vmm: &str, guest: &Guest<'_>, shape: &Shape, hash: Hash) -> String {
    let launch = launch(vmm, guest, shape).expect("a launch");
    let (flags, pmu_num_ctrs) = if shape.pmu { (FLAG_PMU, 6) } else { (0, 0) };
    let ipa_bits = launch.ipa_bits;
    let parameters =
        Parameters { flags, ipa_bits, sve_vl: 0, num_bps: 5, num_wps: 5, pmu_num_ctrs, hash };
    let mut rim = Rim::create(&parameters, Rmm::V1);
    launch.steps.iter().for_each(|step| rim.step(step));
    crate::digest::hex(rim.value())
}

// Known answers of cca-realm-measurements (commit 08aaf5a3), tests/cmdline.rs. They include the
// device tree, so that ours is the same to the byte.
#[test]
fn kvmtool_realms_measure_as_the_reference_tool_computes() {
    let of = |guest: Guest<'_>| rim("kvmtool", &guest, &shape(512 * MIB, 1), Hash::Sha256);
    assert_eq!(of(empty()), "998dfdf6401d69f73ed88ac53d62d5ea2cfac6320b887ce4599aa8671791d4d0");
    assert_eq!(of(firmware()), "cf37146fce0ad50e1be1a04580c1024e5449b430b0dd96b6ef5c9a2b73767bf5");
}

#[test]
fn qemu_realms_measure_as_the_reference_tool_computes() {
    let bare = shape(128 * MIB, 1);
    let expected = "cf409055d866eea6c8d5e7862b540ff1cac9b11f125d088587d5ae97a0e3341667cf8fb3983e7377bca5c01d037bd97081ebf3b4dcb648442149749f4d65eeb0";
    assert_eq!(rim("qemu", &empty(), &bare, Hash::Sha512), expected);
    let expected = "8120ef921a987a3f8b9d4bb5e40f8489e2b4fc69c5e1b17b1a9b040884a1211d99b2bddc3fddcc99ec99f4244743fe3dcd3d9020583b47f7b66a2ec66bb897b9";
    assert_eq!(rim("qemu", &empty(), &Shape { pmu: true, ..bare }, Hash::Sha512), expected);
    let expected = "cbf533a94009dfa6b83016a89b428d1d910fb3593856bb386d7b2bd07a1bc834";
    assert_eq!(rim("qemu", &firmware(), &shape(GIB, 2), Hash::Sha256), expected);
}

#[test]
fn firmware_measures_what_qemu_hands_it() {
    let kernel = arm64_image::sample(256, 0x2d1_0000);
    let guest = Guest { kernel: Some(&kernel), cmdline: Some("root=/dev/vda2"), ..firmware() };
    let expected = "fd3ce1072c3e95cd3a4d1a07729756564f260f9f7e95014418b416673a268b7a";
    assert_eq!(rim("qemu", &guest, &shape(GIB, 2), Hash::Sha256), expected);
    let launch = launch("qemu", &guest, &shape(GIB, 2)).expect("a launch");
    assert_eq!(launch.booted, [("kernel", kernel.as_slice())]);
}

/// Addresses and lengths of the data steps.
fn placed(vmm: &str, guest: &Guest<'_>, shape: &Shape) -> Vec<(u64, usize)> {
    let launch = launch(vmm, guest, shape).expect("a launch");
    let data = launch.steps.iter().filter_map(|step| match step {
        Step::Data { ipa, data } => Some((*ipa, data.len())),
        _ => None,
    });
    data.collect()
}

#[test]
fn each_vmm_places_kernel_initrd_and_device_tree_its_own_way() {
    let kernel = arm64_image::sample(0x1800, 0x2000);
    let guest = Guest { kernel: Some(&kernel), initrd: Some(&[7; 0x1001]), ..empty() };
    let small = shape(256 * MIB, 1);
    let [kernel, initrd, dtb] = placed("qemu", &guest, &small)[..] else { panic!("three parts") };
    assert_eq!((kernel.0, initrd, dtb.0), (0x4000_0000, (0x4800_0000, 0x1001), 0x4820_0000));
    let [kernel, initrd, dtb] = placed("kvmtool", &guest, &small)[..] else {
        panic!("three parts")
    };
    assert_eq!((kernel.0, initrd.0, dtb), (0x8000_0000, 0x8fdf_effc, (0x8fe0_0000, 0x1_0000)));
    let placed = placed("cloud-hypervisor", &guest, &small);
    let [dtb, kernel, initrd] = placed[..] else { panic!("three parts") };
    assert_eq!((dtb.0, kernel.0, initrd.0), (0x4000_0000, 0x4040_0000, 0x4fff_e000));
}

#[test]
fn our_device_trees_name_the_initrd_and_every_vcpu() {
    let guest = Guest { initrd: Some(b"initrd"), cmdline: Some("quiet"), ..empty() };
    for vmm in ["kvmtool", "cloud-hypervisor"] {
        let launch = launch(vmm, &guest, &shape(64 * MIB, 3)).expect("a launch");
        let tree = fdt::Node::parse(&launch.dtb).expect("a tree");
        let chosen = tree.node("chosen").expect("chosen");
        assert!(
            chosen.property("bootargs").is_some_and(|args| args.ends_with(b"quiet\0")),
            "{vmm}"
        );
        assert_eq!(chosen.property("linux,initrd-start").map(<[u8]>::len), Some(8));
        assert_eq!(tree.node("cpus").map(|cpus| cpus.children.len()), Some(3));
    }
}

#[test]
fn the_callers_device_tree_is_measured_as_it_is() {
    let dtb = fdt::Node::new("").texts("model", &["mine"]).write();
    let given =
        launch("qemu", &Guest { dtb: Some(&dtb), ..empty() }, &shape(GIB, 1)).expect("a launch");
    assert_eq!(given.dtb.as_ref(), dtb);
    let error = launch("qemu", &Guest { dtb: Some(b"no tree"), ..empty() }, &shape(GIB, 1));
    let error = error.map(|_| ());
    assert!(error.unwrap_err().to_string().starts_with("dtb: device tree header"));
}

#[test]
fn guests_that_cannot_be_placed_are_refused_with_the_reason() {
    let kernel = arm64_image::sample(0x1000, 0x1000);
    let large = vec![0; (10 << 20) - 0x100];
    let error = |vmm: &str, guest: &Guest<'_>, memory: u64| {
        launch(vmm, guest, &shape(memory, 1)).map(|_| ()).expect_err("refused").to_string()
    };
    let initrd = Guest { kernel: Some(&kernel), initrd: Some(&large), ..empty() };
    assert!(
        error("qemu", &initrd, 8 * MIB).contains("memory ends at 0x40800000; give the guest more")
    );
    assert!(error("kvmtool", &initrd, 12 * MIB).contains("it would overlap the kernel"));
    assert!(error("kvmtool", &initrd, 10 * MIB).contains("larger than the memory below"));
    assert!(error("cloud-hypervisor", &initrd, 8 * MIB).contains("it is larger than the memory"));
    assert!(
        error("cloud-hypervisor", &firmware(), GIB).contains("its realms boot a kernel directly")
    );
    assert!(error("kvmtool", &empty(), MIB).contains("a multiple of 2 MiB there"));
    let elf = Guest {
        kernel: Some(b"\x7fELF-and-sixty-more-bytes-that-are-not-an-arm64-kernel-image-at-all"),
        ..empty()
    };
    assert!(error("qemu", &elf, GIB).contains("found an ELF file"), "{}", error("qemu", &elf, GIB));
    assert!(error("xen", &empty(), GIB).contains("known are qemu, kvmtool, cloud-hypervisor"));
}
