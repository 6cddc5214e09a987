use super::*;
use crate::measure::tee::cca::{FLAG_PMU, Hash, Parameters, Rim, Rmm};

fn rim(vmm: &str, guest: &Guest<'_>, shape: &Shape, hash: Hash, pmu: u8) -> alloc::string::String {
    let launch = launch(vmm, guest, shape).expect("launch");
    let flags = if shape.pmu { FLAG_PMU } else { 0 };
    let p = Parameters {
        flags,
        ipa_bits: launch.ipa_bits,
        sve_vl: 0,
        num_bps: 5,
        num_wps: 5,
        pmu_num_ctrs: pmu,
        hash,
    };
    let mut rim = Rim::create(&p, Rmm::V1);
    launch.steps.iter().for_each(|s| rim.step(s));
    crate::digest::hex(rim.value())
}

#[test]
fn vectors_by_hand() {
    let shape = Shape { memory: 512 * MIB, vcpus: 1, pmu: false, its: true };
    let g = Guest::default();
    std::println!("kvmtool-min {}", rim("kvmtool", &g, &shape, Hash::Sha256, 0));
    let fw = Guest { firmware: Some(b"FW CONTENT"), ..Guest::default() };
    std::println!("kvmtool-fw {}", rim("kvmtool", &fw, &shape, Hash::Sha256, 0));
    let shape = Shape { memory: 128 * MIB, ..shape };
    std::println!("qemu-noargs {}", rim("qemu", &g, &shape, Hash::Sha512, 0));
    std::println!("qemu-pmu {}", rim("qemu", &g, &Shape { pmu: true, ..shape }, Hash::Sha512, 6));
    let shape = Shape { memory: GIB, vcpus: 2, ..shape };
    std::println!("qemu-fw {}", rim("qemu", &fw, &shape, Hash::Sha256, 0));
    let k = std::fs::read("/tmp/ot/veraison+cca-realm-measurements/testdata/linux.bin").expect("k");
    let g = Guest { kernel: Some(&k), cmdline: Some("root=/dev/vda2"), ..fw.clone() };
    std::println!("qemu-fw-append {}", rim("qemu", &g, &shape, Hash::Sha256, 0));
}
