//! What `guestsmith measure` answers: machines, each with its registers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;
use crate::digest;
use crate::measure::{Machine, Measurement, Tee};
use crate::reference;

/// A machine and what was found for it, in lower-case hexadecimal.
pub(super) struct Shown {
    /// As reference values have it.
    pub(super) machine: reference::Machine,
    /// Registers, in the order of the TEE's row.
    values: Vec<(String, String)>,
    /// What went into them.
    parts: Vec<(String, String)>,
}

impl Shown {
    /// What was measured just now.
    pub(super) fn of(tee: &Tee, machine: &Machine, found: &Measurement) -> Self {
        let all = |registers: &[crate::measure::Register]| {
            registers.iter().map(|r| (r.name.clone(), digest::hex(&r.value))).collect()
        };
        Self {
            machine: reference::Machine::new(tee.name, machine, found),
            values: all(&found.registers),
            parts: all(&found.parts),
        }
    }

    fn json(&self) -> Result<Value, Failure> {
        let mut value = serde_json::to_value(&self.machine).map_err(Failure::internal)?;
        value["parts"] = json!(self.parts.iter().cloned().collect::<BTreeMap<_, _>>());
        for list in ["events", "warnings"] {
            if value[list].is_null() {
                value[list] = json!([]);
            }
        }
        Ok(value)
    }
}

impl From<reference::Machine> for Shown {
    fn from(machine: reference::Machine) -> Self {
        let values = machine.registers.clone().into_iter().collect();
        Self { machine, values, parts: Vec::new() }
    }
}

/// The answer as JSON; `events` and `warnings` are there even where they are empty.
pub(super) fn answer(shown: &[Shown]) -> Result<Value, Failure> {
    let machines: Vec<_> = shown.iter().map(Shown::json).collect::<Result<_, _>>()?;
    Ok(json!({ "machines": machines }))
}

/// How the answer looks as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Values in base64 instead of hexadecimal.
    pub(super) base64: bool,
    /// The parts as well.
    pub(super) parts: bool,
    /// Values alone, for programs.
    pub(super) bare: bool,
}

/// The answer as text.
pub(super) fn text(shown: &[Shown], look: Look) -> String {
    let form = |value: &str| match digest::unhex(value) {
        Ok(bytes) if look.base64 => digest::base64(&bytes),
        _ => value.to_string(),
    };
    let mut lines = Vec::new();
    for shown in shown {
        let parts = shown.parts.iter().filter(|_| look.parts);
        let values = shown.values.iter().chain(parts);
        if look.bare {
            lines.extend(values.map(|(_, value)| form(value)));
            continue;
        }
        lines.push(shown.machine.label());
        lines.extend(values.map(|(name, value)| format!("  {name:<14} {}", form(value))));
        for one in &shown.machine.candidates {
            let name = format!("{}?", one.register);
            lines.push(format!("  {name:<14} {} ({})", form(&one.value), one.when));
        }
        let epoch = shown.machine.epoch.as_ref();
        lines.extend(epoch.map(|epoch| format!("  {:<14} edk2 {epoch}", "firmware")));
    }
    lines.join("\n")
}

/// Says each warning once; with `strict` the first is an error.
pub(super) fn warn(output: &Output, shown: &[Shown], strict: bool) -> Result<(), Failure> {
    let warnings: BTreeSet<_> = shown.iter().flat_map(|shown| &shown.machine.warnings).collect();
    match warnings.first() {
        Some(first) if strict => Err(Failure::input(anyhow::anyhow!("{first}"))),
        _ => {
            warnings.iter().for_each(|warning| output.warn(warning));
            Ok(())
        }
    }
}
