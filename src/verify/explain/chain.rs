//! Registers that are chains of events, without a log: the expected events are known, so one of them,
//! or two, can be put into words otherwise, left out, and the chain folded again.

use super::cmdline;
use super::deviation::{Deviation, cost};
use super::guests::Alternatives;
use super::search::{Found, Question, Search};
use crate::digest::{hex, unhex};
use crate::format::eventlog::{self, Algorithm};
use crate::format::{efi, pe::Pe};
use crate::measure::linux;
use crate::reference::Event;

/// How the command line names the RAM disk that QEMU hands over: by release of the firmware.
const PREFIX: &str = "initrd=initrd ";
const SUFFIX: &str = " initrd=initrd";

/// What an event may be instead: its digest, or nothing where it is left out.
struct Instead {
    event: usize,
    digest: Option<Vec<u8>>,
    deviation: Deviation,
}

/// Searches every wanted register whose events are known.
pub(super) fn search(question: &Question<'_>, alternatives: &Alternatives) -> Search {
    let mut all = Search::default();
    for (register, value) in &question.wanted {
        let events: Vec<_> =
            question.machine.events.iter().filter(|event| event.register == *register).collect();
        let bank = Algorithm::ALL.into_iter().find(|bank| {
            bank.width() == value.len() && events.iter().all(|e| e.digest.len() == 2 * bank.width())
        });
        let (Some(bank), false) = (bank, events.is_empty()) else { continue };
        let digests: Option<Vec<_>> = events.iter().map(|e| unhex(&e.digest).ok()).collect();
        let Some(digests) = digests else { continue };
        let instead = every(question, alternatives, &events, bank);
        let chain = Chain { bank, digests, wanted: value };
        let (candidates, found) = chain.search(&instead);
        all.candidates += candidates;
        all.found.extend(found.into_iter().map(|deviations| {
            let (register, certain) = (register.clone(), false);
            Found { register, deviations, certain }
        }));
    }
    all
}

/// What one event may be instead that gives just what the log has in its place, the likeliest.
pub(super) fn instead(
    question: &Question<'_>,
    alternatives: &Alternatives,
    expected: &Event,
    found: Option<&Event>,
) -> Option<Deviation> {
    let banks = Algorithm::ALL.into_iter();
    let bank = banks.into_iter().find(|bank| 2 * bank.width() == expected.digest.len())?;
    let all = every(question, alternatives, &[expected], bank);
    let gives = |one: &Instead| match (&one.digest, found) {
        (Some(digest), Some(found)) => hex(digest) == found.digest,
        (None, None) => true,
        _ => false,
    };
    let fitting = all.into_iter().filter(gives).map(|one| one.deviation);
    fitting.min_by_key(|deviation| deviation.cost).or_else(|| {
        let text = load_options(&expected.what)?;
        let is = |line: &str| found.is_some_and(|f| hex(&options_digest(bank, line)) == f.digest);
        both(text).find(|(line, _)| is(line)).map(|(_, deviation)| deviation)
    })
}

/// Load options that have the RAM disk named at another place, and another command line as well.
fn both(text: &str) -> impl Iterator<Item = (String, Deviation)> {
    let (form, line) = form_of(text);
    let lines = cmdline::variants(line);
    let others = FORMS.iter().enumerate().filter(move |(other, _)| *other != form);
    others.flat_map(move |(other, wrap)| {
        let one = |(line, deviation): &(String, Deviation)| {
            let what = format!("{}, and {}", elsewhere(other), deviation.what);
            (wrap(line), Deviation::new("cmdline", cost::VMM + deviation.cost, what))
        };
        lines.iter().map(one).collect::<Vec<_>>()
    })
}

fn options_digest(bank: Algorithm, line: &str) -> Vec<u8> {
    bank.digest([&[efi::wide(line), vec![0, 0]].concat()[..]])
}

/// The expected events of one register, and the value that was reported instead of theirs.
struct Chain<'a> {
    bank: Algorithm,
    digests: Vec<Vec<u8>>,
    wanted: &'a [u8],
}

impl Chain<'_> {
    /// One event otherwise; if that explains nothing, two.
    fn search(&self, instead: &[Instead]) -> (usize, Vec<Vec<Deviation>>) {
        let single = instead.iter().filter(|one| self.gives(&[one]));
        let found: Vec<_> = single.map(|one| vec![one.deviation.clone()]).collect();
        if !found.is_empty() {
            return (instead.len(), found);
        }
        let (mut candidates, mut found) = (instead.len(), Vec::new());
        for (index, a) in instead.iter().enumerate() {
            for b in instead.iter().skip(index + 1).filter(|b| b.event != a.event) {
                candidates += 1;
                if self.gives(&[a, b]) {
                    found.push(vec![a.deviation.clone(), b.deviation.clone()]);
                }
            }
        }
        (candidates, found)
    }

    fn gives(&self, instead: &[&Instead]) -> bool {
        let mut register = vec![0; self.bank.width()];
        for (index, expected) in self.digests.iter().enumerate() {
            match instead.iter().find(|one| one.event == index) {
                None => register = self.bank.extend(&register, expected),
                Some(Instead { digest: Some(digest), .. }) => {
                    register = self.bank.extend(&register, digest);
                }
                Some(_) => {}
            }
        }
        register == self.wanted
    }
}

