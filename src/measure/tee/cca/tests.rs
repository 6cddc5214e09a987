//! Tests of `cca`.

use alloc::borrow::Cow;

use super::rim::{block_sizes, blocks};
use super::*;
use crate::digest::{Sha256, hex};

fn parameters(hash: Hash) -> Parameters {
    let flags = FLAG_LPA2 | FLAG_PMU;
    Parameters { flags, ipa_bits: 48, sve_vl: 0, num_bps: 3, num_wps: 2, pmu_num_ctrs: 6, hash }
}

/// A launch with every kind of step: RIPAS over three block sizes, unaligned and whole data.
fn steps() -> [Step<'static>; 5] {
    [
        Step::Ripas { base: 0x3f_f000, top: 0x60_1000 },
        Step::Data { ipa: 0x3f_f010, data: Cow::Borrowed(b"one") },
        Step::Data { ipa: 0x40_0000, data: Cow::Borrowed(b"two") },
        Step::Rec { pc: 0x40_0000, x0: 0x3f_f000 },
        Step::Unmeasured { ipa: 0x50_0000, size: 0x1000 },
    ]
}

fn rim(hash: Hash, rmm: Rmm, steps: &[Step<'_>]) -> String {
    let mut rim = Rim::create(&parameters(hash), rmm);
    steps.iter().for_each(|step| rim.step(step));
    hex(rim.value())
}

// Computed with Python's hashlib from the descriptors of docs/measure/cca.md.
#[test]
fn rims_of_both_interfaces_under_every_hash() {
    let known = [
        (Hash::Sha256, Rmm::V1, "98d5befed27373433e2633c29e12cd6478604bd281311897909e013d38299d4f"),
        (Hash::Sha256, Rmm::V2, "dcad8c8da8abafc61f0ac6c22f90d12ebc3e3afe9ec22a912b51e7001bb72cdd"),
        (
            Hash::Sha384,
            Rmm::V1,
            "cb6ac25c6db6c4f9c2cb87d207a93afb03aa9df2c71d13ed4949f178877b0f52571d0d3ffd304dd9d233321fdb5965a5",
        ),
        (
            Hash::Sha384,
            Rmm::V2,
            "220f5964f5bc532d28ac8a6d99ab3104e71cf9399ddf1de4aa68a20d7cb5f0ac9da7bd97fc0fc46bbd4b880b21408ed7",
        ),
        (
            Hash::Sha512,
            Rmm::V1,
            "a7d312a5dbbfea2d0947f927df744f5c1bf2ae7e2047305a569caaba9c686c49fbea4d03ef26931c67beda334e18b0ab077813a4c27de1b76aec3d40e7396c75",
        ),
        (
            Hash::Sha512,
            Rmm::V2,
            "f7214faaab4ca9797bbb956d06f88a9e76b402deef63253b6468e9c93d99bf0ede7de5fff28584c0325109ded54e25deca2b00eef285386b0378b2da1da45dd7",
        ),
    ];
    for (hash, rmm, expected) in known {
        assert_eq!(rim(hash, rmm, &steps()), expected, "{hash:?} {rmm:?}");
    }
}

// cca-realm-measurements (commit 08aaf5a3), src/realm_config.rs, test_rim().
#[test]
fn parameters_alone_measure_as_the_reference_tool_computes() {
    let known = [
        (Hash::Sha256, "6739dfb22b75ee1268d08dfa8369f501bc0b066243553f069f560d1fa1172973"),
        (
            Hash::Sha512,
            "799e434048fb57eb9d4f0e2a2b98158720377252deab2bdfcd69b5a8f82237f434bd6bb1c75bf160a2d49382f733b3439a3ff769e4ea5dd9a6f72239d44bbbab",
        ),
    ];
    for (hash, expected) in known {
        let bare =
            Parameters { flags: 0, num_bps: 1, num_wps: 1, pmu_num_ctrs: 0, ..parameters(hash) };
        assert_eq!(hex(Rim::create(&bare, Rmm::V1).value()), expected);
    }
}

// RMM 2.0 from the specification: RMM 1.0 without its RMI_RTT_INIT_RIPAS.
#[test]
fn rmm_2_is_rmm_1_without_ripas() {
    let [_, rest @ ..] = steps();
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        assert_eq!(rim(hash, Rmm::V2, &steps()), rim(hash, Rmm::V1, &rest));
    }
}

