//! Evidence in JSON, as agents pass it on: a report with the event log beside it.

use super::{Fact, Facts, eventlog};
use crate::verify::evidence::{self, Piece, Replayed};

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let facts = match evidence::parse(bytes)? {
        Piece::Log(log) => Facts::default().with("events", eventlog::events(&log)),
        Piece::Evidence(found) => {
            let replayed = evidence::replay(&found)?;
            let log = found.log.as_ref().map(eventlog::events);
            Facts::default()
                .with("report", found.form)
                .with("td", found.facts)
                .with("warnings", found.warnings)
                .with("replay", replay(&replayed))
                .with_some("events", log)
        }
    };
    Ok(facts)
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