/// Everything that each event may be instead.
fn every(
    question: &Question<'_>,
    alternatives: &Alternatives,
    events: &[&Event],
    bank: Algorithm,
) -> Vec<Instead> {
    let mut found = Vec::new();
    for (event, expected) in events.iter().enumerate() {
        let mut add = |digest: Option<Vec<u8>>, deviation: Deviation| {
            found.push(Instead { event, digest, deviation });
        };
        if let Some(text) = load_options(&expected.what) {
            for (line, deviation) in options(text) {
                add(Some(options_digest(bank, &line)), deviation);
            }
        } else if expected.what.contains("Linux initrd") {
            for (other, deviation) in alternatives.of("initrd") {
                add(Some(bank.digest([other])), deviation.clone());
            }
            add(None, Deviation::new("initrd", cost::ABSENT, "initrd is not given"));
        } else if expected.kind == eventlog::kind_name(eventlog::EV_EFI_BOOT_SERVICES_APPLICATION) {
            for (digest, deviation) in images(question, alternatives, bank) {
                add(Some(digest), deviation);
            }
        }
    }
    found
}

fn load_options(what: &str) -> Option<&str> {
    what.strip_prefix("load options `")?.strip_suffix('`')
}

/// Forms of load options: with the RAM disk named before, behind, and not at all.
const FORMS: [fn(&str) -> String; 3] =
    [|line| format!("{PREFIX}{line}"), |line| format!("{line}{SUFFIX}"), |line| line.to_string()];

/// Which form load options have, and the command line in them.
fn form_of(text: &str) -> (usize, &str) {
    match (text.strip_prefix(PREFIX), text.strip_suffix(SUFFIX)) {
        (Some(line), _) => (0, line),
        (None, Some(line)) => (1, line),
        (None, None) => (2, text),
    }
}

fn elsewhere(form: usize) -> String {
    const PLACES: [&str; 3] = ["before", "behind", "not in"];
    format!(
        "`initrd=initrd` stands {} the command line (that is the firmware's release, or there is \
         no initrd)",
        PLACES[form]
    )
}

/// Load options with another command line, or with the RAM disk named at another place.
fn options(text: &str) -> Vec<(String, Deviation)> {
    let (form, line) = form_of(text);
    let mut found = Vec::new();
    for (other, wrap) in FORMS.iter().enumerate().filter(|(other, _)| *other != form) {
        found.push((wrap(line), Deviation::new("firmware", cost::VMM, elsewhere(other))));
    }
    let variants = cmdline::variants(line).into_iter();
    found.extend(variants.map(|(text, deviation)| (FORMS[form](&text), deviation)));
    found
}

/// Digests of the image that starts: of other kernels, and of the expected one with and without the
/// header that QEMU patches.
fn images(
    question: &Question<'_>,
    alternatives: &Alternatives,
    bank: Algorithm,
) -> Vec<(Vec<u8>, Deviation)> {
    let digest = |bytes: &[u8]| Some(bank.digest(Pe::parse(bytes).ok()?.authenticode()));
    let mut found = Vec::new();
    for (other, deviation) in alternatives.of("kernel") {
        found.extend(digest(other).map(|digest| (digest, deviation.clone())));
    }
    let Some(guest) = &question.guest else { return found };
    let Some(kernel) = guest.kernel else { return found };
    let plain = Deviation::new("kernel", cost::VMM, "the kernel's header is not patched by QEMU");
    found.extend(digest(kernel).map(|digest| (digest, plain)));
    let initrd = guest.initrd.map_or(0, <[u8]>::len);
    let cmdline = guest.cmdline.unwrap_or_default();
    for mebibytes in super::machines::MEMORY {
        let header = linux::patched_header(kernel, initrd, mebibytes << 20, cmdline);
        let mut patched = kernel.to_vec();
        if let Some(start) = patched.get_mut(..header.len()) {
            start.copy_from_slice(&header);
        }
        let what = format!("the kernel's header is patched by QEMU, for {mebibytes} MiB of memory");
        let deviation = Deviation::new("memory", cost::COUNT, what);
        found.extend(digest(&patched).map(|digest| (digest, deviation)));
    }
    found.dedup_by(|later, earlier| later.0 == earlier.0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ram_disk_is_named_at_either_place() {
        let lines = options("initrd=initrd console=ttyS0 quiet");
        let what = |text: &str| {
            let found = lines.iter().find(|(line, _)| line == text);
            found.map(|(_, deviation)| deviation.what.clone())
        };
        let behind = what("console=ttyS0 quiet initrd=initrd").expect("the old place");
        assert!(behind.starts_with("`initrd=initrd` stands behind the command line"), "{behind}");
        assert_eq!(
            what("initrd=initrd console=ttyS0").as_deref(),
            Some("command line without `quiet`")
        );
    }
}
