//! Signatures of SEV-SNP reports, by chains that OpenSSL makes in the shapes that AMD's have: good but
//! for a root that is not AMD's, and each link broken.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use guestsmith::format::snp_report::{SIGNED, SIZE};
use guestsmith::verify::signature::{Means, Signature, Signed, Verdict, check};
use p384::ecdsa::SigningKey;
use p384::ecdsa::signature::Signer as _;
use p384::pkcs8::DecodePrivateKey as _;

/// RSASSA-PSS as AMD signs certificates.
const PSS: [&str; 5] =
    ["-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48"];

/// A directory with a root (ARK), what it vouches for (ASK), and the key of a chip.
struct Chain(tempfile::TempDir);

impl Chain {
    /// A chain down to a key with these security versions, by the last numbers of their OIDs.
    fn new(versions: &[(&str, u8)], chip: &[u8]) -> Self {
        let chain = Self(tempfile::tempdir().expect("a directory"));
        let days = ["-days", "400"];
        for name in ["ark", "ask"] {
            let (key, size) = (format!("{name}.key"), "rsa_keygen_bits:2048");
            chain.openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", size, "-out", &key]);
        }
        let root = ["req", "-x509", "-new", "-key", "ark.key", "-subj", "/CN=ARK-Test"];
        chain.openssl(&[&root[..], &PSS, &days, &["-out", "ark.pem"]].concat());
        let mut extensions = String::from("[ca]\nbasicConstraints = CA:TRUE\n[chip]\n");
        for (number, version) in versions {
            let value = if *version < 128 { "02:01:" } else { "02:02:00:" };
            let oid = format!("1.3.6.1.4.1.3704.1.3.{number}");
            extensions.push_str(&format!("{oid} = DER:{value}{version:02x}\n"));
        }
        let chip: Vec<_> = chip.iter().map(|byte| format!("{byte:02x}")).collect();
        extensions.push_str(&format!("1.3.6.1.4.1.3704.1.4 = DER:{}\n", chip.join(":")));
        fs::write(chain.path("extensions"), extensions).expect("written");
        let curve = "ec_paramgen_curve:P-384";
        chain.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", "chip.key"]);
        let extended = |section| ["-extfile", "extensions", "-extensions", section];
        chain.certify("ask", "/CN=SEV-Test", ("ark.pem", "ark.key"), &extended("ca"));
        chain.certify("chip", "/CN=SEV-VCEK", ("ask.pem", "ask.key"), &extended("chip"));
        chain
    }

    /// A list of the root's of revoked certificates: one of the middle, or of nobody.
    fn list(&self, name: &str, revoked: bool) {
        // Of version 2, as AMD's are: those have extensions.
        let settings = "[ca]\ndefault_ca = ca\ndatabase = index\ndefault_md = sha384\n\
                        crl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid\n";
        fs::write(self.path("settings"), settings).expect("written");
        fs::write(self.path("index"), "").expect("written");
        let ca = ["ca", "-config", "settings", "-keyfile", "ark.key", "-cert", "ark.pem"];
        if revoked {
            self.openssl(&[&ca[..], &["-revoke", "ask.pem"]].concat());
        }
        let list = ["-gencrl", "-crldays", "400", "-out", name];
        self.openssl(&[&ca[..], &PSS[1..], &list].concat());
    }

    fn certify(&self, name: &str, subject: &str, by: (&str, &str), more: &[&str]) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &request]);
        let out = format!("{name}.pem");
        let sign = ["x509", "-req", "-in", &request, "-CA", by.0, "-CAkey", by.1];
        let serial = ["-set_serial", "7", "-days", "400", "-out", &out];
        self.openssl(&[&sign[..], &PSS, &serial, more].concat());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "the chains are made by OpenSSL")]
    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl").args(arguments).current_dir(self.0.path()).output();
        let done = done.expect("openssl");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// `report` signed by the chip's key.
    fn signed(&self, mut report: Vec<u8>) -> Vec<u8> {
        let pem = fs::read_to_string(self.path("chip.key")).expect("a key");
        let key = SigningKey::from_pkcs8_pem(&pem).expect("a key on P-384");
        let signature: p384::ecdsa::Signature = key.sign(&report[..SIGNED]);
        for (number, at) in [(signature.r().to_bytes(), 0), (signature.s().to_bytes(), 72)] {
            let reversed: Vec<u8> = number.iter().rev().copied().collect();
            report[SIGNED + at..SIGNED + at + 48].copy_from_slice(&reversed);
        }
        report
    }

    /// What is said of `report` with the certificates in these files.
    fn told(&self, report: Vec<u8>, files: &[&str], now: u64) -> Signature {
        let read = |name: &&str| fs::read(self.path(name)).expect("a certificate");
        let certificates = files.iter().map(read).collect();
        let signed = Signed::Snp { report, certificates: Vec::new() };
        check(&signed, &Means { certificates, now, ..Means::default() })
    }
}

