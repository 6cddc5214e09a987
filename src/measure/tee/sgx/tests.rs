//! Tests of `sgx`.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::digest::unhex;
use crate::format::elf::{PF_R, PF_W, Segment};
use crate::format::sgx::{SECINFO_R, SECINFO_REG, SECINFO_W, SECINFO_X};

const RX: u64 = SECINFO_R | SECINFO_X | SECINFO_REG;
const RW: u64 = SECINFO_R | SECINFO_W | SECINFO_REG;

/// A SIGSTRUCT over MRENCLAVE 00 01 … 1f, made with `openssl dgst -sign` and Python's integers.
const SIGSTRUCT: &str = include_str!("../../../../tests/vectors/sgx/sigstruct.hex");

fn sigstruct() -> Vec<u8> {
    unhex(&SIGSTRUCT.replace('\n', "")).expect("hexadecimal")
}

/// The stream whose digest `hashlib` computed; `edit` may break it.
fn stream(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut stream = record(b"ECREATE\0", &[&1_u32.to_le_bytes(), &0x4000_u64.to_le_bytes()]);
    for (offset, flags, text) in [(0_u64, RX, &b"first"[..]), (0x1000, RW, b"second")] {
        stream.extend(record(b"EADD\0\0\0\0", &[&offset.to_le_bytes(), &flags.to_le_bytes()]));
        let mut page = text.to_vec();
        page.resize(PAGE_SIZE, 0);
        for (at, chunk) in (offset..).step_by(CHUNK).zip(page.chunks(CHUNK)) {
            stream.extend(record(b"EEXTEND\0", &[&at.to_le_bytes()]));
            stream.extend(chunk);
        }
    }
    stream.extend(record(b"EADD\0\0\0\0", &[&0x2000_u64.to_le_bytes(), &RW.to_le_bytes()]));
    edit(&mut stream);
    stream
}

fn record(tag: &[u8; 8], fields: &[&[u8]]) -> Vec<u8> {
    let mut record = [&tag[..], &fields.concat()].concat();
    record.resize(64, 0);
    record
}

fn error(image: &[u8]) -> String {
    Identity::of(image).expect_err("a broken enclave").to_string()
}

#[test]
fn a_stream_measures_to_its_sha256() {
    let identity = Identity::of(&stream(|_| {})).expect("an enclave");
    let expected = "3795f6bc50a74b1d7ae405ef9d5f9d4b99491dc59b6b00a094d3854c41659b02";
    assert_eq!(identity.mrenclave.to_string(), expected);
    let unmeasured = stream(|stream| {
        stream.extend(record(b"UNMEASRD", &[&0x2000_u64.to_le_bytes()]));
        stream.extend([7; CHUNK]);
    });
    assert_eq!(Identity::of(&unmeasured), Ok(identity), "unmeasured data is for the loader");
}

#[test]
fn streams_that_no_processor_takes_are_refused() {
    let broken = |offset: usize, bytes: &[u8]| {
        error(&stream(|stream| stream[offset..offset + bytes.len()].copy_from_slice(bytes)))
    };
    let second = 64 + 64 + 16 * (64 + CHUNK);
    assert!(broken(12, &[0, 0x50]).contains("SECS.SIZE"), "not a power of two");
    assert!(broken(72, &[1]).contains("expected a multiple of 0x1000, found 0x1"));
    assert!(broken(second + 8, &[0, 0]).contains("pages overlap"));
    assert!(broken(second + 8, &[0, 0x50]).contains("below 0x4000, the enclave's size"));
    assert!(broken(128 + 8, &[1]).contains("expected a multiple of 0x100, found 0x1"));
    assert!(broken(128 + 8, &[0, 0x30]).contains("a page that an EADD added before"));
    assert!(broken(64, b"X").contains("expected ECREATE, EADD, EEXTEND or UNMEASRD"));
    assert!(
        error(&stream(|stream| stream.truncate(300)))
            .contains("SGXS data at byte offset 0xc0 needs 256 bytes")
    );
    assert!(error(b"MZ").starts_with("enclave at byte offset 0x0: expected an SGXS stream"));
}

#[test]
fn segments_are_loaded_page_by_page() {
    let mut by_segment = Mrenclave::create(1, 0x4000).expect("enclave");
    let data = &[5; 0x1100][..];
    let segment =
        Segment { kind: 1, flags: PF_R | PF_W, offset: 0, vaddr: 0xf80, memsz: 0x1900, data };
    sdk::load(&mut by_segment, &segment).expect("loaded");
    let mut by_page = Mrenclave::create(1, 0x4000).expect("enclave");
    by_page.page(0, RW, &[vec![0; 0xf80], vec![5; 0x80]].concat()).expect("partial first page");
    by_page.page(0x1000, RW, &[5; 0x1000]).expect("whole page");
    by_page.page(0x2000, RW, &[5; 0x80]).expect("the file's last bytes, then zeros");
    assert_eq!(by_segment.finish(), by_page.finish());
}

