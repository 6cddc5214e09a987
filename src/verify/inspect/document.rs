//! Canonical documents of reference values.

use super::{Fact, Facts};
use crate::reference::{Document, Machine};

pub(super) fn is_document(bytes: &[u8]) -> bool {
    let value = || serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let object = bytes.trim_ascii_start().starts_with(b"{").then(value).flatten();
    object
        .is_some_and(|v| v["version"].is_u64() && v["tool"].is_string() && v["machines"].is_array())
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let document = Document::parse(std::str::from_utf8(bytes)?)?;
    let artifact =
        |a: &crate::reference::Artifact| format!("{} {} sha256:{}", a.name, a.size, a.sha256);
    Ok(Facts::default()
        .with("version", document.version)
        .with("tool", document.tool.as_str())
        .with_some("recipe", document.recipe.as_ref().map(|r| r.name.as_str()))
        .with("artifacts", document.artifacts.iter().map(artifact).collect::<Vec<_>>())
        .with("machines", document.machines.iter().map(machine).collect::<Vec<_>>()))
}

fn machine(machine: &Machine) -> Fact {
    let registers = machine.registers.iter();
    registers
        .fold(Facts::default().with("machine", machine.label()), |facts, (name, value)| {
            facts.with(name, value.as_str())
        })
        .with("warnings", machine.warnings.clone())
        .into()
}
