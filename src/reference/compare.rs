//! Evidence against reference values, register by register.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Document, Machine};
use crate::digest::hex;

/// Registers that evidence reports, by name.
pub type Registers = BTreeMap<String, Vec<u8>>;

/// How one register compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds what is expected.
    Match,
    /// It holds something else.
    Differ,
    /// The reference values say nothing about it.
    NotCovered,
    /// It is expected, and the evidence does not report it.
    NotReported,
}

/// One register, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Name of the register.
    pub register: String,
    /// How it compares.
    pub verdict: Verdict,
    /// What is expected, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is reported, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// The registers of `machine` and those of the evidence side by side, by name.
pub fn compare(machine: &Machine, found: &Registers) -> Vec<Compared> {
    let expected = &machine.registers;
    let mut names: Vec<_> = expected.keys().chain(found.keys()).collect();
    names.sort();
    names.dedup();
    let one = |register: &String| {
        let (expected, found) = (expected.get(register), found.get(register).map(|v| hex(v)));
        let verdict = match (expected, &found) {
            (Some(expected), Some(found)) if expected == found => Verdict::Match,
            (Some(_), Some(_)) => Verdict::Differ,
            (Some(_), None) => Verdict::NotReported,
            (None, _) => Verdict::NotCovered,
        };
        Compared { register: register.clone(), verdict, expected: expected.cloned(), found }
    };
    names.into_iter().map(one).collect()
}

/// The machine of `document` that comes closest to what the evidence of `tee` reports: the fewest
/// registers that differ, then the most that match; the first of several.
pub fn closest<'a>(document: &'a Document, tee: &str, found: &Registers) -> Option<&'a Machine> {
    document.machines.iter().filter(|machine| machine.tee == tee).min_by_key(|machine| {
        let compared = compare(machine, found);
        let count = |verdict| compared.iter().filter(|c| c.verdict == verdict).count();
        (count(Verdict::Differ), usize::MAX - count(Verdict::Match))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Confidence;

    fn machine(vcpus: u32, registers: &[(&str, &str)]) -> Machine {
        let registers = registers.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string()));
        let measured = crate::measure::Measurement::default();
        let mut machine = Machine::new("tdx", &crate::measure::Machine::default(), &measured);
        machine.registers = registers.collect();
        machine.vcpus = Some(vcpus);
        machine.confidence = Confidence::Source;
        machine
    }

    #[test]
    fn the_machine_with_the_fewest_differences_is_the_closest() {
        let document = Document::of_machines(vec![
            machine(1, &[("mrtd", "aa"), ("rtmr0", "01")]),
            machine(2, &[("mrtd", "aa"), ("rtmr0", "02")]),
            machine(4, &[("mrtd", "aa"), ("rtmr0", "03")]),
        ]);
        let found = [("mrtd", vec![0xaa]), ("rtmr0", vec![2]), ("rtmr3", vec![0])];
        let found: Registers = found.into_iter().map(|(n, v)| (n.to_string(), v)).collect();
        let machine = closest(&document, "tdx", &found).expect("a machine");
        assert_eq!(machine.vcpus, Some(2));
        let verdicts: Vec<_> = compare(machine, &found).into_iter().map(|c| c.verdict).collect();
        assert_eq!(verdicts, [Verdict::Match, Verdict::Match, Verdict::NotCovered]);
        assert_eq!(closest(&document, "sev-snp", &found), None);
        let other = compare(&document.machines[0], &Registers::new());
        assert!(other.iter().all(|c| c.verdict == Verdict::NotReported));
    }
}