// Known answers: upstream's `sgx_sign.py` (commit ff71d7af) run on the same ELF file and manifests.
#[test]
fn gramine_enclaves_measure_as_their_signer_computes() {
    let known = [
        (
            "[sgx]\nenclave_size = \"4M\"\nmax_threads = 2\n",
            "2bdf7cfc6d576817490dc9f880514741efcd7b29dac3a9f59face7be198813df",
        ),
        (
            "[sgx]\nenclave_size = \"4M\"\nmax_threads = 1\nedmm_enable = true\n",
            "47ab739f00a29f96d2ac0ae721d8a4401bd4aeb83d5b5a4ea1ea1187793df33b",
        ),
    ];
    let libpal = format::elf::sample();
    for (text, expected) in known {
        let manifest = Manifest::parse(text.as_bytes()).expect("a manifest");
        assert_eq!(manifest.mrenclave(&libpal).expect("fits").to_string(), expected, "{text}");
    }
}

#[test]
fn manifests_that_say_too_little_or_too_much_are_refused() {
    let error =
        |text: &str| Manifest::parse(text.as_bytes()).expect_err("a broken manifest").to_string();
    assert!(error("[loader]").contains("no [sgx]"));
    assert!(error("sgx = [").contains("expected TOML"));
    assert!(error("[sgx]\nmax_threads = 1").contains("sgx.enclave_size"));
    assert!(error("[sgx]\nmax_threads = 1\nenclave_size = \"1T\"").contains("found 1T"));
    assert!(error("[sgx]\nenclave_size = \"1G\"\nmax_threads = 0").contains("expected 1 to 65536"));
    let tight =
        Manifest::parse(b"[sgx]\nenclave_size = \"256K\"\nmax_threads = 1").expect("parsed");
    let tight = tight.mrenclave(&format::elf::sample()).unwrap_err().to_string();
    assert!(tight.contains("its areas do not fit"), "{tight}");
}

#[test]
fn a_sigstruct_is_checked_and_tells_who_signed() {
    let identity = Identity::of(&sigstruct()).expect("a valid SIGSTRUCT");
    let sigstruct = identity.sigstruct.as_ref().expect("itself");
    let expected = "44c1feca38bbd0d698ae8b65d95a2c1977d870fee29561b3c09e65dff547e869";
    assert_eq!(sigstruct.mrsigner().to_string(), expected);
    assert_eq!(identity.mrenclave.0[..4], [0, 1, 2, 3]);
    assert_eq!(identity.warnings().count(), 0);
    assert_eq!((sigstruct.isv_prod_id.get(), sigstruct.isv_svn.get()), (1, 2));
}

#[test]
fn a_sigstruct_is_made_from_an_outside_signature() {
    let known = Sigstruct::parse(&sigstruct()).expect("a SIGSTRUCT");
    let mut made = Sigstruct::new(&Sha256(known.enclave_hash));
    made.date = 0x2026_1101.into();
    (made.isv_prod_id, made.isv_svn) = (1.into(), 2.into());
    let reversed = |mut key: [u8; 384]| {
        key.reverse();
        key
    };
    assert_eq!(made.signed_data(), known.signed_data());
    made.sign_with(reversed(known.modulus), reversed(known.signature)).expect("it fits");
    assert_eq!(made, known);
    made.isv_svn = 3.into();
    assert!(
        made.check()
            .unwrap_err()
            .to_string()
            .starts_with("SIGSTRUCT SIGNATURE, opened by its MODULUS,")
    );
}

#[test]
fn every_broken_field_of_a_sigstruct_is_found() {
    let broken = |offset: usize| {
        let mut bytes = sigstruct();
        bytes[offset] ^= 1;
        error(&bytes)
    };
    assert!(broken(0).starts_with("SIGSTRUCT HEADER at"));
    assert!(broken(25).starts_with("SIGSTRUCT HEADER2 at byte offset 0x19"));
    assert!(broken(512).starts_with("SIGSTRUCT EXPONENT at"));
    assert!(broken(960).starts_with("SIGSTRUCT SIGNATURE"), "the hash is signed");
    assert!(broken(1041).starts_with("SIGSTRUCT Q1 at byte offset 0x411"));
    assert!(broken(1424).starts_with("SIGSTRUCT Q2 at byte offset 0x590"));
}

#[test]
fn debug_and_public_keys_are_warned_of() {
    let mut debug = Sigstruct::parse(&sigstruct()).expect("a SIGSTRUCT");
    debug.attributes = (ATTRIBUTES_OF_A_DEBUG_ENCLAVE).into();
    let warned: Vec<_> = warnings(&debug).collect();
    assert!(warned.len() == 1 && warned[0].starts_with("ATTRIBUTES.DEBUG is set"), "{warned:?}");
}

const ATTRIBUTES_OF_A_DEBUG_ENCLAVE: u64 = 6;

proptest::proptest! {
    #[test]
    fn hostile_streams_never_panic(bytes: Vec<u8>, at in 0_usize..400) {
        let _ = Identity::of(&bytes);
        let _ = Identity::of(&stream(|stream| drop(stream.splice(at..at + 1, bytes.iter().copied()))));
        let mut elf = format::elf::sample();
        elf.splice(at.min(100)..at.min(100) + 1, bytes.iter().copied());
        let _ = Identity::of(&elf);
    }
}
