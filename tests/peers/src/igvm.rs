//! Random IGVM files of both versions, written by the crate `igvm`, through its own measurement: our
//! profile `hyperv`.

use guestsmith::digest::hex;
use guestsmith::measure::{self, Guest, Machine, Vmm};
use igvm::snp_defs::SevVmsa;
use igvm::{
    Arch, IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision,
};
use igvm_defs::{
    IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM, IgvmPageDataFlags, IgvmPageDataType,
    IgvmPlatformType,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};
use zerocopy::FromZeros as _;

/// The bit of SEV-SNP, and that of a platform without isolation beside it.
const SNP: u32 = 1;
const NATIVE: u32 = 2;

/// Compares `count` files; true if all are equal.
pub(crate) fn compare(count: u64, seed: u64) -> bool {
    println!("igvm crate: seed {seed}, {count} files");
    let mut rng = StdRng::seed_from_u64(seed);
    let wrong = (0..count).filter(|number| !one(*number, &random(&mut rng))).count();
    println!("{} of {count} files equal", count - wrong as u64);
    count > 0 && wrong == 0
}

fn one(number: u64, file: &IgvmFile) -> bool {
    let (policies, directives) = (file.initializations(), file.directives());
    let theirs = igvm::measurement::generate_snp_measurement(policies, directives, SNP);
    let theirs = hex(&theirs.expect("a file that they measure"));
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).expect("a file that they write");
    let guest = Guest { igvm: Some(&bytes), ..Guest::default() };
    let vmm = Vmm::parse("hyperv").expect("a name");
    let machine = Machine { vmm, ..Machine::default() };
    let expect = measure::tee("sev-snp").expect("a row").expect;
    let ours = expect(&guest, &[machine]).map(|found| hex(&found[0].registers[0].value));
    if ours.as_ref() != Ok(&theirs) {
        println!(
            "file {number}, {} directives\n  ours {ours:?}\n  theirs {theirs}",
            directives.len()
        );
    }
    ours == Ok(theirs)
}

/// Pages of every kind, parameter areas and registers, in any order that the format allows.
fn random(rng: &mut StdRng) -> IgvmFile {
    let platform = |mask, platform_type| {
        IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
            compatibility_mask: mask,
            highest_vtl: 0,
            platform_type,
            platform_version: 1,
            shared_gpa_boundary: 0,
        })
    };
    let policy =
        IgvmInitializationHeader::GuestPolicy { policy: 0x3_0000, compatibility_mask: SNP };
    let mut directives = Vec::new();
    let areas: u32 = rng.gen_range(0..3);
    for index in 0..areas {
        directives.push(IgvmDirectiveHeader::ParameterArea {
            number_of_bytes: 4096 * rng.gen_range(1..4),
            parameter_area_index: index,
            initial_data: Vec::new(),
        });
    }
    let mut inserts: Vec<u32> = (0..areas).collect();
    let vmsa_at = rng.gen_range(0..40);
    for place in 0..40_u64 {
        let gpa = 0x10_0000 + place * 0x10_000 + 4096 * rng.gen_range(0..2);
        match rng.gen_range(0..8) {
            0 if !inserts.is_empty() => {
                directives.push(IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
                    gpa,
                    compatibility_mask: SNP,
                    parameter_area_index: inserts.remove(0),
                }));
            }
            _ => directives.push(page(rng, gpa)),
        }
        if place == vmsa_at {
            directives.push(vmsa(rng));
        }
    }
    let second = IgvmRevision::V2 { arch: Arch::X64, page_size: 4096 };
    IgvmFile::new(
        if rng.gen_bool(0.5) { second } else { IgvmRevision::V1 },
        vec![platform(SNP, IgvmPlatformType::SEV_SNP), platform(NATIVE, IgvmPlatformType::NATIVE)],
        vec![policy],
        directives,
    )
    .expect("a valid file")
}

fn page(rng: &mut StdRng, gpa: u64) -> IgvmDirectiveHeader {
    let data_type = match rng.gen_range(0..10) {
        0 => IgvmPageDataType::SECRETS,
        1 => IgvmPageDataType::CPUID_DATA,
        2 => IgvmPageDataType::CPUID_XF,
        _ => IgvmPageDataType::NORMAL,
    };
    let data = rng.gen_bool(0.6).then(|| vec![rng.r#gen(); 4096]).unwrap_or_default();
    let large = rng.gen_bool(0.1);
    let flags = IgvmPageDataFlags::new().with_unmeasured(rng.gen_bool(0.2)).with_is_2mb_page(large);
    IgvmDirectiveHeader::PageData {
        gpa: if large { gpa << 9 } else { gpa },
        compatibility_mask: [SNP, SNP, NATIVE, SNP | NATIVE][rng.gen_range(0..4)],
        flags: flags.with_shared(rng.gen_bool(0.1)),
        data_type,
        data,
    }
}

fn vmsa(rng: &mut StdRng) -> IgvmDirectiveHeader {
    let mut vmsa = SevVmsa::new_box_zeroed().expect("memory");
    vmsa.rip = rng.r#gen();
    vmsa.rdx = rng.r#gen();
    IgvmDirectiveHeader::SnpVpContext {
        gpa: 0xffff_ffff_f000,
        compatibility_mask: SNP,
        vp_index: 0,
        vmsa,
    }
}
