//! Forms of evidence, alone and together.

use super::{Evidence, Piece, parse};
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
        Ok(Piece::Evidence(mut evidence)) if evidence.len() == 1 => evidence.remove(0),
        other => panic!("{other:?}"),
    }
}

fn join(pieces: Vec<Piece>) -> anyhow::Result<Evidence> {
    super::join(pieces, &|_| true)
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
    let mut unwrapped = evidence(&wrapped);
    assert_eq!(unwrapped.warnings.pop().map(|text| text.contains("claims")), Some(true));
    assert_eq!(
        (unwrapped.registers, unwrapped.warnings),
        (raw.registers.clone(), raw.warnings.clone())
    );
    for text in [hex(&report()), base64(&report())] {
        let json = serde_json::json!({ "quote": text }).to_string();
        assert_eq!(evidence(json.as_bytes()), raw);
        assert_eq!(evidence(text.as_bytes()), raw);
    }
    let numbers = serde_json::json!({ "attestation_report": report() }).to_string();
    assert_eq!(evidence(numbers.as_bytes()), raw);
}

#[test]
fn claims_of_verifiers_are_evidence_of_their_tee() {
    let claims = serde_json::json!({"submods": {"cpu0": {"ear.veraison.annotated-evidence": {
        "tdx": {"quote": {"body": {"mr_td": hex(&[1; 48]), "rtmr_1": hex(&[2; 48])}}},
    }}}});
    let token = |value: &serde_json::Value| {
        let part = |text: &str| base64(text.as_bytes()).trim_end_matches('=').replace('+', "-");
        format!("{}.{}.c2ln", part(r#"{"alg":"ES384"}"#), part(&value.to_string()))
            .replace('/', "_")
    };
    let found = evidence(token(&claims).as_bytes());
    assert_eq!((found.tee, found.form), ("tdx", "attestation token (EAR)"));
    assert_eq!(found.registers["mrtd"], [1; 48]);
    assert_eq!(found.registers["rtmr1"], [2; 48]);
    let snp = serde_json::json!({"snp": {"measurement": base64(&[7; 48])}}).to_string();
    assert_eq!(evidence(snp.as_bytes()).registers["measurement"], [7; 48]);
    let own = serde_json::json!({"machines": [
        {"tee": "sev", "registers": {"launch_digest": hex(&[3; 32])}}
    ]});
    assert_eq!(evidence(own.to_string().as_bytes()).tee, "sev");
}

#[test]
fn a_nitro_document_has_its_registers() {
    use ciborium::Value;
    let text = |text: &str| Value::Text(text.to_string());
    let pcr = |n: u8, value: u8| (Value::from(n), Value::Bytes(vec![value; 48]));
    let claims = Value::Map(vec![
        (text("module_id"), text("i-1234-enc5678")),
        (text("timestamp"), Value::from(1_700_000_000_000_u64)),
        (text("pcrs"), Value::Map(vec![pcr(0, 1), pcr(1, 2), pcr(2, 3), pcr(3, 0)])),
    ]);
    let bytes = |value: &Value| {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).expect("CBOR");
        bytes
    };
    let parts = [Value::Bytes(vec![0xa1, 1, 0x38, 0x22]), Value::Map(vec![])];
    let parts = parts.into_iter().chain([Value::Bytes(bytes(&claims)), Value::Bytes(vec![0; 96])]);
    let document = bytes(&Value::Array(parts.collect()));
    let found = evidence(&document);
    assert_eq!((found.tee, found.registers.len()), ("nitro", 3));
    assert_eq!(found.registers["pcr2"], [3; 48]);
    assert_eq!(found.warnings, Vec::<String>::new());
}

#[test]
fn a_realm_token_has_its_measurements() {
    use ciborium::Value;
    let bytes = |value: &Value| {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).expect("CBOR");
        bytes
    };
    let rems = Value::Array(vec![Value::Bytes(vec![6; 32]); 4]);
    let claims = vec![
        (Value::from(44238), Value::Bytes(vec![5; 32])),
        (Value::from(44239), rems),
        (Value::from(44240), Value::Text("sha-256".to_string())),
    ];
    let payload = Value::Bytes(bytes(&Value::Map(claims)));
    let parts = vec![Value::Bytes(vec![]), Value::Map(vec![]), payload, Value::Bytes(vec![0; 96])];
    let realm = bytes(&Value::Tag(18, Box::new(Value::Array(parts))));
    let token = vec![(Value::from(44241), Value::Bytes(realm.clone()))];
    let token = bytes(&Value::Tag(399, Box::new(Value::Map(token))));
    for input in [realm, token] {
        let found = evidence(&input);
        assert_eq!((found.tee, &found.registers["rim"][..]), ("cca", &[5; 32][..]));
        assert_eq!(found.registers["rem3"], [6; 32]);
    }
}

