//! What people get wrong about the files of a guest.

use std::collections::BTreeSet;

use super::cmdline;
use super::deviation::{Deviation, cost};
use crate::build::packed::Packed;
use crate::measure::guest::CMDLINE;
use crate::measure::{Guest, Tee};

/// Bytes to which an initrd is unpacked at most.
const MAX_UNPACKED: u64 = 1 << 30;

/// A file that may have been used instead of the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// What it could stand for: `firmware`, `kernel`, `initrd`.
    pub input: String,
    /// Where it comes from, for messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One input, otherwise than expected.
enum Change<'a> {
    Cmdline(&'a str),
    File(&'a str, &'a [u8]),
    Without(&'static [&'static str]),
}

/// Everything that may stand in the place of the expected files, owned.
pub(super) struct Alternatives {
    cmdlines: Vec<(String, Deviation)>,
    /// Command lines with two mistakes.
    twice: Vec<(String, [Deviation; 2])>,
    files: Vec<(Other, Deviation)>,
}

impl Alternatives {
    /// Alternatives to the files of `guest`, with those that `others` has.
    pub(super) fn new(guest: Option<&Guest<'_>>, others: &[Other]) -> Self {
        let nothing = Guest::default();
        let guest = guest.unwrap_or(&nothing);
        let cmdlines = guest.cmdline.map(cmdline::variants).unwrap_or_default();
        let mut files: Vec<_> = others
            .iter()
            .filter(|other| guest.file(&other.input) != Some(&other.bytes))
            .map(|other| {
                let what = format!("{} is {}", other.input, other.name);
                (other.clone(), Deviation::new(&other.input, cost::FILE, what))
            })
            .collect();
        files.extend(guest.initrd.and_then(unpacked));
        let twice = twice(guest.cmdline, &cmdlines);
        Self { cmdlines, twice, files }
    }

    /// The files, as far as a launch digest holds their SHA-256.
    pub(super) fn files<'a>(&'a self, guest: &Guest<'a>) -> Vec<&'a [u8]> {
        let expected = [guest.firmware, guest.kernel, guest.initrd];
        let others = self.files.iter().map(|(other, _)| &other.bytes[..]);
        expected.into_iter().flatten().chain(others).collect()
    }

    /// Files that may stand for `input`, each with what that means.
    pub(super) fn of<'a>(
        &'a self,
        input: &'a str,
    ) -> impl Iterator<Item = (&'a [u8], &'a Deviation)> {
        let files = self.files.iter().filter(move |(other, _)| other.input == input);
        files.map(|(other, deviation)| (&other.bytes[..], deviation))
    }

    /// The firmware among them.
    pub(super) fn firmware<'a>(&'a self, guest: &Guest<'a>) -> Vec<&'a [u8]> {
        guest.firmware.into_iter().chain(self.of("firmware").map(|(bytes, _)| bytes)).collect()
    }

    /// Guests with one input otherwise, and, of different inputs, with two.
    pub(super) fn guests<'a>(&'a self, guest: &Guest<'a>, tee: &Tee) -> Vec<Variant<'a>> {
        let changes = self.changes(guest, tee);
        let one = |(change, deviation): &(Change<'a>, Deviation)| Variant {
            guest: apply(guest, change),
            deviations: vec![deviation.clone()],
        };
        let mut variants: Vec<_> = changes.iter().map(one).collect();
        for (index, (first, a)) in changes.iter().enumerate() {
            for (second, b) in changes.iter().skip(index + 1).filter(|(_, b)| b.input != a.input) {
                let guest = apply(&apply(guest, first), second);
                variants.push(Variant { guest, deviations: vec![a.clone(), b.clone()] });
            }
        }
        if tee.reads.contains(&CMDLINE) && !is_chain(tee) {
            variants.extend(self.twice.iter().map(|(line, deviations)| Variant {
                guest: apply(guest, &Change::Cmdline(line)),
                deviations: deviations.to_vec(),
            }));
        }
        variants.sort_by_key(|variant| (variant.deviations.len(), variant.cost()));
        variants
    }

    fn changes<'a>(&'a self, guest: &Guest<'a>, tee: &Tee) -> Vec<(Change<'a>, Deviation)> {
        let reads = |name: &str| tee.reads.iter().any(|file| file.name == name);
        let mut changes: Vec<_> = Vec::new();
        if reads("kernel") && guest.kernel.is_some() {
            let all = &["kernel", "initrd", "cmdline"];
            let what = "kernel, initrd and command line are not measured (kernel-hashes=off)";
            changes.push((Change::Without(all), Deviation::new("kernel", cost::ABSENT, what)));
        }
        if reads("initrd") && guest.initrd.is_some() {
            let what = "initrd is not given";
            changes
                .push((Change::Without(&["initrd"]), Deviation::new("initrd", cost::ABSENT, what)));
        }
        let files = self.files.iter().filter(|(other, _)| reads(&other.input));
        changes
            .extend(files.map(|(other, d)| (Change::File(&other.input, &other.bytes), d.clone())));
        // Chains of events are searched event by event, which is faster by far.
        let lines = self.cmdlines.iter().filter(|_| reads("cmdline") && !is_chain(tee));
        changes.extend(lines.map(|(line, d)| (Change::Cmdline(line), d.clone())));
        changes
    }
}

