//! Evidence in JSON, as agents pass it on: a report with the event log beside it.

use super::{Fact, Facts, eventlog};
use crate::verify::evidence::{self, Evidence, Piece, Replayed};

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    match evidence::parse(bytes)? {
        Piece::Log(log) => Ok(Facts::default().with("events", eventlog::events(&log))),
        Piece::Tpm(quote) => Ok(super::quote::tpm(&quote)),
        Piece::Certificates(_) => Ok(Facts::default().with("certificates", true)),
        Piece::Evidence(mut all) => match all.len() {
            1 => one(all.remove(0)),
            _ => {
                let all: Vec<_> = all.into_iter().map(one).collect::<anyhow::Result<_>>()?;
                Ok(Facts::default().with("evidence", all))
            }
        },
    }
}

fn one(found: Evidence) -> anyhow::Result<Facts> {
    let replayed = evidence::replay(&found)?;
    let log = found.log.as_ref().map(eventlog::events);
    let registers = found.registers.iter();
    let registers = registers.fold(Facts::default(), |all, (n, v)| all.with_bytes(n, v));
    let name = if found.tee == "tdx" { "td" } else { "facts" };
    Ok(Facts::default()
        .with("tee", found.tee)
        .with("report", found.form)
        .with("registers", registers)
        .with(name, found.facts)
        .with("warnings", found.warnings)
        .with("replay", replay(&replayed))
        .with_some("events", log))
}

/// Register by register, whether the log leads to what the report says.
pub(crate) fn replay(registers: &[Replayed]) -> Fact {
    let row = |one: &Replayed| {
        let verdict = match one.agrees() {
            true => "as reported".to_string(),
            false => format!(
                "differs: the log leads to {}, the report has {}",
                crate::digest::hex(&one.replayed),
                crate::digest::hex(&one.reported)
            ),
        };
        Facts::default().with("register", one.register.as_str()).with("verdict", verdict)
    };
    Fact::Table(registers.iter().map(row).collect())
}
