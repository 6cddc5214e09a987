//! What changed between two files or two builds, and which registers move.

mod initrd;
pub mod moves;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::inspect::{self, Fact, Facts, Inspection};
use crate::digest::Sha256;
use crate::format::pe::Pe;
use crate::reference::{Document, Machine};

/// One thing that is otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where: the names on the way to it.
    pub at: String,
    /// What was there; nothing if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is there now; nothing if it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Where both are texts, the lines that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl Change {
    fn of(at: &str, before: Option<String>, after: Option<String>) -> Self {
        Self { at: at.to_string(), before, after, diff: None }
    }
}

/// What changed from one file to another, by content: of RAM disks file by file, of the other formats
/// what `inspect` tells of them, of texts line by line.
///
/// # Errors
/// A format is not known, or the files are of two formats.
pub fn bytes(before: &[u8], after: &[u8]) -> anyhow::Result<(&'static str, Vec<Change>)> {
    if before == after {
        let format = inspect::recognise(before).map_or("file", |row| row.name);
        return Ok((format, Vec::new()));
    }
    let rows = (inspect::recognise(before), inspect::recognise(after));
    match (rows.0.map(|row| row.name), rows.1.map(|row| row.name)) {
        (Some("initrd"), Some("initrd")) => Ok(("initrd", initrd::changes(before, after)?)),
        (None, None) if text::diff(before, after).is_some() => {
            let size = |bytes: &[u8]| Some(format!("{} bytes", bytes.len()));
            let mut change = Change::of("text", size(before), size(after));
            change.diff = text::diff(before, after);
            Ok(("text", vec![change]))
        }
        _ => {
            let (a, b) = (inspect::inspect(before)?, inspect::inspect(after)?);
            if a.format != b.format {
                anyhow::bail!("the first is {}, the second is {}", a.about, b.about);
            }
            let mut changes = files(&a, &b);
            if a.format == "uki" {
                changes.extend(initrds(before, after));
            }
            // What no inspector tells is a change all the same.
            if changes.is_empty() {
                let sha256 = |bytes: &[u8]| Some(format!("sha256:{}", Sha256::of(bytes)));
                changes.push(Change::of("contents", sha256(before), sha256(after)));
            }
            Ok((a.format, changes))
        }
    }
}

/// What changed in the RAM disks of two unified kernel images, as far as both can be read.
fn initrds(before: &[u8], after: &[u8]) -> Vec<Change> {
    const SECTION: &str = ".initrd";
    let initrd = |bytes| {
        let pe = Pe::parse(bytes).ok()?;
        let contents = pe.contents(pe.section(SECTION)?).ok()?;
        Some(contents.into_owned())
    };
    let (Some(a), Some(b)) = (initrd(before), initrd(after)) else { return Vec::new() };
    let changes = initrd::changes(&a, &b).unwrap_or_default();
    let below = |change: Change| Change { at: format!("{SECTION} › {}", change.at), ..change };
    changes.into_iter().map(below).collect()
}

/// Changes from one text per place to another.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let mut places: Vec<_> = before.keys().chain(after.keys()).collect();
    places.sort();
    places.dedup();
    let change = |at: &String| {
        let (before, after) = (before.get(at).cloned(), after.get(at).cloned());
        (before != after).then(|| {
            // Of a command line the words that differ are told beside the whole.
            let texts = before.as_ref().zip(after.as_ref()).filter(|_| at.contains("cmdline"));
            let diff = texts.and_then(|(a, b)| text::diff(a.as_bytes(), b.as_bytes()));
            Change { diff, ..Change::of(at, before, after) }
        })
    };
    places.into_iter().filter_map(change).collect()
}

/// What changed from one file to another of the same format.
pub fn files(before: &Inspection, after: &Inspection) -> Vec<Change> {
    changes(&flat(&before.facts), &flat(&after.facts))
}

fn flat(facts: &Facts) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    flatten(&mut places, "", &Fact::Facts(facts.clone()));
    places
}

/// Every line of a tree of facts by the names on the way to it.
fn flatten(out: &mut BTreeMap<String, String>, at: &str, fact: &Fact) {
    let below =
        |name: &str| if at.is_empty() { name.to_string() } else { format!("{at} › {name}") };
    match fact {
        Fact::Text(text) => drop(out.insert(at.to_string(), text.clone())),
        Fact::Number(number) => drop(out.insert(at.to_string(), number.to_string())),
        Fact::Flag(flag) => drop(out.insert(at.to_string(), flag.to_string())),
        Fact::Facts(facts) => {
            // What a thing is needs no name of its own; what it is called stands in the way to it.
            let called = key(fact);
            let says = |(name, f): &(&str, &Fact)| {
                let name = NAMES.contains(name) && f.as_text() == called.as_deref();
                !name || facts.iter().count() == 1
            };
            let place = |name: &str| if name == "is" { at.to_string() } else { below(name) };
            facts.iter().filter(says).for_each(|(name, f)| flatten(out, &place(name), f));
        }
        Fact::Table(rows) => {
            let rows = rows.iter().map(|row| Fact::Facts(row.clone())).collect();
            flatten(out, at, &Fact::List(rows));
        }
        Fact::List(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(out, &below(&key(item).unwrap_or_else(|| format!("#{index}"))), item);
            }
        }
    }
}