#[expect(clippy::disallowed_methods, reason = "OpenSSL's certificates are valid from now on")]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs() + 60
}

const MILAN: &[(&str, u8)] = &[("1", 3), ("2", 0), ("3", 8), ("8", 115)];
const TURIN: &[(&str, u8)] = &[("9", 1), ("1", 2), ("2", 3), ("3", 4), ("8", 200)];
const ALL: [&str; 3] = ["chip.pem", "ask.pem", "ark.pem"];

/// A report of a version with these versions as REPORTED_TCB, from a chip.
fn report(version: u8, family: u8, tcb: [u8; 8], chip: &[u8]) -> Vec<u8> {
    let mut report = vec![0; SIZE];
    report[0] = version;
    report[0x34] = 1; // ECDSA P-384 with SHA-384
    report[0x180..0x188].copy_from_slice(&tcb);
    report[0x188] = family;
    report[0x1a0..0x1a0 + chip.len()].copy_from_slice(chip);
    report
}

const MILAN_TCB: [u8; 8] = [3, 0, 0, 0, 0, 0, 8, 115];
const TURIN_TCB: [u8; 8] = [1, 2, 3, 4, 0, 0, 0, 200];

/// The one thing that is wrong with a chain made here.
fn only_the_root(found: &Signature) {
    assert_eq!(found.verdict, Verdict::Bad);
    let own = |problem: &String| {
        problem.contains("the root ARK-Test (key") && problem.contains("not AMD's")
    };
    assert!(found.problems.len() == 1 && own(&found.problems[0]), "{found}");
    assert_eq!(found.checked.len(), 6, "{found}");
    assert_eq!(found.not_checked, ["revocation: no list was given"]);
}

#[test]
fn reports_of_every_version_and_generation_hold_up_to_the_root() {
    let chip = [0xc5; 64];
    let chain = Chain::new(MILAN, &chip);
    for (version, family) in [(2, 0), (3, 0x19), (4, 0x19), (5, 0x19)] {
        let signed = chain.signed(report(version, family, MILAN_TCB, &chip));
        only_the_root(&chain.told(signed, &ALL, now()));
    }
    // From Turin on: another order of versions, and 8 bytes of chip.
    let chain = Chain::new(TURIN, &[0xc5; 8]);
    for version in [3, 5] {
        let signed = chain.signed(report(version, 0x1a, TURIN_TCB, &[0xc5; 8]));
        only_the_root(&chain.told(signed, &ALL, now()));
    }
    let older = chain.signed(report(3, 0x19, TURIN_TCB, &[0xc5; 8]));
    let found = chain.told(older, &ALL, now());
    assert!(found.problems.iter().any(|p| p.contains("the certificate is of")), "{found}");
}

#[test]
fn a_key_of_the_cloud_is_of_no_chip() {
    let chain = Chain::new(MILAN, &[1; 64]);
    let mut unsigned = report(3, 0x19, MILAN_TCB, &[0xc5; 64]);
    unsigned[0x48] = 1 << 2; // SIGNING_KEY: VLEK
    let found = chain.told(chain.signed(unsigned), &ALL, now());
    assert!(
        found.checked.iter().any(|what| what == "the report is signed by this VLEK"),
        "{found}"
    );
    assert_eq!(found.problems.len(), 1, "{found}");
    let mut masked = report(3, 0x19, MILAN_TCB, &[0; 64]);
    masked[0x48] = 2; // MASK_CHIP_KEY
    let found = chain.told(chain.signed(masked), &ALL, now());
    assert!(found.not_checked.iter().any(|what| what.starts_with("which chip it was")), "{found}");
}

#[test]
fn every_broken_link_is_told() {
    let chip = [0xc5; 64];
    let chain = Chain::new(MILAN, &chip);
    let good = chain.signed(report(3, 0x19, MILAN_TCB, &chip));
    let with = |at: usize, value: u8| {
        let mut report = report(3, 0x19, MILAN_TCB, &chip);
        report[at] = value;
        chain.signed(report)
    };
    let mut altered = good.clone();
    altered[0x90] ^= 1;
    let mut cut = good.clone();
    cut[SIGNED..SIGNED + 144].fill(0);
    let says = |report: Vec<u8>, files: &[&str], time: u64, words: &str| {
        let found = chain.told(report, files, time);
        assert!(found.problems.iter().any(|problem| problem.contains(words)), "{words}: {found}");
        assert_ne!(found.verdict, Verdict::Good);
    };
    says(altered, &ALL, now(), "the report is not signed by SEV-VCEK");
    says(cut, &ALL, now(), "no pair of numbers of P-384");
    says(with(0x180, 4), &ALL, now(), "of boot loader 3, the report of boot loader 4");
    says(with(0x187, 9), &ALL, now(), "of microcode 115, the report of microcode 9");
    says(with(0x1a0, 0), &ALL, now(), "the certificate is of chip c5c5");
    says(good.clone(), &ALL, now() + 500 * 86_400, "the certificate SEV-VCEK expired on");
    says(good.clone(), &ALL, 1_000_000_000, "SEV-VCEK holds only from");
    let unknown = chain.told(good.clone(), &[], now());
    assert_eq!((unknown.verdict, unknown.checked.len()), (Verdict::NotChecked, 0));
}

