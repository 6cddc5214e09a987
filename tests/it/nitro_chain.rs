//! Signatures of Nitro documents, by a chain that OpenSSL makes: good but for its root, and broken.

use std::fs;
use std::process::Command;

use ciborium::Value;
use guestsmith::verify::signature::{Means, Signature, Signed, Verdict, check};
use p384::ecdsa::SigningKey;
use p384::ecdsa::signature::Signer as _;
use p384::pkcs8::DecodePrivateKey as _;

/// The enclave's certificate, and those above it, the root first: DER.
struct Chain {
    key: SigningKey,
    leaf: Vec<u8>,
    above: Vec<Vec<u8>>,
}

#[expect(clippy::disallowed_methods, reason = "the chains are made by OpenSSL")]
fn openssl(directory: &std::path::Path, arguments: &str) {
    let words = arguments.split(' ');
    let done = Command::new("openssl").args(words).current_dir(directory).output();
    let done = done.expect("openssl");
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Chain {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let run = |arguments: &str| openssl(directory.path(), arguments);
        for name in ["root", "zone", "leaf"] {
            let curve = "-pkeyopt ec_paramgen_curve:P-384";
            run(&format!("genpkey -algorithm EC {curve} -out {name}.key"));
        }
        let out = |name: &str| format!("-sha384 -days 400 -outform DER -out {name}.der");
        run(&format!("req -x509 -new -key root.key -subj /CN=test.enclaves {}", out("root")));
        for (name, issuer) in [("zone", "root"), ("leaf", "zone")] {
            run(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
            let authority = if name == "zone" { "basicConstraints=CA:TRUE" } else { "" };
            fs::write(directory.path().join("extensions"), authority).expect("written");
            let by = format!("-CAform DER -CA {issuer}.der -CAkey {issuer}.key -set_serial 7");
            let by = format!("{by} -extfile extensions");
            run(&format!("x509 -req -in {name}.csr {by} {}", out(name)));
        }
        let read = |name: &str| fs::read(directory.path().join(name)).expect("a file");
        let pem = String::from_utf8(read("leaf.key")).expect("PEM");
        let key = SigningKey::from_pkcs8_pem(&pem).expect("a key on P-384");
        Self { key, leaf: read("leaf.der"), above: vec![read("root.der"), read("zone.der")] }
    }

    /// A document as the security module of an enclave writes it.
    fn document(&self, above: &[Vec<u8>]) -> Vec<u8> {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let fields = [
            ("module_id", "i-test".into()),
            ("digest", "SHA384".into()),
            ("timestamp", Value::from(1_795_000_000_000_u64)),
            ("pcrs", Value::Map(vec![(Value::from(0), bytes(&[7; 48]))])),
            ("certificate", bytes(&self.leaf)),
            ("cabundle", Value::Array(above.iter().map(|der| bytes(der)).collect())),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let encode = |value: &Value| {
            let mut out = Vec::new();
            ciborium::into_writer(value, &mut out).expect("memory");
            out
        };
        let payload = bytes(&encode(&Value::Map(fields)));
        let protected = bytes(&encode(&Value::Map(vec![(1.into(), (-35).into())])));
        let covered = ["Signature1".into(), protected.clone(), bytes(&[]), payload.clone()];
        let signature: p384::ecdsa::Signature =
            self.key.sign(&encode(&Value::Array(covered.to_vec())));
        let signature = bytes(&signature.to_bytes());
        encode(&Value::Array(vec![protected, Value::Map(Vec::new()), payload, signature]))
    }
}

#[expect(clippy::disallowed_methods, reason = "OpenSSL's certificates are valid from now on")]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs() + 60
}

fn told(document: Vec<u8>, now: u64) -> Signature {
    check(&Signed::Nitro(document), &Means { now, ..Means::default() })
}

#[test]
fn a_document_holds_up_to_a_root_that_is_not_that_of_aws() {
    let chain = Chain::new();
    let found = told(chain.document(&chain.above), now());
    assert_eq!(found.checked.len(), 3, "{found}");
    assert_eq!(found.checked[0], "the document is signed by the enclave's certificate");
    assert_eq!(found.problems, ["the root test.enclaves is not AWS's"]);
    assert_eq!(found.verdict, Verdict::Bad);
}

#[test]
fn a_broken_document_or_link_is_told() {
    let chain = Chain::new();
    let good = chain.document(&chain.above);
    let says = |document: Vec<u8>, time: u64, words: &str| {
        let found = told(document, time);
        assert!(found.problems.iter().any(|problem| problem.contains(words)), "{words}: {found}");
        assert_ne!(found.verdict, Verdict::Good);
    };
    let mut altered = good.clone();
    let pcr = altered.windows(48).position(|window| window == [7; 48]).expect("the PCR");
    altered[pcr] = 8;
    says(altered, now(), "the document is not signed by leaf");
    says(chain.document(&chain.above[..1]), now(), "leaf is not signed by test.enclaves");
    says(good.clone(), now() + 500 * 86_400, "the certificate leaf expired on");
    says(good.clone(), 1_000_000_000, "the certificate leaf holds only from");
    let cut = told(good[..good.len() / 2].to_vec(), now());
    assert_eq!(cut.verdict, Verdict::Bad, "{cut}");
}
