//! Evidence in JSON: a quote or report in base64 or hexadecimal, as agents and verifiers pass it on,
//! with the event log beside it.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::claims::{self, bytes};
use super::{Piece, parse as parse_piece};
use crate::digest::unhex;
use crate::format::eventlog::{Algorithm, Log, Record, Tail};
use crate::verify::signature::Signed;

/// Keys under which agents pass on the report itself, the hardware's before what is derived from it.
const REPORTS: &[&str] = &[
    "td_quote",
    "quote",
    "attestation_report",
    "report",
    "hcl_report",
    "outblob",
    "evidence",
    "token",
    "attestation_doc",
    "document",
];

/// Keys under which JSON with evidence stands in other JSON.
const WRAPPERS: &[&str] =
    &["verification_requests", "tee-evidence", "primary_evidence", "evidence"];

/// Levels of JSON in JSON.
const MAX_NESTED: usize = 4;

/// Keys under which they pass on the event log.
const LOGS: &[&str] = &["cc_eventlog", "event_log", "eventlog", "ccel", "uefi_event_logs"];

/// Keys under which they pass on certificates.
const CERTIFICATES: &[&str] = &["auxblob", "vcek", "vlek", "cert_chain", "certs", "certificates"];

/// Longest text that is taken for evidence.
const MAX_TEXT: usize = 16 << 20;

/// Type of the events that dstack's guest extends RTMR3 with.
const RUNTIME: u32 = 0x0800_0001;

pub(super) fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

pub(super) fn has_report(input: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(input).ok();
    value.is_some_and(|value| holds_report(&value, MAX_NESTED))
}

fn holds_report(value: &Value, nested: usize) -> bool {
    match (unwrapped(value), nested.checked_sub(1)) {
        (Some(inner), Some(nested)) => holds_report(&inner, nested),
        _ => {
            let report = REPORTS.iter().any(|key| bytes(&value[*key]).is_some());
            report || claims::pcrs(value).is_ok()
        }
    }
}

/// One word of base64 or hexadecimal.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(byte);
    let text = bytes.trim_ascii();
    (64..MAX_TEXT).contains(&text.len()) && text.iter().all(known)
}

/// What the text stands for.
pub(super) fn decoded(input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let words = input.split(u8::is_ascii_whitespace);
    let text = String::from_utf8(words.flatten().copied().collect())?;
    bytes(&Value::String(text)).context("the text is neither base64 nor hexadecimal")
}

pub(super) fn text(input: &[u8]) -> anyhow::Result<Piece> {
    let inner = decoded(input)?;
    match is_text(&inner) || is_json(&inner) {
        true => bail!("the text holds text again"),
        false => parse_piece(&inner).context("the text was decoded"),
    }
}

pub(super) fn parse(input: &[u8]) -> anyhow::Result<Piece> {
    let value: Value = serde_json::from_slice(input).context("this is not JSON")?;
    of_value(&value, MAX_NESTED)
}

fn of_value(value: &Value, nested: usize) -> anyhow::Result<Piece> {
    if let (Some(inner), Some(nested)) = (unwrapped(value), nested.checked_sub(1)) {
        return of_value(&inner, nested);
    }
    let report = REPORTS.iter().find_map(|key| bytes(&value[*key]));
    let Some(report) = report else {
        // PCRs of a TPM, a report as fields instead of bytes, or claims of any depth.
        return claims::pcrs(value).or_else(|_| claims::document(value));
    };
    if is_json(&report) {
        bail!("the report is JSON again");
    }
    let mut piece = parse_piece(&report).context("the report in the JSON")?;
    let Piece::Evidence(all) = &mut piece else { return Ok(piece) };
    let log = LOGS.iter().find(|key| !value[**key].is_null());
    let given: Vec<_> = CERTIFICATES.iter().flat_map(|key| certificates(&value[*key])).collect();
    for evidence in all.iter_mut() {
        if let Some(key) = log {
            evidence.log = Some(event_log(&value[*key])?);
        }
        if let Signed::Snp { certificates, .. } = &mut evidence.signed {
            certificates.extend(given.iter().cloned());
        }
    }
    // Azure's evidence has the PCRs of its virtual TPM beside the hardware's report.
    if let Ok(Piece::Evidence(others)) = claims::pcrs(value) {
        all.extend(others);
    }
    Ok(piece)
}

/// The evidence in what a client sends to trustee: a request to the KBS (`tee-evidence`, with the
/// first device's as `primary_evidence`) or to the attestation service (`verification_requests`).
fn unwrapped(value: &Value) -> Option<Value> {
    let inner = WRAPPERS.iter().map(|key| &value[*key]).find(|inner| !inner.is_null())?;
    let inner = inner.get(0).unwrap_or(inner);
    match inner {
        Value::Object(_) => Some(inner.clone()),
        Value::String(text) => {
            let text = match is_json(text.as_bytes()) {
                true => text.clone().into_bytes(),
                false => bytes(inner).filter(|bytes| is_json(bytes))?,
            };
            serde_json::from_slice(&text).ok()
        }
        _ => None,
    }
}

/// Certificates as PEM, bytes, or a list of either, perhaps as `{cert_type, data}`.
fn certificates(value: &Value) -> Vec<Vec<u8>> {
    match value {
        Value::String(text) if text.contains("-----BEGIN") => vec![text.clone().into_bytes()],
        Value::Array(items) if items.first().is_some_and(|item| !item.is_number()) => {
            let inside = |item: &Value| match item {
                Value::Object(_) => certificates(&item["data"]),
                other => certificates(other),
            };
            items.iter().flat_map(inside).collect()
        }
        other => bytes(other).into_iter().filter(|bytes| !bytes.is_empty()).collect(),
    }
}

/// A log as its bytes in base64, or as the list of events that dstack gives out.
fn event_log(value: &Value) -> anyhow::Result<Log> {
    if let Some(bytes) = bytes(value) {
        return Ok(Log::parse(&bytes)?);
    }
    let events: Vec<Value> = match value {
        Value::String(text) => serde_json::from_str(text).context("the event log is no list")?,
        other => other.as_array().cloned().context("the event log is no list")?,
    };
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