/// A chain that ends too early proves nothing, and disproves nothing either.
#[test]
fn what_is_missing_of_a_chain_is_named() {
    let chip = [0xc5; 64];
    let chain = Chain::new(MILAN, &chip);
    let signed = chain.signed(report(3, 0x19, MILAN_TCB, &chip));
    for (files, words) in [
        (&ALL[..1], "who made SEV-VCEK: the certificate of SEV-Test is not at hand"),
        (&ALL[..2], "who made SEV-Test: the certificate of ARK-Test is not at hand"),
    ] {
        let found = chain.told(signed.clone(), files, now());
        assert_eq!(found.verdict, Verdict::NotChecked, "{found}");
        assert_eq!(found.problems, Vec::<String>::new());
        assert!(found.not_checked.iter().any(|open| open.starts_with(words)), "{found}");
        assert!(found.to_string().starts_with("not checked"), "{found}");
    }
}

/// Whatever order the certificates come in, and whatever other ones lie among them.
#[test]
fn the_certificates_find_their_places() {
    let chip = [0xc5; 64];
    let (chain, other) = (Chain::new(MILAN, &chip), Chain::new(MILAN, &[1; 64]));
    let signed = chain.signed(report(3, 0x19, MILAN_TCB, &chip));
    only_the_root(&chain.told(signed.clone(), &["ark.pem", "ask.pem", "chip.pem"], now()));
    for name in ALL {
        // Of the same names, by other keys.
        fs::copy(other.path(name), chain.path(&format!("other-{name}"))).expect("copied");
    }
    let all =
        ["other-chip.pem", "other-ask.pem", "other-ark.pem", "ask.pem", "chip.pem", "ark.pem"];
    only_the_root(&chain.told(signed, &all, now()));
}

/// A certificate that may not sign others makes no chain.
#[test]
fn a_key_without_authority_vouches_for_nothing() {
    let chip = [0xc5; 64];
    let chain = Chain::new(MILAN, &chip);
    chain.certify("ask", "/CN=SEV-Test", ("ark.pem", "ark.key"), &[]);
    let found = chain.told(chain.signed(report(3, 0x19, MILAN_TCB, &chip)), &ALL, now());
    let words = "SEV-Test is no authority: it must sign nothing";
    assert!(found.problems.iter().any(|problem| problem == words), "{found}");
}

#[test]
fn a_list_of_revoked_certificates_counts() {
    let chip = [0xc5; 64];
    let chain = Chain::new(MILAN, &chip);
    let signed = chain.signed(report(3, 0x19, MILAN_TCB, &chip));
    chain.list("none.pem", false);
    chain.list("revoked.pem", true);
    let with =
        |list: &str, time: u64| chain.told(signed.clone(), &[&ALL[..], &[list]].concat(), time);
    let found = with("none.pem", now());
    let fits = "SEV-Test is not on ARK-Test's list of revoked ones of ";
    assert!(found.checked.iter().any(|what| what.starts_with(fits)), "{found}");
    assert_eq!(found.problems.len(), 1, "{found}");
    let open = "revocation of SEV-VCEK: no list of SEV-Test was given";
    assert_eq!(found.not_checked, [open]);
    let found = with("revoked.pem", now());
    assert!(found.problems.iter().any(|p| p == "SEV-Test was revoked by ARK-Test"), "{found}");
    let found = with("none.pem", now() + 500 * 86_400);
    let expired = "the list of revoked certificates of ARK-Test expired on ";
    assert!(found.problems.iter().any(|problem| problem.starts_with(expired)), "{found}");
    // A list by somebody else in the root's name is none of its.
    let other = Chain::new(MILAN, &chip);
    other.list("none.pem", false);
    fs::copy(other.path("none.pem"), chain.path("other.pem")).expect("copied");
    let found = with("other.pem", now());
    let forged = "the list of revoked certificates of ARK-Test is not signed by it";
    assert!(found.problems.iter().any(|problem| problem == forged), "{found}");
}
