//! What the agent sees of the guest that it runs in.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::evidence::{hex, tee};
use crate::mounts::first_of;
use crate::words::Words;

/// Event logs, the confidential-computing one first (ACPI CCEL, then the TPM's).
const EVENT_LOGS: &[&str] =
    &["/sys/firmware/acpi/tables/data/CCEL", "/sys/kernel/security/tpm0/binary_bios_measurements"];

/// The agent's one line.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this form.
    version: u32,
    /// TEE by its provider's name: `sev_guest`, `tdx_guest`, `arm_cca_guest`, `s390-pv`, `none`.
    tee: String,
    /// `uname -r` and the rest of the version text.
    kernel: String,
    /// The kernel command line.
    cmdline: String,
    /// SHA-256 of the command line, without terminator.
    cmdline_sha256: String,
    /// SHA-256 of the agent's own binary.
    agent_sha256: Option<String>,
    /// SHA-256 of the initial RAM disk, where the kernel keeps it (`retain_initrd`).
    initrd_sha256: Option<String>,
    /// Number of CPUs and memory in KiB that the kernel uses.
    cpus: usize,
    memory_kib: u64,
    /// Lockdown mode, and the state of each CPU vulnerability.
    lockdown: Option<String>,
    vulnerabilities: BTreeMap<String, String>,
    /// The firmware's event log: where, and its SHA-256.
    event_log: Option<EventLog>,
    /// PCRs of a TPM by bank, in order.
    pcrs: BTreeMap<String, Vec<String>>,
    /// vsock port of the evidence service.
    vsock_port: Option<u32>,
    /// What did not work, in words.
    notes: Vec<String>,
}

/// Where an event log stands.
#[derive(Debug, Serialize)]
struct EventLog {
    path: String,
    sha256: String,
}

impl Report {
    /// Looks around.
    pub fn gather(words: &Words, server: Result<u32, String>, mut notes: Vec<String>) -> Self {
        notes.extend(server.as_ref().err().cloned());
        Self {
            version: 1,
            tee: tee(),
            kernel: text("/proc/version").unwrap_or_default(),
            cmdline: words.line.clone(),
            cmdline_sha256: hex(&Sha256::digest(&words.line)),
            agent_sha256: digest_of(&["/proc/self/exe"]).map(|found| found.sha256),
            initrd_sha256: digest_of(&["/sys/firmware/initrd"]).map(|found| found.sha256),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_kib: memory(&text("/proc/meminfo").unwrap_or_default()),
            lockdown: text("/sys/kernel/security/lockdown"),
            vulnerabilities: files("/sys/devices/system/cpu/vulnerabilities"),
            event_log: digest_of(EVENT_LOGS),
            pcrs: pcrs(),
            vsock_port: server.ok(),
            notes,
        }
    }
}

fn text(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

/// Every file of a directory with its text, sorted by name.
fn files(dir: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, text(entry.path().to_str()?)?))
    });
    named.collect()
}

fn digest_of(paths: &[&str]) -> Option<EventLog> {
    let (path, mut file) = first_of(paths)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(EventLog { path, sha256: hex(&Sha256::digest(&bytes)) })
}

/// `MemTotal` of `/proc/meminfo`, in KiB.
fn memory(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// PCR 0 to 15 of each bank that the kernel shows.
fn pcrs() -> BTreeMap<String, Vec<String>> {
    let banks = ["sha1", "sha256", "sha384", "sha512"].into_iter().filter_map(|bank| {
        let read = |index| text(&format!("/sys/class/tpm/tpm0/pcr-{bank}/{index}"));
        let values: Option<Vec<_>> = (0..16).map(read).collect();
        Some((bank.to_string(), values?.iter().map(|v| v.to_lowercase()).collect()))
    });
    banks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(memory("MemTotal:        2030128 kB\nMemFree: 1 kB\n"), 2_030_128);
        assert_eq!(memory(""), 0);
    }
}
