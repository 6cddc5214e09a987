//! Known answers of `igvmmeasure`, the crate `igvm` 0.5.0 and `igvm-tools` on the same files, and
//! the order of steps where the source of the loader is all there is.

use super::*;
use crate::digest::Sha384;
use crate::format::igvm::tests::Writer;
use crate::measure::tee::snp::Chain;
use crate::measure::vmm::{profile, qemu};
use crate::measure::{Cpu, Vmm};

const SNP: u32 = 1;
const NATIVE: u32 = 2;
const VMSA_AT: u64 = 0xffff_ffff_f000;

fn machine(vmm: &str) -> Machine {
    Machine { vmm: Vmm::parse(vmm).expect("a name"), ..Machine::default() }
}

fn launch<'a>(vmm: &str, bytes: &'a [u8]) -> Vec<Step<'a>> {
    let rules = profile(vmm).expect("a row").igvm.expect("loads IGVM files");
    steps(rules, bytes, &machine(vmm)).expect("a launch")
}

fn digest(vmm: &str, bytes: &[u8]) -> String {
    let mut chain = Chain::new(Sha384::ZERO);
    launch(vmm, bytes).into_iter().for_each(|step| chain.launch(step));
    chain.digest().to_string()
}

/// The state of QEMU's first vCPU at reset, of model `EPYC`.
fn vmsa(features: u64) -> Vec<u8> {
    let epyc = Cpu::parse("EPYC").expect("a model");
    super::super::sev::bytes(&qemu::SEV.vmsa(0, 0, features, Some(&epyc)))
}

fn writer() -> Writer {
    let mut file = Writer::default();
    file.platform(SNP, PlatformType::SEV_SNP).policy(SNP, 0x3_0000);
    file
}

const EVERY: [&str; 4] = ["qemu", "file-order", "hyperv", "vanadium"];

/// OpenVMM's own test (`igvmfilegen`, `test_snp_measurement`), without its shared page.
#[test]
fn pages_without_data() {
    let mut file = writer();
    file.page(SNP, 0, 0, &[0, 5]);
    for page in 1..10 {
        file.page(SNP, page * 4096, if page < 5 { 0 } else { 2 }, &[]);
    }
    let bytes = file.page(SNP, 0xa000, 0, &[0, 5]).bytes();
    let normal = "889a19386c82e2219bded3e92a764e8c00c29b966d04a662bca6cfdfec647b9051995653390783846557913263d71c4f";
    let zero = "5096557ae116562de343a2e3fcd31a278974faee627ba5addf0bafe145a152cd1678560fee96c564afbd59edb3da98ad";
    for (vmm, expected) in
        [("qemu", normal), ("file-order", normal), ("hyperv", normal), ("vanadium", zero)]
    {
        assert_eq!(digest(vmm, &bytes), expected, "{vmm}");
    }
}

#[test]
fn every_kind_of_page_and_registers() {
    let mut file = writer();
    file.area(0, 4096).insert(SNP, 0, 0x8000);
    file.page(SNP, 0x1_0000, 0, &[1; 4096]).page(SNP, 0x1_1000, 0, &[2; 4096]);
    file.page_of(PageType::SECRETS, (SNP, 0x1_2000, 0), &[]);
    file.page_of(PageType::CPUID_DATA, (SNP, 0x1_3000, 0), &[]);
    let bytes = file.vp(SNP, 0, VMSA_AT, vmsa(1)).bytes();
    let expected = "e4eefe30d127dedd16117e7fa0697b13da01998a4a17dda32a07c59d8da528b1afbc212d7da09279fb4854d99533fb2f";
    EVERY.iter().for_each(|vmm| assert_eq!(digest(vmm, &bytes), expected, "{vmm}"));
}

