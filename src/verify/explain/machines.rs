//! What people get wrong about the machine.

use std::collections::{BTreeMap, BTreeSet};

use super::deviation::{Deviation, cost};
use crate::measure::machine::Kind;
use crate::measure::{self, Machine, Setting, Tee, cpu};
use crate::reference;

/// Texts of settings, as recipes and the command line give them.
type Texts = BTreeMap<String, String>;

/// SEV_FEATURES that are met: SNP alone, with DebugSwap, SecureTSC, both, with the interrupt
/// restrictions of paravisors, and none (AMD APM volume 2, table B-4, SEV_FEATURES).
const FEATURES: &[u64] = &[
    0x1, 0x21, 0x0, 0x201, 0x221, 0x9, 0x11, 0x5, 0x20, 0x3, 0x7, 0x41, 0x61, 0x81, 0xa1, 0x29,
    0x31, 0x10001, 0x10021,
];

/// Bits of SEV_FEATURES of which any two may be otherwise.
const FEATURE_BITS: u32 = 22;

/// Sizes of memory that are met, in MiB.
pub(super) const MEMORY: &[u64] = &[
    256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536,
    98304, 131_072, 196_608, 262_144, 393_216, 524_288,
];

/// Counts of vCPUs up to which all are tried beside something else, and up to which alone.
const ALL_COUNTS: u32 = 256;
const MOST_COUNTS: u32 = 1024;

/// What `-cpu host` may show of processors whose stepping no model of QEMU has. Candidates only, taken
/// from no document: it is the digest that proves one.
const SIGNATURES: &[&str] = &[
    "0x800f11", "0x800f12", "0x830f10", "0x830f11", "0xa00f10", "0xa00f12", "0xa10f11", "0xa10f12",
    "0xaa0f01", "0xaa0f02", "0xb00f20", "0xb00f21", "0xb10f10",
];

/// Versions around which what is measured changes.
const VERSIONS: &[&str] =
    &["6.5", "6.8", "6.9", "6.10", "6.12", "7.2", "8.2", "9.1", "10.0", "10.1"];

/// The settings of a machine of reference values as texts.
pub(super) fn texts(machine: &reference::Machine) -> Texts {
    let mut texts: Texts = machine.settings.clone();
    texts.insert("vmm".to_string(), machine.vmm.clone());
    texts.extend(machine.cpu.clone().map(|cpu| ("cpu".to_string(), cpu)));
    texts.extend(machine.vcpus.map(|count| ("vcpus".to_string(), count.to_string())));
    texts.extend(machine.memory.map(|bytes| ("memory".to_string(), format!("{}KiB", bytes >> 10))));
    texts
}

/// The machine that `texts` describe, if the TEE knows it.
pub(super) fn machine(tee: &Tee, texts: &Texts) -> Option<Machine> {
    let given = texts.iter().map(|(name, text)| (name.clone(), vec![text.clone()])).collect();
    measure::machines(tee, &given).ok()?.pop()
}

/// Machines, each with what is otherwise about it.
#[derive(Default)]
pub(super) struct Machines {
    pub(super) list: Vec<Machine>,
    pub(super) deviations: Vec<Vec<Deviation>>,
}

/// Machines with at most `depth` settings otherwise, the likelier first; the expected one leads. What is
/// seldom met comes alone, and only if there is room for two.
pub(super) fn variants(tee: &Tee, expected: &Texts, depth: usize) -> Machines {
    let dimensions = dimensions(tee, expected);
    let rare = |deviation: &Deviation| deviation.cost >= cost::RARE;
    let mut texts = vec![(expected.clone(), Vec::new())];
    for (name, values) in &dimensions {
        let so_far = texts.len();
        for index in 0..so_far {
            let (base, deviations): (Texts, Vec<Deviation>) = texts[index].clone();
            if deviations.len() >= depth || deviations.iter().any(rare) {
                continue;
            }
            let alone = depth > 1 && deviations.is_empty();
            for (value, deviation) in values.iter().filter(|(_, d)| alone || !rare(d)) {
                let mut texts_of = base.clone();
                texts_of.insert(name.clone(), value.clone());
                let deviations = [&deviations[..], std::slice::from_ref(deviation)].concat();
                texts.push((texts_of, deviations));
            }
        }
    }
    let cost = |list: &[Deviation]| list.iter().map(|d| d.cost).sum::<u32>();
    texts.sort_by_key(|(_, deviations)| (deviations.len(), cost(deviations)));
    let mut found = Machines::default();
    for (texts, deviations) in texts {
        if let Some(machine) = machine(tee, &texts) {
            found.list.push(machine);
            found.deviations.push(deviations);
        }
    }
    found
}

