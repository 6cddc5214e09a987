//! Evidence made to exhaust whoever reads it: time and memory stay within what its size explains.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

/// A crypto-agile log with `count` events of PCR 5, and then one that claims `length` bytes of data.
fn log(count: usize, length: Option<u32>) -> Vec<u8> {
    let header = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &[33, 0, 0, 0]].concat();
    let spec = [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2], &[1, 0, 0, 0]].concat();
    let event = |data: &[u8]| {
        let start = [5, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0];
        [&start[..], &[7; 32], data].concat()
    };
    let mut log = [header, spec, vec![0x0b, 0, 32, 0, 0]].concat();
    log.extend(event(b"\x04\0\0\0abcd").repeat(count));
    log.extend(length.map(|length| event(&length.to_le_bytes())).unwrap_or_default());
    log
}

/// A TDX quote of version 4 whose signature claims 2 GiB.
fn quote() -> Vec<u8> {
    let mut quote = vec![0; 48 + 584];
    quote[..8].copy_from_slice(&[4, 0, 2, 0, 0x81, 0, 0, 0]);
    let intel = guestsmith::digest::unhex("939a7233f79c4ca9940a0db3957f0607").expect("hexadecimal");
    quote[12..28].copy_from_slice(&intel);
    [&quote[..], &0x8000_0000_u32.to_le_bytes(), &[0; 64]].concat()
}

/// Runs with an address space of so many KiB; 2 GiB and a message is no crash.
#[expect(clippy::disallowed_methods, reason = "the limit is the shell's")]
fn limited(kilobytes: u64, arguments: &[&str]) -> Output {
    let script = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_guestsmith")]).args(arguments);
    shell.env_clear().env("RAYON_NUM_THREADS", "2").output().expect("sh")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_log_of_a_million_events_is_read_in_bounded_time_and_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("million.log");
    fs::write(&path, log(1_000_000, None)).expect("written");
    let started = Instant::now();
    let done = limited(2 << 20, &["inspect", text(&path)]);
    let told = String::from_utf8(done.stdout).expect("UTF-8");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(told.contains("and 967232 events more"), "{}", &told[told.len() - 200..]);
    assert!(told.len() < 10 << 20, "{} bytes", told.len());
    // Optimised it takes a second or two; what grows with the square would take hours.
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}

#[test]
fn a_length_of_2_gib_is_refused_without_room_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("evidence");
    for (bytes, expected) in [
        (quote(), "signature at byte offset 0x27c needs 2147483648 bytes, only 64 are left"),
        (log(1, Some(0x8000_0000)), "cut in the middle of an event"),
    ] {
        fs::write(&path, bytes).expect("written");
        let done = limited(1 << 20, &["inspect", text(&path)]);
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