/// Facts that a thing in a list is known by.
const NAMES: [&str; 4] = ["path", "name", "machine", "place"];

/// By what an item of a list is known when its place in the list changes.
fn key(item: &Fact) -> Option<String> {
    match item {
        Fact::Text(text) => Some(text.clone()),
        Fact::Facts(facts) => {
            NAMES.iter().find_map(|name| facts.get(name)?.as_text()).map(str::to_string)
        }
        _ => None,
    }
}

/// A machine of both builds whose registers move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The machine.
    pub machine: String,
    /// Registers that hold something else.
    pub registers: Vec<String>,
    /// Events that are otherwise: what was measured, by register.
    pub events: Vec<String>,
}

/// Two builds side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Builds {
    /// Artifacts that changed.
    pub artifacts: Vec<Change>,
    /// Machines that only one of them has.
    pub machines: Vec<Change>,
    /// Machines whose registers move.
    pub moved: Vec<Moved>,
}

/// What changed from one build to another, by their documents.
pub fn builds(before: &Document, after: &Document) -> Builds {
    let artifacts = |document: &Document| -> BTreeMap<_, _> {
        let one = |a: &crate::reference::Artifact| (a.name.clone(), format!("sha256:{}", a.sha256));
        document.artifacts.iter().map(one).collect()
    };
    let machines = |document: &Document| -> BTreeMap<_, _> {
        document.machines.iter().map(|m| (m.label(), m.label())).collect()
    };
    let pairs = before.machines.iter().filter_map(|machine| {
        Some((machine, after.machines.iter().find(|other| other.label() == machine.label())?))
    });
    Builds {
        artifacts: changes(&artifacts(before), &artifacts(after)),
        machines: changes(&machines(before), &machines(after)),
        moved: pairs.filter_map(|(a, b)| moved(a, b)).collect(),
    }
}

fn moved(before: &Machine, after: &Machine) -> Option<Moved> {
    let registers = changes(&before.registers, &after.registers);
    let known = |machine: &Machine, digest: &str| machine.events.iter().any(|e| e.digest == digest);
    let new = after.events.iter().filter(|event| !known(before, &event.digest));
    let events = new.map(|event| format!("{}: {}", event.register, event.what)).collect();
    let registers: Vec<_> = registers.into_iter().map(|change| change.at).collect();
    (!registers.is_empty()).then(|| Moved { machine: before.label(), registers, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, u32, &[u8])]) -> Inspection {
        let files = files.iter().map(|(path, mode, data)| {
            let is = format!("{mode:04o} {}", crate::digest::hex(data));
            Facts::default().with("path", *path).with("is", is)
        });
        let facts = Facts::default().with("files", files.collect::<Vec<_>>());
        Inspection { format: "initrd", about: "initrd", size: 0, facts }
    }

    #[test]
    fn files_are_compared_by_their_paths() {
        let before = archive(&[("a", 0o644, b"x"), ("b", 0o644, b"y"), ("c", 0o644, b"z")]);
        let after = archive(&[("0", 0o644, b"n"), ("a", 0o644, b"x"), ("c", 0o755, b"z")]);
        let told: Vec<_> =
            files(&before, &after).into_iter().map(|c| (c.at, c.before, c.after)).collect();
        let text = |text: &str| Some(text.to_string());
        assert_eq!(
            told,
            [
                ("files › 0".to_string(), None, text("0644 6e")),
                ("files › b".to_string(), text("0644 79"), None),
                ("files › c".to_string(), text("0644 7a"), text("0755 7a")),
            ]
        );
        assert_eq!(files(&after, &after), []);
    }

    #[test]
    fn registers_that_move_are_told_with_their_events() {
        let machine = |register: &str, digest: &str| {
            let measurement = crate::measure::Measurement::default();
            let mut machine = Machine::new("tdx", &Default::default(), &measurement);
            machine.registers = [("rtmr1".to_string(), register.to_string())].into();
            machine.events = vec![crate::reference::Event {
                register: "rtmr1".to_string(),
                kind: "EV_EFI_BOOT_SERVICES_APPLICATION".to_string(),
                digest: digest.to_string(),
                what: "kernel".to_string(),
            }];
            machine
        };
        let before = Document::of_machines(vec![machine("aa", "01")]);
        let after = Document::of_machines(vec![machine("bb", "02")]);
        let found = builds(&before, &after);
        assert_eq!(found.moved[0].registers, ["rtmr1"]);
        assert_eq!(found.moved[0].events, ["rtmr1: kernel"]);
        assert_eq!(builds(&before, &before), Builds::default());
    }
}