/// Every setting with the values that it may have instead.
fn dimensions(tee: &Tee, expected: &Texts) -> Vec<(String, Vec<(String, Deviation)>)> {
    let vmms = tee.vmms.iter().map(|vmm| ((*vmm).to_string(), cost::VMM));
    let mut dimensions = vec![("vmm".to_string(), others("vmm", expected, vmms.collect()))];
    for setting in tee.takes.iter().filter(|setting| **setting != measure::machine::CPU_SIGNATURE) {
        let values = values(setting, expected.get(setting.name));
        dimensions.push((setting.name.to_string(), others(setting.name, expected, values)));
    }
    dimensions
}

fn others(name: &str, expected: &Texts, values: Vec<(String, u32)>) -> Vec<(String, Deviation)> {
    let stated = expected.get(name);
    let instead = stated.map_or_else(|| "the default".to_string(), Clone::clone);
    let differs = values.into_iter().filter(|(value, _)| !same(name, stated, value));
    let deviation = |(value, cost): (String, u32)| {
        let what = format!("{name} {} instead of {}", shown(name, &value), instead);
        let deviation = Deviation::new(name, cost, what);
        (value, deviation)
    };
    differs.map(deviation).collect()
}

/// True if both texts of a setting mean the same: models of one signature do.
fn same(name: &str, stated: Option<&String>, value: &str) -> bool {
    let signature = |text: &str| measure::Cpu::parse(text).ok().map(|cpu| cpu.signature);
    match (name, stated) {
        (_, None) => false,
        ("cpu", Some(stated)) => signature(stated) == signature(value),
        (_, Some(stated)) => stated == value,
    }
}

/// A model stands for all that share its signature.
fn shown(name: &str, value: &str) -> String {
    match name {
        "cpu" => match measure::Cpu::parse(value) {
            Ok(cpu) if value.starts_with("0x") => format!("of signature {:#x}", cpu.signature),
            Ok(cpu) => format!("{value} (signature {:#x})", cpu.signature),
            Err(_) => value.to_string(),
        },
        _ => value.to_string(),
    }
}

/// Values that a setting is met with, each with its cost.
fn values(setting: &Setting, stated: Option<&String>) -> Vec<(String, u32)> {
    let texts = |list: &[&str], cost| list.iter().map(|text| ((*text).to_string(), cost)).collect();
    match setting.kind {
        Kind::Count => {
            let cost = |n| if n > ALL_COUNTS { cost::RARE } else { cost::COUNT };
            (1..=MOST_COUNTS).map(|n| (n.to_string(), cost(n))).collect()
        }
        Kind::Cpu => models().into_iter().map(|name| (name, cost::MODEL)).collect(),
        Kind::Number => features(stated),
        Kind::Size => MEMORY.iter().map(|n| (format!("{}KiB", n << 10), cost::COUNT)).collect(),
        Kind::Version => texts(VERSIONS, cost::SETTING),
        Kind::Flag => texts(&["true", "false"], cost::SETTING),
        Kind::Choice(words) => texts(words, cost::SETTING),
        Kind::Text => Vec::new(),
    }
}

/// SEV_FEATURES: those that are met, and those with a bit or two otherwise than stated.
fn features(stated: Option<&String>) -> Vec<(String, u32)> {
    let number = |text: &String| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let base = stated.and_then(number).unwrap_or(FEATURES[0]);
    let bits = (0..FEATURE_BITS).map(|bit| 1 << bit);
    let pairs = bits.clone().flat_map(|a: u64| bits.clone().map(move |b| base ^ (a | b)));
    let pairs: BTreeSet<u64> = pairs.filter(|value| !FEATURES.contains(value)).collect();
    let met = FEATURES.iter().map(|value| (*value, cost::SETTING));
    let all = met.chain(pairs.into_iter().map(|value| (value, cost::RARE)));
    all.map(|(value, cost)| (format!("{value:#x}"), cost)).collect()
}

/// One model of each signature, the first of the table.
fn models() -> Vec<String> {
    let mut seen = Vec::new();
    let mut names = Vec::new();
    for model in cpu::MODELS {
        if !seen.contains(&model.signature) {
            seen.push(model.signature);
            names.push(model.name.to_string());
        }
    }
    let known =
        |text: &&&str| measure::Cpu::parse(text).is_ok_and(|cpu| !seen.contains(&cpu.signature));
    names.extend(SIGNATURES.iter().filter(known).map(|text| (*text).to_string()));
    names
}
