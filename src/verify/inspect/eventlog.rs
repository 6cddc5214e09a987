//! Event logs: what was extended, and what the registers then hold.

use super::{Fact, Facts};
use crate::digest::hex;
use crate::format::eventlog::{self, Algorithm, Log, Tail};

/// Events that are shown; no boot has so many.
const SHOWN: usize = 1 << 15;

/// A crypto-agile log starts with an event of SHA-1 form that names the specification.
pub(super) fn is_log(bytes: &[u8]) -> bool {
    bytes.get(32..47) == Some(b"Spec ID Event03")
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let log = Log::parse(bytes)?;
    let mut registers = Facts::default();
    for bank in log.banks() {
        registers = registers.with(bank.name(), replayed(&log, bank)?);
    }
    let algorithms: Vec<_> = log.banks().iter().map(|bank| bank.name()).collect();
    Ok(Facts::default()
        .with("algorithms", algorithms)
        .with("end", end(&log))
        .with("registers", registers)
        .with("events", events(&log)))
}

fn replayed(log: &Log, bank: Algorithm) -> anyhow::Result<Facts> {
    let names = log.registers();
    let values = log.replay(bank)?;
    Ok(values.iter().fold(Facts::default(), |facts, (index, value)| {
        facts.with_bytes(&names.name(*index), value)
    }))
}

/// One line an event, with its widest digest.
pub(super) fn events(log: &Log) -> Fact {
    let names = log.registers();
    let widest = log.banks().into_iter().max_by_key(|bank| bank.width());
    let event = |record: &eventlog::Record| {
        let digest = widest.and_then(|bank| record.digest(bank)).map(hex);
        Facts::default()
            .with("register", names.name(record.index))
            .with("type", eventlog::kind_name(record.kind))
            .with("digest", digest.unwrap_or_default())
            .with("what", eventlog::describe(record))
    };
    let mut rows: Vec<_> = log.records.iter().take(SHOWN).map(event).collect();
    if let Some(more) = log.records.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        rows.push(Facts::default().with("more", format!("and {more} events more")));
    }
    Fact::Table(rows)
}

fn end(log: &Log) -> String {
    match &log.tail {
        Tail::End => "with its last event".to_string(),
        Tail::Padding(bytes) => format!("{bytes} bytes of padding follow"),
        Tail::Cut(error) => format!("cut in the middle of an event: {error}"),
    }
}
