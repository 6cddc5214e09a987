//! Forms of evidence, alone and together.

use super::{Evidence, Piece, join, parse};
use crate::digest::{base64, hex};
use crate::format::snp_report;

fn report() -> Vec<u8> {
    let mut bytes = vec![0; snp_report::SIZE];
    bytes[0] = 3;
    bytes[0x34] = 1;
    bytes[0x90..0xc0].fill(7);
    bytes
}

fn evidence(bytes: &[u8]) -> Evidence {
    match parse(bytes) {
        Ok(Piece::Evidence(evidence)) => *evidence,
        other => panic!("{other:?}"),
    }
}

fn log() -> Vec<u8> {
    let header = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20], &[33, 0, 0, 0]].concat();
    let spec = [&b"Spec ID Event03\0"[..], &[0, 0, 0, 0, 0, 2, 0, 2], &[1, 0, 0, 0]].concat();
    [&header[..], &spec, &[0x0c, 0, 48, 0, 0]].concat()
}

#[test]
fn the_same_report_in_every_form() {
    let raw = evidence(&report());
    assert_eq!((raw.tee, raw.registers["measurement"].as_slice()), ("sev-snp", &[7; 48][..]));
    let mut wrapped = b"HCLA".to_vec();
    wrapped.resize(32, 0);
    wrapped.extend(report());
    wrapped.extend([0u32, 1, 2, 1, 0].iter().flat_map(|word| word.to_le_bytes()));
    assert_eq!(evidence(&wrapped), raw);
    for text in [hex(&report()), base64(&report())] {
        let json = serde_json::json!({ "quote": text }).to_string();
        assert_eq!(evidence(json.as_bytes()), raw);
    }
}

#[test]
fn a_report_and_its_log_make_one_launch() {
    let pieces = |list: &[&[u8]]| list.iter().map(|b| parse(b).expect("a piece")).collect();
    let (report, log) = (report(), log());
    assert!(join(pieces(&[&log, &report])).is_ok_and(|joined| joined.log.is_some()));
    assert!(join(pieces(&[&report])).is_ok_and(|joined| joined.log.is_none()));
    let wrong = |list: &[&[u8]]| join(pieces(list)).expect_err("not one launch").to_string();
    assert_eq!(wrong(&[&log]), "an event log needs the report that it belongs to");
    assert!(wrong(&[&report, &report]).starts_with("give the evidence of one launch"));
    assert!(wrong(&[&report, &log, &log]).starts_with("give the evidence of one launch"));
}

#[test]
fn what_is_no_evidence_is_refused() {
    for bytes in [&b""[..], b"{", b"{}", b"{\"quote\": 7}", b"{\"quote\": \"zz\"}", b"MZ"] {
        assert!(parse(bytes).is_err(), "{bytes:?}");
    }
    let nested = base64(b"{\"quote\": \"\"}");
    let nested = serde_json::json!({ "quote": nested }).to_string();
    assert_eq!(parse(nested.as_bytes()).unwrap_err().to_string(), "the report is JSON again");
}
