//! Unpacking and packing against the tools that everybody has, side by side in one run.
//!
//! `ci/bench` calls it with a directory of packages; it prints seconds and ratios.
#![expect(clippy::disallowed_methods, reason = "a benchmark starts the tools it compares with")]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use guestsmith::build::codec::Form;
use guestsmith::build::initrd::{Packing, archive};
use guestsmith::build::materialise::materialise;
use guestsmith::build::tree::Tree;
use guestsmith::build::unpack::{Package, unpack};
use guestsmith::format::cpio::Variant;
use guestsmith::store::entries;

const LEVEL: u32 = 9;

fn main() {
    // `cargo bench` adds `--bench`.
    let Some(dir) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        println!("usage: cargo bench --bench assemble -- DIRECTORY-OF-PACKAGES");
        return;
    };
    let debs: Vec<PathBuf> = entries::sorted(Path::new(&dir)).expect("a directory of packages");
    let debs: Vec<_> =
        debs.into_iter().filter(|p| p.extension().is_some_and(|e| e == "deb")).collect();
    let work = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (work.path().join("ours"), work.path().join("theirs"));

    let before = cpu_time();
    let (tree, in_memory) = timed(|| tree(&debs));
    let ((), on_disk) = timed(|| materialise(&tree, &ours, 0).expect("written"));
    println!("unpacking to disk takes {:.2} s of CPU time", cpu_time() - before);
    let ((), loop_of_dpkg) = timed(|| dpkg(&debs, &theirs));
    let names = tree.len();
    println!("{} packages, {names} names", debs.len());
    row("unpack to memory", in_memory, "dpkg-deb -x, one by one", loop_of_dpkg);
    row("unpack to disk", in_memory + on_disk, "dpkg-deb -x, one by one", loop_of_dpkg);

    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = u32::try_from(threads).expect("few CPUs");
    let packing = Packing { variant: Variant::Newc, form: Form::Zstd(LEVEL), time: 0, threads };
    let pack = || archive(&tree, packing).expect("packed").len();
    let (size, packed) = timed(pack);
    let script = format!(
        "find . -mindepth 1 -print0 | LC_ALL=C sort -z | cpio -0 -oH newc --quiet | zstd -{LEVEL} -T0 -q -o ../cpio.zst"
    );
    let ((), piped) = timed(|| run(Command::new("sh").args(["-c", &script]).current_dir(&ours)));
    let theirs = fs::metadata(work.path().join("cpio.zst")).expect("packed").len();
    println!("initrd: {size} bytes, theirs {theirs}");
    row("tree to initrd", packed, "find | sort | cpio | zstd", piped);
}

fn tree(debs: &[PathBuf]) -> Tree {
    let package = |deb: &PathBuf| Package {
        name: deb
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .split('_')
            .next()
            .expect("a part")
            .into(),
        only: Vec::new(),
        place: deb.clone(),
    };
    let packages: Vec<_> = debs.iter().map(package).collect();
    unpack(&packages, |deb| Ok(fs::read(deb)?)).expect("packages that agree")
}

fn dpkg(debs: &[PathBuf], to: &Path) {
    fs::create_dir(to).expect("made");
    debs.iter().for_each(|deb| run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(to)));
}

fn run(command: &mut Command) {
    assert!(command.status().expect("runs").success(), "{command:?}");
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// Seconds that this process has run on all CPUs (proc(5), `/proc/pid/stat`: ticks of 10 ms).
fn cpu_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = stat.split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(13) + ticks(14)) / 100.0
}

fn row(ours: &str, our_time: f64, theirs: &str, their_time: f64) {
    let ratio = our_time / their_time;
    println!("{ours:<18} {our_time:7.2} s   {theirs:<26} {their_time:7.2} s   ratio {ratio:.2}");
}
