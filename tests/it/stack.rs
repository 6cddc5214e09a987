//! The stack built from source boots, refuses what it was not launched with, and is as hard from
//! inside as it was configured to be. `ci/differential stack` builds it before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guestsmith::recipe::Arch;
use guestsmith::sandbox::host::Host;
use guestsmith::verify::boot::{Accelerator, Outcome, Setup, boot_with, kernel_hashes};

fn host() -> Host {
    let path = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from).to_vec();
    Host { path, variables: BTreeMap::new() }
}

/// The built boot set, with one of its firmware images.
fn setup(firmware: &str) -> Setup {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/boot-sets/coco-guest");
    let cmdline = fs::read_to_string(dir.join("cmdline"));
    Setup {
        arch: Arch::X86_64,
        firmware: Some(dir.join(format!("firmware-{firmware}.fd"))),
        kernel: dir.join("vmlinuz"),
        initrd: Some(dir.join("initrd.img")),
        cmdline: cmdline.expect("a boot set; run ci/differential stack"),
        memory_mib: 1024,
        vcpus: 1,
        loaded: Vec::new(),
    }
}

fn boot(setup: &Setup, limit: Duration) -> Outcome {
    boot_with(&host(), setup, Accelerator::Tcg, limit).expect("QEMU")
}

/// What the agent sees of a hardened kernel.
#[expect(clippy::print_stdout, reason = "what a run of the named target shows")]
fn judge(outcome: &Outcome, setup: &Setup) {
    assert!(outcome.passed(), "{}", outcome.console);
    let report = outcome.report.as_ref().expect("a report");
    let cmdline = report["cmdline"].as_str().expect("a command line");
    assert!(cmdline.starts_with(&setup.cmdline), "{cmdline}"); // the stub adds `initrd=initrd`
    let lockdown = report["lockdown"].as_str().expect("lockdown");
    assert!(lockdown.contains("[confidentiality]"), "{lockdown}");
    let states = report["vulnerabilities"].as_object().expect("vulnerabilities");
    println!("{states:#?}");
    for known in ["spectre_v1", "spectre_v2"] {
        let state = states[known].as_str().expect("a state");
        assert!(state.starts_with("Mitigation: "), "{known}: {state}");
    }
    let mitigated = states.values().filter(|s| s.as_str().is_some_and(|s| s != "Vulnerable"));
    assert!(mitigated.count() >= 10, "{states:#?}");
    assert_eq!(report["notes"], serde_json::json!([]), "everything is mounted");
}

#[test]
#[ignore = "boots what ci/differential stack builds"]
fn the_tdx_build_boots_and_is_hard() {
    let setup = setup("inteltdx");
    judge(&boot(&setup, Duration::from_secs(900)), &setup);
}

#[test]
#[ignore = "boots what ci/differential stack builds"]
fn the_sev_build_boots_what_its_table_names_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = setup("amdsev");
    let (address, table) = kernel_hashes(&host(), &setup).expect("readable").expect("a place");
    let table = table.bytes();
    let place = dir.path().join("table");
    setup.loaded.push((place.clone(), address));
    fs::write(&place, table).expect("written");
    let start = Instant::now();
    judge(&boot(&setup, Duration::from_secs(900)), &setup);
    let patience = start.elapsed() * 2;
    // A bit of the last hash, and one near the start.
    for offset in [table.len() - 20, 50] {
        let mut wrong = table.to_vec();
        wrong[offset] ^= 1;
        fs::write(&place, &wrong).expect("written");
        let outcome = boot(&setup, patience);
        assert!(outcome.report.is_none(), "one bit wrong at {offset}: {}", outcome.console);
    }
    setup.loaded.clear();
    let outcome = boot(&setup, patience);
    assert!(outcome.report.is_none(), "without a table: {}", outcome.console);
}
