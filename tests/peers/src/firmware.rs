//! Random SNP guests through the `sev` crate, where it is right: under QEMU, and under EC2 as that was
//! before 2026. Its other differences are rows of `docs/measure/sev-snp.md`.

use std::fs;
use std::path::PathBuf;

use guestsmith::digest::hex;
use guestsmith::measure::{self, Cpu, Guest, Machine, Measurement, Value, Vmm};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng as _};
use sev::measurement::snp::{SnpMeasurementArgs, calc_snp_ovmf_hash, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};

/// CPU models that the crate reads by name.
const MODELS: &[&str] = &[
    "EPYC",
    "EPYC-v1",
    "EPYC-v2",
    "EPYC-IBPB",
    "EPYC-v3",
    "EPYC-v4",
    "EPYC-Rome",
    "EPYC-Rome-v1",
    "EPYC-Rome-v2",
    "EPYC-Rome-v3",
    "EPYC-Milan",
    "EPYC-Milan-v1",
    "EPYC-Milan-v2",
    "EPYC-Genoa",
    "EPYC-Genoa-v1",
    "EPYC-Turin",
];

/// One guest on one machine, in the words of both.
struct Case {
    image: PathBuf,
    bytes: Vec<u8>,
    kernel: Option<Vec<u8>>,
    cmdline: String,
    vcpus: u32,
    model: &'static str,
    features: u64,
    vmm: &'static str,
}

/// Compares `count` guests; true if all are equal.
pub(crate) fn compare(count: u64, seed: u64, images: &[&str]) -> bool {
    println!("sev crate: seed {seed}, {count} guests");
    let mut rng = StdRng::seed_from_u64(seed);
    let wrong = (0..count).filter(|number| !one(*number, &Case::random(&mut rng, images))).count();
    let hashes = images.iter().filter(|image| !firmware_hash(image)).count();
    println!(
        "{} of {count} guests equal, {} of {} firmware digests",
        count - wrong as u64,
        images.len() - hashes,
        images.len()
    );
    count > 0 && wrong + hashes == 0 && trims(images[0])
}

impl Case {
    fn random(rng: &mut StdRng, images: &[&str]) -> Self {
        let image = PathBuf::from(images[rng.gen_range(0..images.len())]);
        let bytes = fs::read(&image).expect("a firmware");
        let kernel =
            rng.gen_bool(0.5).then(|| (0..rng.gen_range(1..5000)).map(|_| rng.r#gen()).collect());
        let letters = ['a', 'b', ' ', '=', '/', '-'];
        let cmdline: String =
            (0..rng.gen_range(0..100)).map(|_| letters[rng.gen_range(0..6)]).collect();
        Self {
            image,
            bytes,
            kernel,
            // The crate cuts spaces off the ends, which QEMU does not: see `trims`.
            cmdline: cmdline.trim().to_string(),
            vcpus: rng.gen_range(1..=64),
            model: MODELS[rng.gen_range(0..MODELS.len())],
            features: [0x1, 0x21, 0x9, 0x201][rng.gen_range(0..4)],
            vmm: ["qemu", "qemu", "ec2-legacy"][rng.gen_range(0..3)],
        }
    }

    fn ours(&self) -> measure::Result<Measurement> {
        let guest = Guest {
            firmware: Some(&self.bytes),
            kernel: self.kernel.as_deref(),
            cmdline: self.kernel.as_ref().map(|_| self.cmdline.as_str()),
            ..Guest::default()
        };
        let machine = Machine {
            vmm: Vmm::parse(self.vmm)?,
            vcpus: Some(self.vcpus),
            cpu: Some(Cpu::parse(self.model)?),
            settings: [("guest-features".to_string(), Value::Number(self.features))].into(),
            ..Machine::default()
        };
        Ok((measure::tee("sev-snp")?.expect)(&guest, &[machine])?.remove(0))
    }

    fn theirs(&self) -> Result<String, String> {
        let kernel = self.kernel.as_ref().map(|bytes| {
            let path =
                std::env::temp_dir().join(format!("guestsmith-peers-{}", std::process::id()));
            fs::write(&path, bytes).expect("a temporary file");
            path
        });
        let digest = snp_calc_launch_digest(SnpMeasurementArgs {
            vcpus: self.vcpus,
            vcpu_type: CpuType::try_from(self.model).expect("a model of theirs"),
            ovmf_file: self.image.clone(),
            guest_features: GuestFeatures(self.features),
            kernel_file: kernel.clone(),
            initrd_file: None,
            append: kernel.as_ref().map(|_| self.cmdline.as_str()),
            ovmf_hash_str: None,
            vmm_type: Some(if self.vmm == "qemu" { VMMType::QEMU } else { VMMType::EC2 }),
        });
        if let Some(path) = kernel {
            fs::remove_file(path).expect("removed");
        }
        digest.map(|digest| digest.get_hex_ld()).map_err(|error| error.to_string())
    }
}

/// Equal, or both say that the firmware has no place for the kernel's hash.
fn one(number: u64, case: &Case) -> bool {
    let (ours, theirs) = (case.ours(), case.theirs());
    let equal = match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => hex(&ours.registers[0].value) == *theirs,
        (Ok(ours), Err(_)) => ours.warnings.iter().any(|w| w.contains("not covered by the digest")),
        (Err(_), _) => false,
    };
    if !equal {
        let Case { image, vcpus, model, features, vmm, kernel, .. } = case;
        let ours = ours.map(|ours| hex(&ours.registers[0].value)).unwrap_or_else(|e| e.to_string());
        println!(
            "guest {number}: {} {vmm} {vcpus} {model} {features:#x}, kernel {}\n  ours {ours}\n  theirs {theirs:?}",
            image.display(),
            kernel.is_some()
        );
    }
    equal
}

/// A known difference, which must stay one: a command line that ends in a space.
fn trims(image: &str) -> bool {
    let mut case = Case::random(&mut StdRng::seed_from_u64(0), &[image]);
    (case.kernel, case.cmdline) = (Some(b"kernel".to_vec()), "quiet ".to_string());
    let (ours, theirs) = (case.ours().expect("a digest"), case.theirs().expect("a digest"));
    let differs = hex(&ours.registers[0].value) != theirs;
    if !differs {
        println!("no longer a disagreement: spaces at the ends of a command line");
    }
    differs
}

/// The digest of the firmware alone.
fn firmware_hash(image: &&str) -> bool {
    let bytes = fs::read(image).expect("a firmware");
    let theirs = calc_snp_ovmf_hash(PathBuf::from(image)).expect("a digest").get_hex_ld();
    measure::tee::snp::firmware_digest(&bytes).to_string() == theirs
}
