//! Evidence in JSON: a quote or report in base64 or hexadecimal, as agents and verifiers pass it on,
//! with the event log beside it.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{Piece, parse as parse_piece};
use crate::digest::unhex;
use crate::format::eventlog::{Algorithm, Log, Record, Tail};

/// Keys under which agents pass on the report itself.
const REPORTS: &[&str] = &["quote", "report", "attestation_report", "td_quote", "outblob"];

/// Keys under which they pass on the event log.
const LOGS: &[&str] = &["cc_eventlog", "event_log", "eventlog", "ccel"];

/// Type of the events that dstack's guest extends RTMR3 with.
const RUNTIME: u32 = 0x0800_0001;

pub(super) fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

pub(super) fn has_report(bytes: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    value.is_some_and(|value| REPORTS.iter().any(|key| value[*key].is_string()))
}

pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Piece> {
    let value: Value = serde_json::from_slice(bytes).context("this is not JSON")?;
    let text = |keys: &[&str]| keys.iter().find_map(|key| value[*key].as_str());
    let Some(report) = text(REPORTS) else {
        bail!("the JSON has none of the keys {}, with a text", REPORTS.join(", "));
    };
    let report = decode(report).context("the report is neither base64 nor hexadecimal")?;
    if is_json(&report) {
        bail!("the report is JSON again");
    }
    let mut piece = parse_piece(&report)?;
    if let (Piece::Evidence(evidence), Some(log)) = (&mut piece, text(LOGS)) {
        evidence.log = Some(event_log(log)?);
    }
    Ok(piece)
}

/// Bytes of a text in hexadecimal or in any of the usual forms of base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let bare = text.trim_end_matches('=');
    let base64 = || STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).ok();
    unhex(text.strip_prefix("0x").unwrap_or(text)).ok().or_else(base64)
}

/// A log as its bytes in base64, or as the list of events that dstack gives out.
fn event_log(text: &str) -> anyhow::Result<Log> {
    if let Some(bytes) = decode(text) {
        return Ok(Log::parse(&bytes)?);
    }
    let events: Vec<Value> = serde_json::from_str(text).context("the event log is no list")?;
    let records = events.iter().enumerate();
    let records = records.map(|(number, event)| {
        record(event)
            .with_context(|| format!("event {number} of the log lacks imr or type, or its digest is not that of its payload"))
    });
    Ok(Log {
        algorithms: vec![(Algorithm::Sha384.id(), 48)],
        platform: [0; 8],
        vendor: Vec::new(),
        records: records.collect::<anyhow::Result<_>>()?,
        tail: Tail::End,
    })
}

/// Index `imr` counts run-time registers from 0; a log counts MRTD as 0.
fn record(event: &Value) -> Option<Record> {
    let number = |key: &str| event[key].as_u64().and_then(|n| u32::try_from(n).ok());
    let stated = unhex(event["digest"].as_str()?).ok()?;
    let kind = number("event_type")?;
    let data = event["event_payload"].as_str().and_then(|hex| unhex(hex).ok()).unwrap_or_default();
    let digest = match (kind, event["event"].as_str()) {
        (RUNTIME, Some(name)) => {
            let digest = runtime(name, &data);
            (stated.is_empty() || stated == digest).then_some(digest)?
        }
        _ => stated,
    };
    let digests = vec![(Algorithm::Sha384.id(), digest)];
    Some(Record { index: number("imr")?.checked_add(1)?, kind, digests, data })
}

/// Digest of an event that dstack's guest extends RTMR3 with: type, name and payload; the log need
/// not state it (Dstack-TEE/dstack, `cc-eventlog`).
fn runtime(name: &str, payload: &[u8]) -> Vec<u8> {
    let kind = RUNTIME.to_le_bytes();
    Algorithm::Sha384.digest([&kind[..], b":", name.as_bytes(), b":", payload])
}
