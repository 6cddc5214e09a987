//! Without a log: which small mistake, or two, gives the value that was reported?
//!
//! Candidates go through the same function that computes reference values, all machines of one
//! guest in one call, so that what they share is hashed once.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::chain;
use super::deviation::Deviation;
use super::guests::{self, Alternatives, Other, Variant};
use super::machines::{self, Machines};
use crate::measure::ovmf::{self, Precomputed};
use crate::measure::tee::snp;
use crate::measure::{Guest, Known, Machine, Measurement, Tee};
use crate::reference;
use crate::reference::compare::Registers;

/// Why a register holds what it holds: a computation that gives just this value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The register.
    pub register: String,
    /// What must be otherwise than expected, all of it together.
    pub deviations: Vec<Deviation>,
    /// True if no other explanation that is as simple gives the same value.
    pub certain: bool,
}

/// The outcome of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Search {
    /// Candidates that were computed.
    pub candidates: usize,
    /// For each register that could be explained, the simplest explanations.
    pub found: Vec<Found>,
}

/// What is searched: the expectation and the evidence.
pub(super) struct Question<'a> {
    /// The TEE.
    pub(super) tee: &'static Tee,
    /// The files that were expected to boot, where they are at hand.
    pub(super) guest: Option<Guest<'a>>,
    /// The machine that was expected.
    pub(super) machine: &'a reference::Machine,
    /// Files that may have been used instead.
    pub(super) others: &'a [Other],
    /// Registers that differ, with the values that were reported.
    pub(super) wanted: Registers,
}

/// Searches up to two deviations among machine and files.
pub(super) fn search(question: &Question<'_>) -> Search {
    let Question { tee, guest, machine, others, .. } = question;
    let texts = machines::texts(machine);
    let alternatives = Alternatives::new(guest.as_ref(), others);
    let mut partial = Vec::new();
    if guests::is_chain(tee) {
        let Search { candidates, found } = chain::search(question, &alternatives);
        partial.push((candidates, found));
    }
    if let Some(guest) = guest {
        let known = Known::of(alternatives.files(guest));
        let prefixes = prefixes(tee, &alternatives.firmware(guest));
        let guest = Guest { known: Some(&known), ..guest.clone() };
        let variants = alternatives.guests(&guest, tee);
        let itself = Variant { guest, deviations: Vec::new() };
        let all: Vec<_> = [itself].into_iter().chain(variants).collect();
        let by_depth = [0, 1, 2].map(|depth| machines::variants(tee, &texts, depth));
        let one = |variant: &Variant<'_>| {
            one_guest(question, variant, &by_depth[variant.room()], &prefixes)
        };
        partial.extend(all.par_iter().map(one).collect::<Vec<_>>());
    }
    simplest(partial)
}

/// What the pages of a firmware give, by the firmware's place in memory.
type Prefixes<'a> = Vec<(&'a [u8], Precomputed)>;

/// The launch of SEV-SNP starts with the firmware: what it gives is the same for all candidates
/// that have the same one.
fn prefixes<'a>(tee: &Tee, firmware: &[&'a [u8]]) -> Prefixes<'a> {
    let prefix = |image: &&'a [u8]| {
        let metadata = ovmf::metadata(image).ok()?;
        Some((*image, Precomputed { digest: snp::firmware_digest(image), metadata }))
    };
    match tee.name == snp::TEE.name {
        true => firmware.par_iter().filter_map(prefix).collect(),
        false => Vec::new(),
    }
}

/// Candidates computed, and what they explain.
type Partial = (usize, Vec<Found>);

fn one_guest(
    question: &Question<'_>,
    variant: &Variant<'_>,
    machines: &Machines,
    prefixes: &Prefixes<'_>,
) -> Partial {
    let same = |known: &[u8]| variant.guest.firmware.is_some_and(|f| std::ptr::eq(f, known));
    let prefix = prefixes.iter().find(|(known, _)| same(known)).map(|(_, prefix)| prefix);
    let guest = Guest { precomputed: prefix, ..variant.guest.clone() };
    let measured = measure_all(question.tee, &guest, &machines.list);
    let computed = measured.iter().flatten().count();
    let mut found = Vec::new();
    for (measurement, deviations) in measured.iter().zip(&machines.deviations) {
        for register in measurement.iter().flat_map(|m| &m.registers) {
            if question.wanted.get(&register.name) == Some(&register.value) {
                let deviations = [&variant.deviations[..], deviations].concat();
                found.push(Found { register: register.name.clone(), deviations, certain: false });
            }
        }
    }
    (computed, found)
}

/// Measurements of all machines that can be measured; a machine that can't must not hide others.
fn measure_all(tee: &Tee, guest: &Guest<'_>, machines: &[Machine]) -> Vec<Option<Measurement>> {
    match (tee.expect)(guest, machines) {
        Ok(measured) if measured.len() == machines.len() => {
            measured.into_iter().map(Some).collect()
        }
        _ if machines.len() < 2 => vec![None; machines.len()],
        _ => {
            let (first, second) = machines.split_at(machines.len() / 2);
            [measure_all(tee, guest, first), measure_all(tee, guest, second)].concat()
        }
    }
}

/// Explanations that differ in the value of one setting alone, as one: all of its values give the same.
fn merged(list: Vec<Found>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for one in list {
        let same = |known: &Found| joined(&known.deviations, &one.deviations);
        match found.iter_mut().find_map(|known| Some((same(known)?, known))) {
            Some((deviations, known)) => known.deviations = deviations,
            None => found.push(one),
        }
    }
    found
}

/// `known` with the value that `other` has for one setting beside its own, if all else is the same.
fn joined(known: &[Deviation], other: &[Deviation]) -> Option<Vec<Deviation>> {
    const INSTEAD: &str = " instead of ";
    let mut pairs = known.iter().zip(other).enumerate().filter(|(_, (a, b))| a != b);
    let (at, (a, b)) = pairs.next()?;
    let name = |d: &Deviation| format!("{} ", d.input);
    let ((values, before), (value, _)) = (a.what.split_once(INSTEAD)?, b.what.split_once(INSTEAD)?);
    let value = value.strip_prefix(&name(b))?;
    let alike = a.input == b.input && values.starts_with(&name(a)) && known.len() == other.len();
    if !alike || pairs.next().is_some() {
        return None;
    }
    let mut joined = known.to_vec();
    joined[at].what = format!("{values} or {value}{INSTEAD}{before}");
    Some(joined)
}

/// Of all explanations of a register, those that need the least, by number and likelihood.
fn simplest(partial: Vec<Partial>) -> Search {
    let candidates = partial.iter().map(|(computed, _)| computed).sum();
    let mut best: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    let cost = |found: &Found| {
        let list = &found.deviations;
        (list.len(), list.iter().map(|deviation| deviation.cost).sum::<u32>())
    };
    for found in partial.into_iter().flat_map(|(_, found)| found) {
        let known = best.entry(found.register.clone()).or_default();
        match known.first().map(|first| cost(&found).0.cmp(&cost(first).0)) {
            Some(std::cmp::Ordering::Greater) => {}
            Some(std::cmp::Ordering::Less) => *known = vec![found],
            _ => known.push(found),
        }
    }
    let mut found = Vec::new();
    for mut list in best.into_values() {
        list.sort_by(|a, b| (cost(a), &a.deviations).cmp(&(cost(b), &b.deviations)));
        list.dedup();
        let list = merged(list);
        let certain = list.len() == 1;
        found.extend(list.into_iter().map(|one| Found { certain, ..one }));
    }
    Search { candidates, found }
}
