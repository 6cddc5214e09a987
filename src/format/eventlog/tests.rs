//! Tests of `eventlog`.

use super::*;

fn sample() -> Log {
    let banks = [Algorithm::Sha256, Algorithm::Sha384];
    let event = |index, kind, data: &[u8]| Record {
        index,
        kind,
        digests: banks.iter().map(|bank| (bank.id(), bank.digest([data]))).collect(),
        data: data.to_vec(),
    };
    Log {
        algorithms: vec![(0xb, 32), (0xc, 48)],
        platform: [0, 0, 0, 0, 0, 2, 0, 2],
        vendor: Vec::new(),
        records: vec![
            event(0, EV_S_CRTM_VERSION, b"1\0.\x000\0\0\0"),
            event(7, EV_SEPARATOR, &[0; 4]),
            event(5, EV_EFI_ACTION, b"Exit Boot Services Invocation"),
        ],
        tail: Tail::End,
    }
}

#[test]
fn what_was_written_is_parsed() {
    let log = sample();
    assert_eq!(Log::parse(&log.write()), Ok(log.clone()));
    let padded = Log { tail: Tail::Padding(99), ..log };
    assert_eq!(Log::parse(&padded.write()), Ok(padded));
}

#[test]
fn a_register_is_a_chain_of_digests() {
    let registers = sample().replay(Algorithm::Sha384).expect("both banks");
    // The separator of four zero bytes in an otherwise empty register: as in a TPM's PCR 2.
    let separator = "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d\
                     50529d96fe4d1afdafb65e7f95bf23c4";
    assert_eq!(crate::digest::hex(&registers[&7]), separator);
    assert_eq!(registers.keys().copied().collect::<Vec<_>>(), [0, 5, 7]);
}

#[test]
fn a_cut_tail_keeps_the_records_before_it() {
    let bytes = sample().write();
    let cut = Log::parse(&bytes[..bytes.len() - 3]).expect("two whole records");
    assert_eq!(cut.records.len(), 2);
    assert!(matches!(cut.tail, Tail::Cut(Error::Truncated { .. })), "{:?}", cut.tail);
    for end in 0..bytes.len() {
        let _ = Log::parse(&bytes[..end]);
    }
}

#[test]
fn what_contradicts_the_header_is_refused() {
    let refusal = |change: fn(&mut Log)| {
        let mut log = sample();
        change(&mut log);
        Log::parse(&log.write()).expect_err("refused").to_string()
    };
    let unknown = refusal(|log| log.records[1].digests[0].0 = 0x1234);
    assert!(unknown.contains("expected one of the header's, found 0x1234"), "{unknown}");
    let many = refusal(|log| {
        let more = log.records[0].digests.clone();
        log.records[0].digests.extend(more);
    });
    assert!(many.contains("expected 1 to 2, as the header has algorithms, found 4"), "{many}");
    let none = refusal(|log| log.records[0].digests.clear());
    assert!(none.contains("number of digests of an event at byte offset"), "{none}");
    let width = refusal(|log| log.algorithms[0].1 = 20);
    assert!(width.contains("found 20 for algorithm 0x000b"), "{width}");
    let old = Log::parse(&[0; 64]).expect_err("no header").to_string();
    assert!(old.contains("Spec ID Event03"), "{old}");
}

#[test]
fn a_bank_of_an_unknown_algorithm_does_not_hide_the_others() {
    let mut log = sample();
    log.algorithms.push((0x27, 32));
    log.records.iter_mut().for_each(|record| record.digests.push((0x27, vec![1; 32])));
    let log = Log::parse(&log.write()).expect("its width is known");
    assert_eq!(log.banks(), [Algorithm::Sha256, Algorithm::Sha384]);
    assert!(log.replay(Algorithm::Sha256).is_ok());
    assert!(log.replay(Algorithm::Sm3).is_err());
}

#[test]
fn the_indices_of_a_tdx_log_are_its_own() {
    let mut log = sample();
    assert_eq!(log.registers(), Registers::Pcr);
    log.algorithms.remove(0);
    log.records.remove(0);
    for (record, index) in log.records.iter_mut().zip([1, 2]) {
        record.digests.remove(0);
        record.index = index;
    }
    assert_eq!(log.registers(), Registers::Tdx);
    assert_eq!((log.registers().name(0), log.registers().name(4)), ("mrtd".into(), "rtmr3".into()));
}

#[test]
fn a_start_from_locality_3_shows_in_register_0() {
    let mut log = sample();
    let data = [&STARTUP_LOCALITY[..], &[3]].concat();
    log.records.insert(0, Record { index: 0, kind: EV_NO_ACTION, digests: vec![], data });
    let mut start = vec![0; 32];
    start[31] = 3;
    let digest = log.records[1].digest(Algorithm::Sha256).expect("a digest").to_vec();
    let replayed = log.replay(Algorithm::Sha256).expect("replay");
    assert_eq!(replayed[&0], Algorithm::Sha256.extend(&start, &digest));
}
