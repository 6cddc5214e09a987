//! Why doesn't it match? Evidence against reference values, with the cause where they differ.
//!
//! With an event log the log names the cause (`log`); without one a bounded search over what
//! people get wrong does (`search`). A cause is given only if it was computed to give just the
//! value that was reported.

mod chain;
mod cmdline;
mod deviation;
mod fields;
mod guests;
mod log;
mod machines;
mod search;

use anyhow::{Context as _, bail};
use serde::Serialize;

pub use deviation::Deviation;
pub use fields::{Field, Stated};
pub use guests::Other;
pub use log::{Difference, LogAnswer};
pub use search::{Found, Search};

use self::guests::Alternatives;
use self::search::Question;
use super::evidence::Evidence;
use super::inspect::Facts;
use super::signature::{self, Means, Signature};
use crate::measure::{self, Guest};
use crate::reference::compare::{Compared, Registers, Verdict, closest, compare};
use crate::reference::{Document, Machine};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Form of the evidence.
    pub form: &'static str,
    /// The TEE.
    pub tee: &'static str,
    /// The machine of the reference values that comes closest.
    pub closest: String,
    /// Its registers beside those of the evidence.
    pub registers: Vec<Compared>,
    /// What the event log tells, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogAnswer>,
    /// What a search found for the registers that differ, if the files are at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Fields beside the registers that are otherwise than was stated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// About the signature of the evidence.
    pub signature: Signature,
    /// What should not be accepted without a thought.
    pub warnings: Vec<String>,
    /// Everything else that the evidence says.
    pub facts: Facts,
}

impl Explanation {
    /// True if every register that the reference values cover, and every field that was stated, was
    /// reported as expected, by evidence whose signature is not known to be bad.
    pub fn is_match(&self) -> bool {
        let bad = |c: &Compared| matches!(c.verdict, Verdict::Differ | Verdict::NotReported);
        let good = |c: &Compared| c.verdict == Verdict::Match;
        let forged = self.signature.verdict == signature::Verdict::Bad;
        let registers = self.registers.iter().any(good) && !self.registers.iter().any(bad);
        registers && self.fields.is_empty() && !forged
    }
}

/// What was expected: reference values, and the files behind them where they are at hand.
pub struct Expectation<'a> {
    /// The reference values.
    pub document: &'a Document,
    /// Files of the machine, by its firmware; nothing if they are not at hand.
    pub guest: &'a dyn Fn(&Machine) -> Option<Guest<'a>>,
    /// Files that may have been used instead.
    pub others: &'a [Other],
    /// Fields beside the registers.
    pub stated: Stated,
}

/// Compares, and searches where something differs.
///
/// # Errors
/// The reference values have no machine of the evidence's TEE, or the evidence lacks a field that was
/// stated.
pub fn explain(
    evidence: &Evidence,
    expected: &Expectation<'_>,
    means: &Means,
) -> anyhow::Result<Explanation> {
    let Expectation { document, guest, others, stated } = expected;
    let machine = closest(document, evidence.tee, &evidence.registers).with_context(|| {
        format!(
            "the evidence is of {}, of which the reference values have no machine",
            evidence.tee
        )
    })?;
    let registers = compare(machine, &evidence.registers);
    let same_tee: Vec<_> = document.of_tee(evidence.tee).cloned().collect();
    let Ok(tee) = measure::tee(evidence.tee) else { bail!("no TEE {}", evidence.tee) };
    let mut question =
        Question { tee, guest: guest(machine), machine, others, wanted: Registers::new() };
    let log = evidence.log.as_ref();
    let mut log = log.map(|log| log::compare(log, machine, &evidence.registers, &same_tee));
    log.iter_mut().for_each(|log| name_causes(&question, log));
    // What the log explains needs no search.
    let explained =
        |name: &String| log.iter().any(|l| l.differences.iter().any(|d| d.register == *name));
    let differ = |c: &&Compared| c.verdict == Verdict::Differ && !explained(&c.register);
    let wanted: Vec<_> = registers.iter().filter(differ).map(|c| &c.register).collect();
    let reported = evidence.registers.iter().filter(|(name, _)| wanted.contains(name));
    question.wanted = reported.map(|(name, value)| (name.clone(), value.clone())).collect();
    let search = (!question.wanted.is_empty()).then(|| search::search(&question));
    let search = search.filter(|search| search.candidates > 0);
    // What was doubted when the values were computed may be the reason.
    let doubted = registers.iter().any(|c| c.verdict == Verdict::Differ);
    let doubts = machine.warnings.iter().filter(|_| doubted);
    let doubts = doubts.map(|doubt| format!("of the expected values: {doubt}"));
    Ok(Explanation {
        form: evidence.form,
        tee: evidence.tee,
        closest: machine.label(),
        registers,
        log,
        search,
        fields: fields::compare(evidence, stated)?,
        signature: signature::check(&evidence.signed, means),
        warnings: evidence.warnings.iter().cloned().chain(doubts).collect(),
        facts: evidence.facts.clone(),
    })
}

/// Puts differences of the log into words where a computation gives just what was found.
fn name_causes(question: &Question<'_>, log: &mut LogAnswer) {
    if log.differences.is_empty() {
        return;
    }
    let alternatives = Alternatives::new(question.guest.as_ref(), question.others);
    for difference in &mut log.differences {
        let Some(expected) = &difference.expected else { continue };
        let found = difference.found.as_ref();
        difference.cause = chain::instead(question, &alternatives, expected, found);
    }
}

/// The machine of reference values as `tee` measures it.
pub fn machine(tee: &measure::Tee, machine: &Machine) -> Option<measure::Machine> {
    machines::machine(tee, &machines::texts(machine))
}

#[cfg(test)]
mod tests;
