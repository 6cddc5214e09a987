//! What people get wrong about a kernel command line.

use super::deviation::{Deviation, cost};
use crate::measure::kata::{ARCHITECTURE, SYSTEMD};

/// Words that come and go: what VMMs, distributions and container runtimes add, and what people
/// switch on while they look for a fault. Those of kata stand in a table of their own.
const COMMON: &[&str] = &[
    "quiet",
    "debug",
    "ro",
    "rw",
    "console=ttyS0",
    "console=ttyS0,115200",
    "console=hvc0",
    "console=hvc1",
    "console=tty0",
    "earlyprintk=ttyS0",
    "earlyprintk=serial,ttyS0",
    "ignore_loglevel",
    "loglevel=7",
    "initcall_debug",
    "panic=1",
    "panic=-1",
    "panic=0",
    "reboot=t",
    "nomodeset",
    "root=/dev/vda1",
    "root=/dev/sda1",
    "root=/dev/pmem0p1",
    "rootfstype=ext4",
    "rootflags=dax,data=ordered,errors=remount-ro ro",
    "pci=nommconf",
    "systemd.show_status=false",
    "systemd.show_status=true",
    "systemd.log_level=debug",
    "iommu=off",
    "selinux=1",
    "cc_rootfs_verity.scheme=dm-verity",
    "agent.unified_cgroup_hierarchy=true",
    "agent.guest_components_rest_api=all",
    "agent.aa_kbc_params=offline_fs_kbc::null",
    "rd.shell=0",
    "nosmt",
    "efi=noruntime",
    "oops=panic",
    "scsi_mod.scan=none",
    "agent.log=debug",
    "agent.debug_console",
    "agent.debug_console_vport=1026",
    "agent.enable_signature_verification=false",
    "cgroup_no_v1=all",
    "systemd.unified_cgroup_hierarchy=1",
    "selinux=0",
    "apparmor=0",
    "mitigations=off",
    "lockdown=confidentiality",
    "iommu=pt",
    "swiotlb=force",
    "mem_encrypt=on",
    "initrd=initrd",
    "nokaslr",
    "splash",
    "single",
    "ip=dhcp",
    "root=/dev/vda",
    "root=/dev/vda2",
    "console=ttyS0,115200n8",
    "console=ttyAMA0",
    "audit=0",
    "ipv6.disable=1",
    "init=/bin/sh",
    "rdinit=/bin/sh",
    "rd.break",
];

/// What kata-containers writes in one version or configuration and not in another: two texts, either
/// of which may stand for the other, and what decides (kata-containers
/// `src/runtime/virtcontainers/qemu_amd64.go`, `qemu_arch_base.go` and `qemu.go`, 1.x to 4.x).
const KATA: &[(&str, &str, &str)] = &[
    (
        "quiet systemd.show_status=false",
        "debug systemd.show_status=true systemd.log_level=debug",
        "kata's debug switch",
    ),
    (
        " reboot=k cryptomgr.notests",
        " reboot=k console=hvc0 console=hvc1 cryptomgr.notests",
        "kata's consoles, by version",
    ),
    (
        " console=hvc1 cryptomgr.notests",
        " console=hvc1 iommu=off cryptomgr.notests",
        "kata's IOMMU, by version",
    ),
    (" selinux=0", " selinux=1", "kata's disable_guest_selinux"),
    (" selinux=0", "", "kata's SELinux word, by version"),
    (
        " cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1",
        "",
        "kata's cgroup hierarchy, by version",
    ),
];

/// Every word that comes and goes.
fn common() -> impl Iterator<Item = &'static str> {
    [COMMON, ARCHITECTURE, SYSTEMD].into_iter().flatten().copied()
}

/// Counts of vCPUs that kata wrote as `nr_cpus` until it left the word out of confidential guests.
const NR_CPUS: &[u32] = &[1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 240, 256];

/// Words of a command line beyond which only its ends are varied: the variants grow with the
/// square.
const MANY: usize = 64;

/// Every command line that lies one mistake away from `expected`, with the mistake.
pub(super) fn variants(expected: &str) -> Vec<(String, Deviation)> {
    let mut found = ends(expected);
    let words: Vec<&str> = expected.split(' ').collect();
    if words.len() <= MANY {
        found.extend(without(&words));
        found.extend(with(&words));
        found.extend(replaced(&words));
        found.extend(moved(&words));
        found.extend(inserted(&words));
        found.extend(kata(expected));
        found.extend(cut(&words));
    }
    found.retain(|(text, _)| text != expected);
    found.sort_by(|(a, x), (b, y)| (a, x.cost).cmp(&(b, y.cost)));
    found.dedup_by(|(later, _), (earlier, _)| later == earlier);
    found.sort_by_key(|(_, deviation)| deviation.cost);
    found
}