/// Command lines with two mistakes, neither of which is seldom met: a word and an end, and, of short
/// lines, two words. Each line once, with the likeliest pair.
fn twice(expected: Option<&str>, once: &[(String, Deviation)]) -> Vec<(String, [Deviation; 2])> {
    const FEW: usize = 12;
    let few = expected.is_some_and(|line| line.split(' ').count() <= FEW);
    let both = |(line, a): &(String, Deviation)| {
        let words = match few && a.cost <= cost::WORD {
            true => cmdline::variants(line),
            false => cmdline::ended(line),
        };
        let likely = words.into_iter().filter(|(_, b)| b.cost <= cost::WORD);
        let pair = |(text, b)| (text, [a.clone(), b]);
        likely.map(pair).collect::<Vec<_>>()
    };
    let mut seen: BTreeSet<&str> = once.iter().map(|(line, _)| &line[..]).collect();
    seen.extend(expected);
    let cheap = once.iter().filter(|(_, deviation)| deviation.cost < cost::RARE);
    let mut all: Vec<_> = cheap.flat_map(both).collect();
    all.sort_by_key(|(_, [a, b])| a.cost + b.cost);
    let mut known: BTreeSet<String> = BTreeSet::new();
    all.retain(|(line, _)| !seen.contains(&line[..]) && known.insert(line.clone()));
    all
}

/// A guest with what is otherwise about it.
pub(super) struct Variant<'a> {
    pub(super) guest: Guest<'a>,
    pub(super) deviations: Vec<Deviation>,
}

impl Variant<'_> {
    /// How many settings of the machine may be otherwise as well: two deviations in all, and none
    /// beside one that is seldom met.
    pub(super) fn room(&self) -> usize {
        match &self.deviations[..] {
            [] => 2,
            [one] if one.cost < cost::RARE => 1,
            _ => 0,
        }
    }

    fn cost(&self) -> u32 {
        self.deviations.iter().map(|deviation| deviation.cost).sum()
    }
}

fn apply<'a>(guest: &Guest<'a>, change: &Change<'a>) -> Guest<'a> {
    let mut guest = guest.clone();
    match change {
        Change::Cmdline(line) => guest.cmdline = Some(line),
        Change::File(name, bytes) => {
            if let Some(place) = guest.place(name) {
                *place = Some(bytes);
            }
        }
        Change::Without(names) => {
            for name in *names {
                match guest.place(name) {
                    Some(place) => *place = None,
                    None => guest.cmdline = None,
                }
            }
        }
    }
    guest
}

/// True where registers are chains of the events of a measured boot.
pub(super) fn is_chain(tee: &Tee) -> bool {
    matches!(tee.name, "tdx" | "vtpm")
}

/// The initrd as it is before compression, if it is compressed.
fn unpacked(initrd: &[u8]) -> Option<(Other, Deviation)> {
    let bytes = Packed::of(initrd)?.unpack(initrd, MAX_UNPACKED).ok()?;
    let what = "initrd is not compressed";
    let other =
        Other { input: "initrd".to_string(), name: "the unpacked initrd".to_string(), bytes };
    Some((other, Deviation::new("initrd", cost::FILE, what)))
}
