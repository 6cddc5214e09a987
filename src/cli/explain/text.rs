//! What `guestsmith explain` says, as text.

use std::collections::BTreeMap;

use crate::reference::compare::{Compared, Verdict};
use crate::verify::explain::{Difference, Explanation, Field, Found, LogAnswer};
use crate::verify::inspect::Facts;

/// The whole answer.
pub(super) fn text(e: &Explanation) -> String {
    let mut lines = vec![
        format!("evidence:  {}", e.form),
        format!("signature: {}", e.signature),
        format!("closest:   {}", e.closest),
    ];
    lines.extend(e.registers.iter().flat_map(compared));
    lines.extend(e.log.iter().flat_map(from_log));
    if let Some(search) = &e.search {
        lines.extend(searched(&search.found, search.candidates));
    } else if e.registers.iter().any(|c| c.verdict == Verdict::Differ) && e.log.is_none() {
        let hint = "no cause was looked for: give the event log, or the files that were expected";
        lines.push(hint.to_string());
    }
    lines.extend(e.fields.iter().flat_map(field));
    lines.extend(beside(&e.facts));
    lines.extend(e.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

/// Fields beside the digests that a person decides on, in the order in which they are asked for.
const BESIDE: &[&str] = &[
    "policy",
    "vmpl",
    "debug",
    "attributes",
    "xfam",
    "platform_info",
    "tcb_reported",
    "tcb_current",
    "tcb_committed",
    "tee_tcb_svn",
    "host_data",
    "report_data",
    "mrconfigid",
    "mrowner",
    "mrownerconfig",
    "id_key_digest",
    "author_key_digest",
    "signing_key",
    "module_id",
    "timestamp",
    "user_data",
    "nonce",
    "pcrs",
    "extra_data",
    "claims_bound",
];

fn beside(facts: &Facts) -> Vec<String> {
    let known = BESIDE.iter().filter_map(|name| Some((name, facts.get(name)?)));
    let chosen = known.fold(Facts::default(), |all, (name, fact)| all.with(name, fact.clone()));
    match chosen.iter().next() {
        None => Vec::new(),
        Some(_) => {
            let lines = chosen.text();
            let lines = lines.lines().map(|line| format!("  {line}"));
            ["beside the digests:".to_string()].into_iter().chain(lines).collect()
        }
    }
}

fn compared(c: &Compared) -> Vec<String> {
    let verdict = match c.verdict {
        Verdict::Match => "matches",
        Verdict::Differ => "differs",
        Verdict::NotCovered => "not covered by the reference values",
        Verdict::NotReported => "expected, but not reported",
    };
    let mut lines = vec![format!("{:<12} {verdict}", format!("{}:", c.register))];
    if c.verdict == Verdict::Differ {
        lines.extend(c.expected.iter().map(|value| format!("  expected {value}")));
        lines.extend(c.found.iter().map(|value| format!("  found    {value}")));
    }
    lines
}

/// A field that is otherwise than stated.
fn field(field: &Field) -> Vec<String> {
    let mut lines = vec![
        format!("{:<12} differs", format!("{}:", field.field)),
        format!("  expected {}", field.expected),
        format!("  found    {}", field.found),
    ];
    lines.push(match &field.cause {
        Some(cause) => format!("cause: {}", cause.what),
        None => format!("cause: not found; no usual slip gives this {}", field.field),
    });
    lines
}

fn from_log(log: &LogAnswer) -> Vec<String> {
    let mut lines = Vec::new();
    for together in
        log.differences.chunk_by(|a, b| a.register == b.register && cause(a) == cause(b))
    {
        let Some(first) = together.first() else { continue };
        let positions = together.iter().map(|difference| difference.position.to_string());
        let positions = positions.collect::<Vec<_>>().join(", ");
        lines.push(format!("cause: {} ({} event {positions})", cause(first), first.register));
        lines.extend(together.iter().flat_map(events));
    }
    lines.extend(log.unconfirmed.iter().map(|why| format!("the log does not explain {why}")));
    lines
}

/// The cause in words where a computation shows it, else the input.
fn cause(difference: &Difference) -> &str {
    difference.cause.as_ref().map_or(difference.input, |cause| &cause.what)
}

/// What stands in the log, beside what is expected.
fn events(difference: &Difference) -> Vec<String> {
    let mut lines = Vec::new();
    for (word, event) in [("expected", &difference.expected), ("found   ", &difference.found)] {
        lines.push(match event {
            Some(e) => format!("  {word} {} {:?} {}", e.kind, e.what, e.digest),
            None => format!("  {word} no such event"),
        });
    }
    let other = difference.expected_by.iter();
    lines.extend(other.map(|machine| format!("  that is what {machine} expects")));
    lines
}

/// The number with commas between thousands.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let comma = |(place, digit): (usize, char)| {
        let comma = place > 0 && (digits.len() - place).is_multiple_of(3);
        comma.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

/// Explanations that are shown of each register; more say no more.
const SHOWN: usize = 5;

fn searched(found: &[Found], candidates: usize) -> Vec<String> {
    if found.is_empty() {
        return vec![format!(
            "cause: not found; none of {} candidates gives what was reported",
            thousands(candidates)
        )];
    }
    let mut by_register: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
    for one in found {
        by_register.entry(&one.register).or_default().push(one);
    }
    let words = |found: &&Found| {
        let words: Vec<_> = found.deviations.iter().map(|d| d.what.as_str()).collect();
        words.join(", and ")
    };
    let mut lines = Vec::new();
    for (register, causes) in by_register {
        match &causes[..] {
            [one] => lines.push(format!("cause: your {register} equals: {}", words(one))),
            several => {
                lines.push(format!("cause: your {register} equals that of any of these:"));
                lines.extend(several.iter().take(SHOWN).map(|one| format!("  - {}", words(one))));
                let more = several.len().saturating_sub(SHOWN);
                lines.extend((more > 0).then(|| format!("  - and {more} others")));
            }
        }
    }
    lines.push(format!("({} candidates)", thousands(candidates)));
    lines
}
