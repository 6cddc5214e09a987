//! Signatures of enclaves, against OpenSSL.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ciborium::Value;

use crate::authority::openssl;
use crate::command::run;

fn private(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// Runs the command with `arguments`, files of `dir` where they begin with `@`.
fn in_dir(dir: &Path, arguments: &str) -> (i32, String, String) {
    let file = |word: &str| match word.strip_prefix('@') {
        Some(name) => dir.join(name).to_str().expect("UTF-8").to_string(),
        None => word.to_string(),
    };
    let words: Vec<_> = arguments.split(' ').map(file).collect();
    run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn an_sgx_signature_is_made_here_or_elsewhere_and_is_the_same() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    openssl(dir, &["genrsa", "-3", "-out", "key.pem", "3072"]);
    openssl(dir, &["genrsa", "-out", "other.pem", "3072"]);
    openssl(dir, &["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    private(&dir.join("key.pem"));
    private(&dir.join("other.pem"));
    let hash = "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc";
    let fields = format!("sigstruct --mrenclave {hash} --date 2026-11-01 --prod-id 7 --svn 3");
    let here = in_dir(dir, &format!("{fields} --key @key.pem --out @here.sig"));
    assert_eq!((here.0, here.2.as_str()), (0, ""));
    let (code, _, said) = in_dir(dir, &format!("{fields} --payload @payload"));
    assert_eq!(code, 0, "{said}");
    let payload = fs::read(dir.join("payload")).expect("a payload");
    assert_eq!(payload.len(), 256);
    assert_eq!(payload[20..24], [0x01, 0x11, 0x26, 0x20], "the date as digits, little-endian");
    openssl(dir, &["dgst", "-sha256", "-sign", "key.pem", "-out", "signature", "payload"]);
    let elsewhere = "--signature @signature --public-key @public.pem --out @there.sig";
    assert_eq!(in_dir(dir, &format!("{fields} {elsewhere}")).0, 0);
    let made = fs::read(dir.join("here.sig")).expect("a signature");
    assert_eq!(made, fs::read(dir.join("there.sig")).expect("a signature"));

    let (code, stdout, _) = in_dir(dir, "--json sigstruct --check @here.sig");
    let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, answer["mrenclave"].as_str()), (0, Some(hash)));
    assert_eq!((answer["isv_prod_id"].as_u64(), answer["isv_svn"].as_u64()), (Some(7), Some(3)));
    let debug = in_dir(dir, &format!("{fields} --debug --key @key.pem --out @debug.sig")).2;
    assert!(debug.contains("ATTRIBUTES.DEBUG is set"), "{debug}");
    for place in [20, 128, 516, 960, 1040, 1424] {
        let mut broken = made.clone();
        broken[place] ^= 1;
        fs::write(dir.join("broken.sig"), broken).expect("written");
        assert_eq!(in_dir(dir, "sigstruct --check @broken.sig").0, 1, "byte {place}");
    }
    let (code, stdout, _) =
        in_dir(dir, &format!("sigstruct --check @here.sig --mrenclave {}", "00".repeat(32)));
    assert!(code == 1 && stdout.starts_with("it is of 784acfd7"), "{stdout}");
    let said = in_dir(dir, &format!("{fields} --key @other.pem --out @no.sig"));
    assert!(said.0 == 2 && said.2.contains("exponent is 65537: SGX takes 3 alone"), "{}", said.2);
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let said = in_dir(dir, &format!("{fields} --key @key.pem --out @no.sig"));
    assert!(said.0 == 2 && said.2.contains("mode 644"), "{}", said.2);
    assert!(!dir.join("no.sig").exists());
}

#[test]
fn a_signed_enclave_image_holds_what_openssl_verifies() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    for (name, curve) in [("key", "P-384"), ("other", "P-256")] {
        let (key, curve) = (format!("{name}.pem"), format!("ec_paramgen_curve:{curve}"));
        openssl(dir, &["genpkey", "-algorithm", "EC", "-pkeyopt", &curve, "-out", &key]);
        let certificate = format!("{name}.crt");
        openssl(
            dir,
            &["req", "-new", "-x509", "-key", &key, "-subj", "/CN=enclave", "-out", &certificate],
        );
        private(&dir.join(key));
    }
    openssl(dir, &["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    for name in ["kernel", "initrd"] {
        fs::write(dir.join(name), name).expect("written");
    }
    let parts = "assemble --tee nitro --kernel @kernel --initrd @initrd --cmdline quiet";
    let signed = format!("{parts} --signing-certificate @key.crt --signing-key");
    let (code, _, said) = in_dir(dir, &format!("--json {signed} @key.pem --out @out"));
    assert_eq!((code, said.as_str()), (0, ""));
    let (code, stdout, _) = in_dir(dir, "--json measure --tee nitro --image @out/enclave.eif");
    assert_eq!(code, 0);
    let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let registers = &answer["machines"][0]["registers"];

    // The last section, behind its head of 12 bytes, begins with an array of one.
    let image = fs::read(dir.join("out/enclave.eif")).expect("an image");
    let start = image.windows(14).rposition(|w| w[..2] == [0, 4] && w[12] == 0x81 && w[13] == 0xa2);
    let section: Value =
        ciborium::from_reader(&image[start.expect("a signature") + 12..]).expect("CBOR");
    let bytes = |value: &Value| -> Vec<u8> {
        let numbers = value.as_array().expect("numbers").iter();
        numbers.map(|n| u8::try_from(n.as_integer().expect("a number")).expect("a byte")).collect()
    };
    let entry = section.as_array().expect("an array")[0].as_map().expect("a map").clone();
    assert_eq!(bytes(&entry[0].1), fs::read(dir.join("key.crt")).expect("a certificate"));
    let cose: Value = ciborium::from_reader(&bytes(&entry[1].1)[..]).expect("CBOR");
    let [protected, _, payload, signature] = &cose.as_array().expect("COSE_Sign1")[..] else {
        panic!("four parts")
    };
    let inner: Value =
        ciborium::from_reader(&payload.as_bytes().expect("bytes")[..]).expect("CBOR");
    let pcr0: String =
        bytes(&inner.as_map().expect("a map")[1].1).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(registers["pcr0"], pcr0);
    let signed_bytes = Value::Array(vec![
        "Signature1".into(),
        protected.clone(),
        Value::Bytes(Vec::new()),
        payload.clone(),
    ]);
    let mut file = Vec::new();
    ciborium::into_writer(&signed_bytes, &mut file).expect("CBOR");
    fs::write(dir.join("signed"), file).expect("written");
    let pair = p384::ecdsa::Signature::from_slice(signature.as_bytes().expect("bytes"));
    fs::write(dir.join("signature"), pair.expect("R and S").to_der()).expect("written");
    openssl(
        dir,
        &["dgst", "-sha384", "-verify", "public.pem", "-signature", "signature", "signed"],
    );
    other_keys_are_refused(dir, parts, &signed);
    changes_are_found_on_reading(dir, &image, parts);
}

/// An image whose parts or whose signature were changed, its checksum mended, is refused.
fn changes_are_found_on_reading(dir: &Path, image: &[u8], parts: &str) {
    let find = |what: &[u8]| image.windows(what.len()).position(|w| w == what).expect("found");
    let mended = |place: usize| {
        let mut image = image.to_vec();
        image[place] ^= 1;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&image[..544]);
        checksum.update(&image[548..]);
        image[544..548].copy_from_slice(&checksum.finalize().to_be_bytes());
        fs::write(dir.join("changed.eif"), image).expect("written");
        let (code, _, said) = in_dir(dir, "measure --tee nitro --image @changed.eif");
        let shown = in_dir(dir, "inspect @changed.eif").1;
        assert!(code == 2 && shown.contains("wrong: signature in the EIF"), "{said}{shown}");
        said
    };
    let said = mended(find(b"kernel"));
    assert!(said.contains("expected the PCR 0 of this image, found another PCR 0"), "{said}");
    let said = mended(image.len() - 1);
    assert!(said.contains("expected one by the key of its certificate"), "{said}");
    let shown = in_dir(dir, "inspect @out/enclave.eif").1;
    assert!(shown.contains("by the certificate"), "{shown}");
    let shown = in_dir(dir, "measure --tee nitro --image @out/enclave.eif").1;
    assert!(shown.contains("pcr8"), "{shown}");
    let signed = "--signing-certificate @other.crt --signing-key @other.pem --out @p256";
    assert_eq!(in_dir(dir, &format!("{parts} {signed}")).0, 0);
    assert_eq!(in_dir(dir, "measure --tee nitro --image @p256/enclave.eif").0, 0);
}

fn other_keys_are_refused(dir: &Path, parts: &str, signed: &str) {
    let said = in_dir(dir, &format!("{signed} @other.pem --out @no"));
    assert!(
        said.0 == 2 && said.2.contains("the signing certificate is of another key"),
        "{}",
        said.2
    );
    let said = in_dir(dir, &format!("{parts} --signing-certificate @key.crt --out @no"));
    assert!(said.0 == 2 && said.2.contains("no key that signs"), "{}", said.2);
    assert!(!dir.join("no").exists());
}