/// What is put around a command line, whatever else is wrong with it.
pub(super) fn ended(line: &str) -> Vec<(String, Deviation)> {
    let mut found = ends(line);
    found.retain(|(text, d)| text.starts_with(line) && text != line && d.cost == cost::LINE_END);
    found
}

fn new(what: impl Into<String>, cost: u32) -> Deviation {
    Deviation::new("cmdline", cost, format!("command line {}", what.into()))
}

/// What editors, shells and VMMs put around it.
fn ends(line: &str) -> Vec<(String, Deviation)> {
    let mut found = vec![
        (format!("{line}\n"), new("with a line end behind it", cost::LINE_END)),
        (format!("{line} "), new("with a space behind it", cost::LINE_END)),
        (format!(" {line}"), new("with a space before it", cost::RARE)),
        (format!("{line}\0"), new("with a second NUL behind it", cost::LINE_END)),
        (format!("{line}\n\0"), new("with a line end and a second NUL behind it", cost::RARE)),
        (format!("{line}\r\n"), new("with a DOS line end behind it", cost::LINE_END)),
        (format!("{line}\r"), new("with a carriage return behind it", cost::RARE)),
        (format!("\"{line}\""), new("in quotation marks", cost::RARE)),
        (format!("'{line}'"), new("in single quotation marks", cost::RARE)),
        (String::new(), new("empty", cost::ABSENT)),
    ];
    let ends: &[char] = &[' ', '\n', '\r', '\t', '\0'];
    let trimmed = line.trim_matches(ends);
    if trimmed != line {
        found.push((trimmed.to_string(), new("without white space around it", cost::LINE_END)));
        let before = line.trim_end_matches(ends);
        found.push((before.to_string(), new("without the white space behind it", cost::LINE_END)));
    }
    if line.contains("  ") {
        let single = line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        found.push((single, new("with single spaces", cost::LINE_END)));
    }
    found.push((line.replace(' ', "  "), new("with doubled spaces", cost::RARE)));
    found.push((line.replace(' ', "\t"), new("with tabs instead of spaces", cost::RARE)));
    found.push((line.replace(' ', "\n"), new("with line ends instead of spaces", cost::RARE)));
    found
}

fn without(words: &[&str]) -> Vec<(String, Deviation)> {
    let drop = |index: usize| {
        let rest = words.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, word)| *word);
        let what = format!("without `{}`", words[index]);
        (rest.collect::<Vec<_>>().join(" "), new(what, cost::WORD))
    };
    (0..words.len()).map(drop).collect()
}

/// Words that are missing at an end, two and more: a line of a script was forgotten.
fn cut(words: &[&str]) -> Vec<(String, Deviation)> {
    let mut found = Vec::new();
    for count in 2..words.len() {
        let (kept, last) = words.split_at(words.len() - count);
        found.push((kept.join(" "), new(format!("without `{}`", last.join(" ")), cost::RARE)));
        let (first, kept) = words.split_at(count);
        found.push((kept.join(" "), new(format!("without `{}`", first.join(" ")), cost::RARE)));
    }
    found
}

/// A common word, at the end or at the start.
fn with(words: &[&str]) -> Vec<(String, Deviation)> {
    let line = words.join(" ");
    let missing = common().filter(|word| !words.contains(word));
    let both = |word: &str| {
        [
            (format!("{line} {word}"), new(format!("with `{word}` behind it"), cost::WORD)),
            (format!("{word} {line}"), new(format!("with `{word}` before it"), cost::WORD)),
        ]
    };
    let mut found: Vec<_> = missing.flat_map(both).collect();
    for word in words {
        let what = format!("with `{word}` a second time behind it");
        found.push((format!("{line} {word}"), new(what, cost::ORDER)));
    }
    found
}

/// A common word between two others.
fn inserted(words: &[&str]) -> Vec<(String, Deviation)> {
    let mut found = Vec::new();
    for word in common().filter(|word| !words.contains(word)) {
        for at in 1..words.len() {
            let line = [&words[..at], &[word], &words[at..]].concat();
            let what = format!("with `{word}` behind `{}`", words[at - 1]);
            found.push((line.join(" "), new(what, cost::RARE)));
        }
    }
    found
}