#[test]
fn a_tpm_quote_is_worth_what_the_log_says() {
    use crate::format::eventlog::{Algorithm, EV_EFI_ACTION, Log, Record, Tail};
    let digest = Algorithm::Sha256.digest([&b"event"[..]]);
    let record = |digest: &[u8]| Record {
        index: 4,
        kind: EV_EFI_ACTION,
        digests: vec![(Algorithm::Sha256.id(), digest.to_vec())],
        data: Vec::new(),
    };
    let log = |digest: &[u8]| Log {
        algorithms: vec![(Algorithm::Sha256.id(), 32)],
        platform: [0; 8],
        vendor: Vec::new(),
        records: vec![record(digest)],
        tail: Tail::End,
    };
    let value = Algorithm::Sha256.extend(&[0; 32], &digest);
    let quoted = Algorithm::Sha256.digest([&value[..]]);
    let mut quote = [&b"\xffTCG\x80\x18"[..], &[0, 0, 0, 0], &[0; 17], &[0; 8]].concat();
    quote.extend([0, 0, 0, 1, 0, 0x0b, 3, 0x10, 0, 0, 0, 32]);
    quote.extend(quoted);
    let piece = |bytes: &[u8]| parse(bytes).expect("a piece");
    let found = join(vec![piece(&quote), Piece::Log(log(&digest))]).expect("one launch");
    assert_eq!((found.tee, &found.registers["pcr4"]), ("vtpm", &value));
    assert_eq!(found.warnings, Vec::<String>::new());
    let other = join(vec![piece(&quote), Piece::Log(log(&[1; 32]))]).expect("one launch");
    assert!(other.warnings[0].starts_with("the log does not give the PCRs"), "{other:?}");
    assert!(join(vec![piece(&quote)]).is_err());
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

/// What a client sends to trustee: to the KBS, and to the attestation service.
#[test]
fn a_request_to_trustee_holds_its_evidence() {
    let inner = serde_json::json!({ "attestation_report": hex(&report()) }).to_string();
    for request in [
        serde_json::json!({"tee-pubkey": {}, "tee-evidence": {"primary_evidence": inner}}),
        serde_json::json!({"verification_requests": [{"tee": "snp", "evidence": base64(inner.as_bytes())}]}),
    ] {
        assert_eq!(evidence(request.to_string().as_bytes()), evidence(&report()), "{request}");
        assert!(super::is_json_evidence(request.to_string().as_bytes()));
    }
    let tpm =
        serde_json::json!({"ak_public": "", "tpm_quote": {"pcrs": [vec![7; 32], vec![8; 32]]}});
    let found = evidence(tpm.to_string().as_bytes());
    assert_eq!((found.tee, found.registers["pcr1"].as_slice()), ("vtpm", &[8; 32][..]));
    // JSON in JSON in JSON has an end.
    let deep = (0..8).fold(inner, |inner, _| serde_json::json!({ "evidence": inner }).to_string());
    assert!(parse(deep.as_bytes()).is_err());
}

#[test]
fn what_is_no_evidence_is_not_taken_for_it() {
    // Intel's identity of the quoting enclave.
    let identity =
        serde_json::json!({"enclaveIdentity": {"id": "TD_QE", "mrsigner": hex(&[9; 32])}});
    assert!(parse(identity.to_string().as_bytes()).is_err());
    assert!(parse(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pieces = vec![parse(certificate).expect("certificates")];
    let error = join(pieces).expect_err("no report").to_string();
    assert!(error.starts_with("certificates alone are no evidence"), "{error}");
}

/// PCRs as wide as SHA-384 may be those of an enclave.
#[test]
fn registers_of_an_enclave_in_json() {
    let claims = serde_json::json!({"pcr0": hex(&[1; 48]), "PCR8": hex(&[2; 48])}).to_string();
    for wanted in ["vtpm", "nitro"] {
        let piece = vec![parse(claims.as_bytes()).expect("claims")];
        let found = super::join(piece, &|tee| tee == wanted).expect("evidence");
        assert_eq!((found.tee, found.registers["pcr8"].as_slice()), (wanted, &[2; 48][..]));
    }
}