/// `size` zero bytes with `fields` put at their offsets.
fn block(size: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut block = alloc::vec![0; size];
    for (offset, bytes) in fields {
        block[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    block
}

// RMM 2.0 from code, independent of the one above: the three functions of TF-RMM v0.9.0,
// app/attestation/rmm_stub/src/rim.c, by the offsets that measurement_descs.h and smc-rmi.h assert.
#[test]
fn rmm_2_is_what_tf_rmm_computes() {
    let wide = |number: u64| number.to_le_bytes();
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        // measurement_realm_params_measure
        let fields = [(0, 5), (8, 48), (0x10, 0), (0x18, 3), (0x20, 2), (0x28, 6)];
        let fields = fields.map(|(offset, value)| (offset, wide(value)));
        let mut fields: Vec<_> = fields.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
        let algorithm = [hash as u8];
        fields.push((0x30, &algorithm));
        let mut rim_measurement = hash.of(&[&block(4096, &fields)]);
        // measurement_data_granule_measure, RMI_MEASURE_CONTENT
        let data = |rim: &[u8], ipa: u64, granule: &[u8]| {
            let content = hash.of(&[granule]);
            let fields: [(usize, &[u8]); 5] = [
                (8, &wide(0x100)),
                (0x10, rim),
                (0x50, &wide(ipa)),
                (0x58, &wide(1)),
                (0x60, &content),
            ];
            hash.of(&[&block(0x100, &fields)])
        };
        let granules =
            [(0x3f_f000, block(4096, &[(0x10, b"one")])), (0x40_0000, block(4096, &[(0, b"two")]))];
        for (ipa, granule) in &granules {
            rim_measurement = data(&rim_measurement, *ipa, granule);
        }
        // measurement_rec_params_measure: flags 0, pc 0x200, gprs 0x300
        let rec = [(0, wide(1)), (0x200, wide(0x40_0000)), (0x300, wide(0x3f_f000))];
        let rec: Vec<_> = rec.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
        let content = hash.of(&[&block(4096, &rec)]);
        let fields: [(usize, &[u8]); 4] =
            [(0, &[1]), (8, &wide(0x100)), (0x10, &rim_measurement), (0x50, &content)];
        let rim_measurement = hash.of(&[&block(0x100, &fields)]);
        // measurement_data_granule_measure, RMI_NO_MEASURE_CONTENT
        let fields: [(usize, &[u8]); 3] =
            [(8, &wide(0x100)), (0x10, &rim_measurement), (0x50, &wide(0x50_0000))];
        let rim_measurement = hash.of(&[&block(0x100, &fields)]);
        assert_eq!(rim(hash, Rmm::V2, &steps()), hex(&rim_measurement), "{hash:?}");
    }
}

#[test]
fn rems_are_extended_and_never_overwritten() {
    let known = [
        (Hash::Sha256, "1865b7d390d9ab00b491dfc1bc8b59ca29d0fd7ac787e3583fdabe26935b9bf5"),
        (
            Hash::Sha384,
            "f6397944a4c1d1fb154492a7781cf40e59d08fc2fc1dcfd48de4eab172ebe76c8017574d343273e91f9cfbdb00c941f5",
        ),
        (
            Hash::Sha512,
            "6ef4f4f35257ad092c05a9c7bd78cfb1952dccb775c9ff5aaadf978560d170ebef3a888ff8e2ce3279195d533f0b2961337ed49f807ae46d88c83384f9f98dca",
        ),
    ];
    for (hash, expected) in known {
        let first = extended(hash, &alloc::vec![0; hash.width()], b"first").expect("short");
        assert_eq!(hex(&extended(hash, &first, b"second value").expect("short")), expected);
    }
    assert!(extended(Hash::Sha256, &[0; 32], &[0; 65]).is_err());
}

#[test]
fn blocks_are_the_largest_that_are_aligned_and_fit() {
    assert_eq!(block_sizes(52), [1 << 12, 1 << 21, 1 << 30, 1 << 39]);
    assert_eq!(block_sizes(43), [1 << 12, 1 << 21, 1 << 30], "concatenated tables save a level");
    assert_eq!(block_sizes(34), [1 << 12, 1 << 21]);
    assert_eq!(block_sizes(33), [1 << 12, 1 << 21]);
    let blocks: Vec<_> = blocks(0x3f_f000, 0x60_1000, 48).collect();
    assert_eq!(blocks, [(0x3f_f000, 0x40_0000), (0x40_0000, 0x60_0000), (0x60_0000, 0x60_1000)]);
}

fn machine(settings: &[(&str, Value)]) -> Machine {
    let mut machine = Machine { memory: Some(1 << 29), ..Machine::default() };
    machine.vmm.name = "qemu".to_string();
    let common = [("num-bps", Value::Number(6)), ("num-wps", Value::Number(6))];
    let all = common.iter().chain(settings);
    machine.settings.extend(all.map(|(name, value)| (name.to_string(), value.clone())));
    machine
}

#[test]
fn listed_events_extend_their_own_rem() {
    let list = b"rem1 01\nrem0 ff\n\nrem1 02\n";
    let guest = Guest { others: alloc::vec![("rem-events", &list[..])], ..Guest::default() };
    let found = one(&guest, &machine(&[("hash", Value::Text("sha256".into()))])).expect("measured");
    let chain = |values: &[&[u8]]| {
        let start = alloc::vec![0; 32];
        values.iter().fold(start, |rem, value| Sha256::of_parts([&rem[..], value]).0.to_vec())
    };
    assert_eq!(found.registers[1].value, chain(&[&[0xff]]));
    assert_eq!(found.registers[2].value, chain(&[&[1], &[2]]));
    assert_eq!(found.registers[3].value, [0; 32]);
    assert_eq!(found.events.len(), 3);
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_can() {
    let error = |settings: &[(&str, Value)], list: &[u8]| {
        let others = alloc::vec![("rem-events", list)];
        let guest = Guest { others, ..Guest::default() };
        one(&guest, &machine(settings)).expect_err("refused").to_string()
    };
    let number = Value::Number;
    assert!(
        error(&[("ipa-bits", number(40))], b"")
            .contains("expected 41 or more, which the VMM needs")
    );
    assert!(error(&[("num-bps", number(1))], b"").contains("num-bps: expected 2 to 64"));
    assert!(error(&[("sve-vl", number(100))], b"").contains("a multiple of 128 up to 2048"));
    assert!(error(&[("pmu", Value::Flag(true))], b"").contains("cca needs pmu-num-ctrs"));
    assert!(
        error(&[("personalization-value", Value::Text("xy".into()))], b"")
            .contains("in hexadecimal")
    );
    assert!(
        error(&[], b"rem0 aa\nrem4 aa").starts_with("rem-events, line 2: expected rem0 to rem3")
    );
    let mut bare = machine(&[]);
    bare.settings.clear();
    let bare = one(&Guest::default(), &bare).unwrap_err().to_string();
    assert_eq!(bare, "cca needs num-bps: it is measured; give --num-bps as the host offers it");
}
