//! What people get wrong about a kernel command line.

use super::deviation::{Deviation, cost};

/// Words that come and go: what VMMs, distributions and container runtimes add, and what people
/// switch on while they look for a fault.
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
    "reboot=k",
    "nomodeset",
    "root=/dev/vda1",
    "root=/dev/sda1",
    "root=/dev/pmem0p1",
    "rootfstype=ext4",
    "rootflags=dax,data=ordered,errors=remount-ro ro",
    "tsc=reliable",
    "no_timer_check",
    "rcupdate.rcu_expedited=1",
    "i8042.direct=1",
    "i8042.dumbkbd=1",
    "i8042.nopnp=1",
    "i8042.noaux=1",
    "noreplace-smp",
    "cryptomgr.notests",
    "net.ifnames=0",
    "pci=lastbus=0",
    "pci=nommconf",
    "systemd.show_status=false",
    "systemd.show_status=true",
    "systemd.unit=kata-containers.target",
    "systemd.mask=systemd-networkd.service",
    "systemd.mask=systemd-networkd.socket",
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
];

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
    }
    found.retain(|(text, _)| text != expected);
    found.sort_by(|(a, x), (b, y)| (a, x.cost).cmp(&(b, y.cost)));
    found.dedup_by(|(later, _), (earlier, _)| later == earlier);
    found.sort_by_key(|(_, deviation)| deviation.cost);
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
        (format!("{line}\r\n"), new("with a DOS line end behind it", cost::RARE)),
        (format!("\"{line}\""), new("in quotation marks", cost::RARE)),
        (String::new(), new("empty", cost::ABSENT)),
    ];
    let trimmed = line.trim();
    if trimmed != line {
        found.push((trimmed.to_string(), new("without white space around it", cost::LINE_END)));
    }
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

/// A common word, at the end or at the start.
fn with(words: &[&str]) -> Vec<(String, Deviation)> {
    let line = words.join(" ");
    let missing = COMMON.iter().filter(|word| !words.contains(word));
    let both = |word: &&str| {
        [
            (format!("{line} {word}"), new(format!("with `{word}` behind it"), cost::WORD)),
            (format!("{word} {line}"), new(format!("with `{word}` before it"), cost::WORD)),
        ]
    };
    missing.flat_map(both).collect()
}

/// A word with another value that is common for its key: `console=hvc0` for `console=ttyS0`.
fn replaced(words: &[&str]) -> Vec<(String, Deviation)> {
    let key = |word: &str| word.split_once('=').map(|(key, _)| key.to_string());
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let others = COMMON.iter().filter(|other| *other != word && key(other) == key(word));
        for other in others.filter(|_| key(word).is_some()) {
            let mut line = words.to_vec();
            line[index] = other;
            let what = format!("with `{other}` instead of `{word}`");
            found.push((line.join(" "), new(what, cost::WORD)));
        }
    }
    found
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