/// QEMU launches the area before the run of pages that it follows in the file.
#[test]
fn an_area_overtakes_a_waiting_run() {
    let mut file = writer();
    file.area(0, 4096);
    file.page(SNP, 0x1_0000, 0, &[1; 4096]).page(SNP, 0x1_1000, 0, &[2; 4096]);
    file.insert(SNP, 0, 0x8000).page(SNP, 0x2_0000, 0, &[3; 4096]);
    let bytes = file.vp(SNP, 0, VMSA_AT, vmsa(1)).bytes();
    let queued = "d5b316f26e88a9708d095dc56c430a785cc96bd1628607649cbf7d77aab012547c5acbcf0c0e7c11898cf3491047070b";
    let in_order = "4871cbfbd1562e45b7cc6091ac0eb55270aefcd1cf41cfe5c19de0f66b049446cbea59c3bd23da3e347e4ac9edee538c";
    for (vmm, expected) in
        [("qemu", queued), ("file-order", in_order), ("hyperv", in_order), ("vanadium", in_order)]
    {
        assert_eq!(digest(vmm, &bytes), expected, "{vmm}");
    }
}

#[test]
fn registers_before_pages() {
    let bytes = writer().vp(SNP, 0, VMSA_AT, vmsa(1)).page(SNP, 0x1_0000, 0, &[1; 4096]).bytes();
    let last = "f83f3a6c79f92212bf04687ea71f37f35573a8ed73016ab8762eed32328607329812280992da42508172da59a124eb67";
    let in_order = "1169405f424ef2405a6a538b86f7c2bf1c908a1dc16876c36b10da635992f3f58fc3d35232e046df50f494a4c541d266";
    assert_eq!(digest("qemu", &bytes), last);
    assert_eq!(digest("file-order", &bytes), in_order);
    assert_eq!(digest("hyperv", &bytes), in_order);
}

#[test]
fn pages_of_another_platform_stay_out() {
    let mut file = Writer::default();
    file.platform(SNP, PlatformType::SEV_SNP).platform(NATIVE, PlatformType::NATIVE);
    file.policy(SNP, 0x3_0000).page(SNP | NATIVE, 0x1_0000, 0, &[1; 4096]);
    file.page(SNP, 0x1_1000, 0, &[2; 4096]).page(NATIVE, 0x1_2000, 0, &[3; 4096]);
    let bytes = file.vp(SNP, 0, VMSA_AT, vmsa(1)).bytes();
    let expected = "97e3d5cc8e70b89a309fedfac3a7aa975a2d229d0edb26bc48acd255210fe8a288bc138f182ae6677074c265ba741bb1";
    EVERY.iter().for_each(|vmm| assert_eq!(digest(vmm, &bytes), expected, "{vmm}"));
}

#[test]
fn features_come_from_the_file() {
    let bytes = writer().page(SNP, 0x1_0000, 0, &[1; 4096]).vp(SNP, 0, VMSA_AT, vmsa(0x21)).bytes();
    let expected = "26e6cf7527c8f1b8c0a0be9ea980eb3f7f771bbb5ea2efc073b78cb44897ec2facae3f33f8e5c706c90cd9c00e0e8aeb";
    EVERY.iter().for_each(|vmm| assert_eq!(digest(vmm, &bytes), expected, "{vmm}"));
}

fn addresses(vmm: &str, bytes: &[u8]) -> Vec<u64> {
    launch(vmm, bytes).iter().map(|step| step.gpa).collect()
}

/// A run ends where the file has anything between two pages, though it be for another platform.
#[test]
fn a_foreign_page_ends_a_run() {
    let file = |foreign: bool| {
        let mut file = writer();
        file.platform(NATIVE, PlatformType::NATIVE).area(0, 4096);
        file.page(SNP, 0x1000, 0, &[1]);
        if foreign {
            file.page(NATIVE, 0x9000, 0, &[1]);
        }
        file.page(SNP, 0x2000, 0, &[2]).insert(SNP, 0, 0x8000).bytes()
    };
    assert_eq!(addresses("qemu", &file(false)), [0x8000, 0x1000, 0x2000]);
    assert_eq!(addresses("qemu", &file(true)), [0x1000, 0x8000, 0x2000]);
    // So do pages of another mask, though both are for this platform.
    let mut mixed = writer();
    mixed.platform(NATIVE, PlatformType::NATIVE).area(0, 4096).page(SNP, 0x1000, 0, &[1]);
    let mixed = mixed.page(SNP | NATIVE, 0x2000, 0, &[2]).insert(SNP, 0, 0x8000).bytes();
    assert_eq!(addresses("qemu", &mixed), [0x1000, 0x8000, 0x2000]);
}