/// What another version or configuration of kata-containers would have written.
fn kata(line: &str) -> Vec<(String, Deviation)> {
    let mut found = Vec::new();
    for (here, instead, why) in KATA {
        for (from, to) in [(here, instead), (instead, here)] {
            if !from.is_empty() && line.contains(from) {
                let what = match to.trim() {
                    "" => format!("without `{}` ({why})", from.trim()),
                    to => format!("with `{to}` instead of `{}` ({why})", from.trim()),
                };
                found.push((line.replacen(from, to, 1), new(what, cost::WORD)));
            }
        }
    }
    let count = |word: &&str| word.starts_with("nr_cpus=");
    for cpus in NR_CPUS {
        let word = format!("nr_cpus={cpus}");
        let text = match line.split(' ').find(count) {
            Some(other) => line.replacen(other, &word, 1),
            None if line.contains(" selinux=0") => {
                line.replacen(" selinux=0", &format!(" {word} selinux=0"), 1)
            }
            None => format!("{line} {word}"),
        };
        found.push((text, new(format!("with `{word}` (kata wrote it once)"), cost::WORD)));
    }
    found
}

/// A word with another value that is common for its key: `console=hvc0` for `console=ttyS0`.
fn replaced(words: &[&str]) -> Vec<(String, Deviation)> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let Some((key, value)) = word.split_once('=') else { continue };
        let common = common().filter_map(|other| other.split_once('='));
        let mut values: Vec<_> =
            common.filter(|(other, _)| *other == key).map(|(_, value)| value.to_string()).collect();
        values.extend(near(value));
        values.sort();
        values.dedup();
        let met = values.into_iter().map(|value| (value, cost::WORD));
        let counted = numbers(value).map(|value| (value, cost::RARE));
        for (other, cost) in met.chain(counted).filter(|(other, _)| other != value) {
            let other = format!("{key}={other}");
            let mut line = words.to_vec();
            line[index] = &other;
            let what = format!("with `{other}` instead of `{word}`");
            found.push((line.join(" "), new(what, cost)));
        }
    }
    found
}

/// Small numbers in the place of a number.
fn numbers(value: &str) -> impl Iterator<Item = String> {
    let last = if value.parse::<i32>().is_ok() { 64 } else { -1 };
    (0..=last).map(|number| number.to_string())
}

/// Values that stand for the same question answered otherwise: switches, small numbers.
fn near(value: &str) -> Vec<String> {
    const PAIRS: &[&[&str]] =
        &[&["0", "1", "-1", "2", "5", "10"], &["true", "false"], &["on", "off"], &["yes", "no"]];
    let pair = PAIRS.iter().find(|pair| pair.contains(&value));
    pair.into_iter().flat_map(|pair| pair.iter().map(|text| (*text).to_string())).collect()
}

/// One word at another place.
fn moved(words: &[&str]) -> Vec<(String, Deviation)> {
    let mut found = Vec::new();
    for from in 0..words.len() {
        for to in (0..words.len()).filter(|to| *to != from) {
            let mut line = words.to_vec();
            let word = line.remove(from);
            line.insert(to, word);
            let place = match to {
                0 => "first".to_string(),
                _ => format!("behind `{}`", line[to - 1]),
            };
            found.push((line.join(" "), new(format!("with `{word}` {place}"), cost::ORDER)));
        }
    }
    let mut reversed = words.to_vec();
    reversed.reverse();
    found.push((reversed.join(" "), new("with its words in reverse", cost::RARE)));
    let mut sorted = words.to_vec();
    sorted.sort_unstable();
    found.push((sorted.join(" "), new("with its words sorted", cost::RARE)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found_once_each() {
        let variants = variants("console=ttyS0 quiet panic=1");
        let what = |line: &str| {
            let found = variants.iter().find(|(text, _)| text == line);
            found.map(|(_, deviation)| deviation.what.clone()).unwrap_or_default()
        };
        assert_eq!(what("console=ttyS0 quiet panic=1\n"), "command line with a line end behind it");
        assert_eq!(what("console=ttyS0 panic=1"), "command line without `quiet`");
        let number = "command line with `panic=30` instead of `panic=1`";
        assert_eq!(what("console=ttyS0 quiet panic=30"), number);
        assert_eq!(what("console=ttyS0 quiet panic=1 ro"), "command line with `ro` behind it");
        assert_eq!(
            what("console=hvc0 quiet panic=1"),
            "command line with `console=hvc0` instead of `console=ttyS0`"
        );
        assert_eq!(
            what("quiet console=ttyS0 panic=1"),
            "command line with `console=ttyS0` behind `quiet`"
        );
        let mut texts: Vec<_> = variants.iter().map(|(text, _)| text).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), variants.len());
    }
}
