//! Registers that are chains of events, without a log: the expected events are known, so one of them,
//! or two, can be put into words otherwise, left out, and the chain folded again.

use super::cmdline;
use super::deviation::{Deviation, cost};
use super::guests::Alternatives;
use super::search::{Found, Question, Search};
use crate::digest::{hex, unhex};
use crate::format::eventlog::{self, Algorithm};
use crate::format::guid::Guid;
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
        } else if expected.kind == eventlog::kind_name(eventlog::EV_EFI_VARIABLE_DRIVER_CONFIG) {
            for (digest, deviation) in variable(&expected.what, bank) {
                add(Some(digest), deviation);
            }
        } else if expected.kind == eventlog::kind_name(eventlog::EV_EFI_BOOT_SERVICES_APPLICATION) {
            for (digest, deviation) in images(question, alternatives, bank) {
                add(Some(digest), deviation);
            }
        }
    }
    found
}

/// Variables of Secure Boot that are met with one value: the switch, and stores without keys.
const VARIABLES: &[(&str, Guid, &[u8], &str)] = &[
    ("SecureBoot", efi::GLOBAL_VARIABLE, &[0], "Secure Boot is off"),
    ("SecureBoot", efi::GLOBAL_VARIABLE, &[1], "Secure Boot is on"),
    ("SecureBoot", efi::GLOBAL_VARIABLE, &[], "the firmware does not know Secure Boot"),
    ("PK", efi::GLOBAL_VARIABLE, &[], "no platform key (PK) is in the variable store"),
    ("KEK", efi::GLOBAL_VARIABLE, &[], "no KEK is in the variable store"),
    ("db", efi::IMAGE_SECURITY_DATABASE, &[], "no db is in the variable store"),
    ("dbx", efi::IMAGE_SECURITY_DATABASE, &[], "no dbx is in the variable store"),
];

/// Digests that a variable of Secure Boot is met with instead.
fn variable(what: &str, bank: Algorithm) -> impl Iterator<Item = (Vec<u8>, Deviation)> {
    let name = what.split_once(',').map_or(what, |(name, _)| name);
    VARIABLES.iter().filter(move |(known, ..)| *known == name).map(
        move |(name, vendor, value, text)| {
            let digest = bank.digest([&efi::variable_data(*vendor, name, value)[..]]);
            (digest, Deviation::new("vars", cost::SETTING, *text))
        },
    )
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
    let text = "the kernel's header is not patched by QEMU (from 10.0 on it is left as it is)";
    let plain = Deviation::new("kernel", cost::VMM, text);
    found.extend(digest(kernel).map(|digest| (digest, plain)));
    let header = |memory: u64| {
        let initrd = guest.initrd.map_or(0, <[u8]>::len);
        linux::patched_header(kernel, initrd, memory, guest.cmdline.unwrap_or_default())
    };
    let mut headers: Vec<(Vec<u8>, Vec<u64>)> = Vec::new();
    for memory in
        question.machine.memory.into_iter().chain(super::machines::MEMORY.iter().map(|n| n << 20))
    {
        let header = header(memory).into_owned();
        match headers.iter_mut().find(|(known, _)| *known == header) {
            Some((_, sizes)) => sizes.push(memory),
            None => headers.push((header, vec![memory])),
        }
    }
    for (header, sizes) in headers {
        let mut patched = kernel.to_vec();
        if let Some(start) = patched.get_mut(..header.len()) {
            start.copy_from_slice(&header);
        }
        let deviation = patched_for(&sizes, question.machine.memory);
        found.extend(digest(&patched).map(|digest| (digest, deviation)));
    }
    found
}

/// What a patched header says of the memory: where the RAM disk lies is the same for many sizes.
fn patched_for(sizes: &[u64], expected: Option<u64>) -> Deviation {
    const PATCHED: &str = "the kernel's header is patched by QEMU";
    if expected.is_some_and(|expected| sizes.contains(&expected)) {
        let text = format!("{PATCHED} (before 10.0 it always is)");
        return Deviation::new("kernel", cost::VMM, text);
    }
    let mebibytes = |size: &u64| (size >> 20).to_string();
    let sizes: Vec<_> = sizes.iter().map(mebibytes).collect();
    let text = match &sizes[..] {
        [] => PATCHED.to_string(),
        [one] => format!("{PATCHED}, for {one} MiB of memory"),
        [one, other] => format!("{PATCHED}, for {one} or {other} MiB of memory"),
        [a, b, .., last] => format!("{PATCHED}, for {a}, {b}, … or {last} MiB of memory"),
    };
    Deviation::new("memory", cost::COUNT, text)
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
    #[test]
    fn a_header_tells_no_more_of_the_memory_than_it_can() {
        let of = |sizes: &[u64], expected: Option<u64>| {
            let sizes: Vec<_> = sizes.iter().map(|size| size << 20).collect();
            patched_for(&sizes, expected.map(|size| size << 20)).what
        };
        assert!(of(&[1024], Some(2048)).ends_with("QEMU, for 1024 MiB of memory"));
        let many = of(&[2048, 3072, 4096, 6144], Some(1024));
        assert!(many.ends_with("for 2048, 3072, … or 6144 MiB of memory"), "{many}");
        assert!(of(&[2048, 3072], Some(3072)).ends_with("QEMU (before 10.0 it always is)"));
    }
}
