//! How fast, side by side in one run: CPU time of one thread, the best of many rounds.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use guestsmith::digest::Sha384;
use guestsmith::measure::{self, Cpu, Guest, Machine, Vmm};
use rustix::time::{ClockId, clock_gettime};
use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};

const MODELS: [&str; 5] = ["EPYC", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"];

/// Prints a row per comparison; false where a goal is missed.
pub(crate) fn run(image: &str) -> bool {
    let bytes = fs::read(image).expect("a firmware");
    println!("{image}, {} bytes", bytes.len());
    let one = best(|| ours(&bytes, &[4], &MODELS[2..3]));
    let counts: Vec<u32> = (1..=16).collect();
    let matrix = best(|| ours(&bytes, &counts, &MODELS));
    let pages = best(|| {
        bytes.chunks(4096).for_each(|page| {
            black_box(Sha384::of(page));
        })
    });
    let theirs = best(|| theirs(image));
    row("SNP, 4 vCPUs", one, "sev 8.0.0, 4 vCPUs", theirs);
    row("SNP, 4 vCPUs", one, "SHA-384 of every page", pages);
    row("SNP, 16 counts x 5 models", matrix, "sev 8.0.0, 80 runs", theirs * 80);
    let goals = [(one, 2), (matrix, 15)];
    let missed = goals.iter().filter(|(time, goal)| *time > Duration::from_millis(*goal)).count();
    println!("goals: 2 ms and 15 ms; {missed} missed");
    missed == 0
}

fn ours(bytes: &[u8], counts: &[u32], models: &[&str]) {
    let guest = Guest { firmware: Some(bytes), ..Guest::default() };
    let machine = |(model, vcpus): (&&str, u32)| Machine {
        vmm: Vmm::parse("qemu").expect("a name"),
        vcpus: Some(vcpus),
        cpu: Some(Cpu::parse(model).expect("a model")),
        ..Machine::default()
    };
    let pairs = models.iter().flat_map(|model| counts.iter().map(move |count| (model, *count)));
    let machines: Vec<_> = pairs.map(machine).collect();
    let expect = measure::tee("sev-snp").expect("a row").expect;
    black_box(expect(&guest, &machines).expect("digests"));
}

fn theirs(image: &str) {
    let digest = snp_calc_launch_digest(SnpMeasurementArgs {
        vcpus: 4,
        vcpu_type: CpuType::EpycMilan,
        ovmf_file: PathBuf::from(image),
        guest_features: GuestFeatures(1),
        kernel_file: None,
        initrd_file: None,
        append: None,
        ovmf_hash_str: None,
        vmm_type: Some(VMMType::QEMU),
    });
    black_box(digest.expect("a digest"));
}

/// CPU time that this thread has had.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, rest) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.expect("positive"), rest.expect("positive"))
}

/// The least of many rounds: what the work costs where nothing disturbs it.
fn best(work: impl Fn()) -> Duration {
    let timed = |_| {
        let start = spent();
        work();
        spent() - start
    };
    (0..40).map(timed).min().expect("rounds")
}

fn row(ours: &str, our_time: Duration, theirs: &str, their_time: Duration) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let (a, b) = (milliseconds(our_time), milliseconds(their_time));
    println!("{ours:<26} {a:8.2} ms   {theirs:<24} {b:8.2} ms   ratio {:.2}", a / b);
}