#[test]
fn loaders_differ_in_order_areas_and_shared_pages() {
    let mut file = writer();
    file.area(0, 8192).page(SNP, 0x9000, 0, &[1]).page(SNP, 0x5000, 4, &[2]);
    let bytes = file.insert(SNP, 0, 0x1000).vp(SNP, 0, 0x7000, vmsa(1)).bytes();
    for (vmm, expected) in [
        ("file-order", &[0x9000, 0x5000, 0x1000, 0x7000][..]),
        ("hyperv", &[0x9000, 0x1000, 0x2000, 0x7000]),
        ("qemu", &[0x9000, 0x1000, 0x2000, 0x5000, VMSA_AT]),
        ("cloud-hypervisor-kvm", &[0x9000, 0x5000, 0x1000, 0x2000, VMSA_AT]),
        ("cloud-hypervisor-mshv", &[0x1000, 0x5000, 0x7000, 0x9000]),
    ] {
        assert_eq!(addresses(vmm, &bytes), expected, "{vmm}");
    }
}

/// The file holds 4 KiB of a page of 2 MiB at most: loaders launch all of it, its beginning, or stop.
#[test]
fn pages_of_2_mib() {
    let mut file = writer();
    let bytes = file.page(SNP, 0x20_0000, 1, &[7]).page(SNP, 0x40_0000, 3, &[]).bytes();
    let found = launch("qemu", &bytes);
    let normal = |step: &Step<'_>| matches!(&step.action, Action::Normal(_));
    assert_eq!((found.len(), found.iter().filter(|step| normal(step)).count()), (1024, 512));
    assert!(found.iter().map(|step| step.gpa).eq(pages_from(0x20_0000).take(1024)));
    let filled = |step: &Step<'_>| matches!(&step.action, Action::Normal(page) if page[0] == 7);
    assert!(filled(&found[0]) && !found[1..].iter().any(filled));
    for vmm in ["hyperv", "cloud-hypervisor-kvm", "cloud-hypervisor-mshv"] {
        assert_eq!(addresses(vmm, &bytes), [0x20_0000, 0x40_0000], "{vmm}");
    }
    let empty = writer().page(SNP, 0x40_0000, 3, &[]).bytes();
    assert_eq!(launch("file-order", &empty).len(), 512);
    let rules = profile("file-order").expect("a row").igvm.expect("loads IGVM files");
    let error = steps(rules, &bytes, &machine("file-order")).expect_err("refused").to_string();
    assert!(error.contains("a page of 2 MiB with data at byte offset 0x"), "{error}");
}

#[test]
fn kvm_changes_registers_and_fills_up_vcpus() {
    let mut state = vmsa(1);
    state[0x148..0x150].copy_from_slice(&0x20_u64.to_le_bytes()); // CR4: PAE
    state[0x170..0x178].fill(0); // RFLAGS
    let bytes = writer().vp(SNP, 0, VMSA_AT, state).bytes();
    let rules = profile("qemu").expect("a row").igvm.expect("loads IGVM files");
    let two = Machine { vcpus: Some(2), cpu: Cpu::parse("EPYC").ok(), ..machine("qemu") };
    let steps = steps(rules, &bytes, &two).expect("a launch");
    let registers = |step: &Step<'_>| match &step.action {
        Action::Vmsa(page) => Vmsa::read_from_bytes(page).expect("a page"),
        other => panic!("{other:?}"),
    };
    let found: Vec<_> = steps.iter().map(registers).collect();
    assert_eq!((found[0].cr4.get(), found[0].rflags.get()), (0x60, 2));
    assert_eq!(super::super::sev::bytes(&found[1]), vmsa(1));
    let nameless = Machine { vcpus: Some(2), ..machine("qemu") };
    let error = super::steps(rules, &bytes, &nameless).expect_err("no model").to_string();
    assert!(error.contains("no registers for vCPU 1"), "{error}");
}

#[test]
fn what_is_no_snp_guest_is_refused() {
    let other = Writer::default().platform(1, PlatformType::TDX).page(1, 0, 0, &[]).bytes();
    let unknown = writer().insert(SNP, 3, 0x1000).bytes();
    let rules = profile("file-order").expect("a row").igvm.expect("loads IGVM files");
    for (bytes, expected) in
        [(other, "none of its supported platforms"), (unknown, "number of a parameter area")]
    {
        let error = steps(rules, &bytes, &machine("file-order")).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
