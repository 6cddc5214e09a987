//! Host-key documents of Secure Execution, judged by chains that OpenSSL makes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::authority::{Authority, OVER, VALID};
use crate::command::run;

const SIGNER: &str = "IBM Z Host Key Signing Service";

/// The chain, its lists, and the files that an image is made of.
struct Fixture {
    dir: tempfile::TempDir,
    root: Authority,
    intermediate: Authority,
    signer: Authority,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = Authority::root(dir.path());
        let intermediate = root.under("intermediate", "Test Intermediate", "authority", VALID);
        let signer = intermediate.under("signer", SIGNER, "signer", VALID);
        let mut kernel = vec![0; 0x1_1000];
        kernel[0x1_0008..0x1_000e].copy_from_slice(b"S390EP");
        let seed = dir.path().join("seed");
        let files =
            [("kernel", kernel), ("stage3a", vec![1; 0x1000]), ("stage3b", vec![2; 0x1000])];
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).expect("written");
        }
        fs::write(&seed, [7; 32]).expect("written");
        fs::set_permissions(&seed, fs::Permissions::from_mode(0o600)).expect("a mode");
        Self { dir, root, intermediate, signer }
    }

    /// The lists of all three.
    fn lists(&self) -> [String; 3] {
        let all = [&self.root, &self.intermediate, &self.signer];
        all.map(|authority| authority.list("good.crl", VALID))
    }

    /// Measures an image for `host`, with `lists` and whatever `more` says.
    fn measure(
        &self,
        host: &str,
        signer: &str,
        lists: &[String],
        more: &[&str],
    ) -> Result<String, String> {
        let path =
            |name: &str| Path::join(self.dir.path(), name).to_str().expect("UTF-8").to_string();
        let files = [
            ("--kernel", "kernel"),
            ("--stage3a", "stage3a"),
            ("--stage3b", "stage3b"),
            ("--key-seed", "seed"),
        ];
        let files = files.map(|(option, name)| [option.to_string(), path(name)]);
        let given = [
            ["--host-key".to_string(), host.to_string()],
            ["--cert".to_string(), signer.to_string()],
            ["--cert".to_string(), self.intermediate.certificate()],
            ["--root-ca".to_string(), self.root.certificate()],
        ];
        let lists = lists.iter().map(|list| ["--crl".to_string(), list.clone()]);
        let all: Vec<_> = files.into_iter().chain(given).chain(lists).flatten().collect();
        let mut arguments = vec!["measure", "--tee", "se"];
        arguments.extend(all.iter().map(String::as_str));
        arguments.extend(more);
        match run(&arguments) {
            (0, stdout, _) => Ok(stdout),
            (2, _, stderr) => Err(stderr),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, host: &str, lists: &[String], more: &[&str]) -> String {
        self.measure(host, &self.signer.certificate(), lists, more).expect_err("refused")
    }
}

#[test]
fn documents_are_taken_and_refused_as_their_chain_says() {
    let fixture = Fixture::new();
    let lists = fixture.lists();
    let good = fixture.signer.host("good", "P-521", VALID);
    let signer = fixture.signer.certificate();
    let taken = fixture.measure(&good, &signer, &lists, &[]).expect("good");
    assert!(taken.contains("image_phkh"), "{taken}");

    let curve = fixture.signer.host("curve", "P-384", VALID);
    let said = fixture.refusal(&curve, &lists, &[]);
    assert!(
        said.contains("expected an elliptic-curve key on P-521 (secp521r1), found P-384"),
        "{said}"
    );

    let over = fixture.signer.host("over", "P-521", OVER);
    let said = fixture.refusal(&over, &lists, &[]);
    assert!(said.contains("it has expired: it was valid until 2021-01-01T00:00:00Z"), "{said}");
    let early = fixture.refusal(&good, &lists, &["--verify-at", "2023-06-01"]);
    assert!(early.contains("it is valid only from 2024-01-01T00:00:00Z on"), "{early}");

    let stranger = fixture.root.under("stranger", "Some Other Service", "signer", VALID);
    let foreign = stranger.host("foreign", "P-521", VALID);
    let said = fixture.refusal(&foreign, &lists, &[]);
    assert!(
        said.contains("its issuer is «Some Other Service, Poughkeepsie», the signing key is"),
        "{said}"
    );
}

#[test]
fn documents_signed_by_rsassa_pss_are_judged_too() {
    let fixture = Fixture::new();
    let (lists, signer) = (fixture.lists(), fixture.signer.certificate());
    let pss = |name: &str, hash: &str, salt: &str| {
        let [mask, salt] = [format!("rsa_mgf1_md:{hash}"), format!("rsa_pss_saltlen:{salt}")];
        let padding = ["-md", hash, "-sigopt", "rsa_padding_mode:pss"];
        let more = [&padding[..], &["-sigopt", &mask, "-sigopt", &salt]].concat();
        fixture.signer.host_signed(name, "P-521", VALID, &more)
    };
    for (hash, salt) in [("sha256", "32"), ("sha384", "20"), ("sha512", "64"), ("sha512", "0")] {
        let host = pss(&format!("{hash}-{salt}"), hash, salt);
        let taken = fixture.measure(&host, &signer, &lists, &[]);
        assert!(taken.is_ok(), "{hash}, {salt} bytes of salt: {taken:?}");
        let text = fs::read_to_string(&host).expect("a certificate");
        // The end of the base64 text is that of the signature.
        let place = text.find("\n-----END").expect("an end") - 20;
        let other = if &text[place..=place] == "A" { "B" } else { "A" };
        let broken = format!("{}{other}{}", &text[..place], &text[place + 1..]);
        fs::write(&host, broken).expect("written");
        let said = fixture.refusal(&host, &lists, &[]);
        assert!(said.contains("its signature is wrong"), "{said}");
    }
    let weak = pss("sha1", "sha1", "20");
    let said = fixture.refusal(&weak, &lists, &[]);
    assert!(said.contains("its RSASSA-PSS is not that of SHA-256"), "{said}");
}

#[test]
fn what_is_revoked_or_cannot_be_looked_up_is_refused() {
    let fixture = Fixture::new();
    let signer = fixture.signer.certificate();
    let [root, intermediate, clean] = fixture.lists();
    let host = fixture.signer.host("host", "P-521", VALID);
    let said = fixture.refusal(&host, &[root.clone(), intermediate.clone()], &[]);
    assert!(
        said.contains("no usable revocation list: the host-key document could be revoked"),
        "{said}"
    );
    let said = fixture.refusal(&host, &[intermediate.clone(), clean.clone()], &[]);
    assert!(said.contains("could be revoked by «Test Root, Armonk»: none was given"), "{said}");

    let old = fixture.signer.list("old.crl", OVER);
    let said = fixture.refusal(&host, &[root.clone(), intermediate.clone(), old], &[]);
    assert!(said.contains("the revocation list is not to be trusted: it has expired"), "{said}");

    // The same name, another key: its list is signed, and not by the signing key.
    let twin = fixture.intermediate.under("twin", SIGNER, "signer", VALID);
    let forged = twin.list("forged.crl", VALID);
    let said = fixture.refusal(&host, &[root.clone(), intermediate.clone(), forged], &[]);
    assert!(said.contains("it names another key of"), "{said}");
    let text = fs::read_to_string(&clean).expect("a list");
    let broken_at = fixture.dir.path().join("broken.crl");
    let (head, tail) = text.split_at(text.len() - 80);
    let flipped = tail.replacen(|c: char| c.is_ascii_lowercase(), "Q", 1);
    fs::write(&broken_at, format!("{head}{flipped}")).expect("written");
    let broken_list = broken_at.to_str().expect("UTF-8").to_string();
    let said = fixture.refusal(&host, &[root.clone(), intermediate.clone(), broken_list], &[]);
    assert!(said.contains("its signature is wrong"), "{said}");

    fixture.signer.revoke(&host);
    let revoked = fixture.signer.list("revoked.crl", VALID);
    let said = fixture.refusal(&host, &[root.clone(), intermediate, revoked], &[]);
    assert!(
        said.contains("it is revoked by «IBM Z Host Key Signing Service, Poughkeepsie»"),
        "{said}"
    );

    fixture.intermediate.revoke(&signer);
    let revoked = fixture.intermediate.list("revoked.crl", VALID);
    let said = fixture.refusal(&host, &[root, revoked, clean], &[]);
    assert!(said.contains("it is revoked by «Test Intermediate, Poughkeepsie»"), "{said}");
}

#[test]
fn without_a_chain_nothing_is_taken_silently() {
    let fixture = Fixture::new();
    let host = fixture.signer.host("host", "P-521", VALID);
    let lists = fixture.lists();
    let said =
        fixture.measure(&host, &fixture.root.certificate(), &lists, &[]).expect_err("refused");
    assert!(said.contains("has the name of an IBM Z host-key signing key"), "{said}");
    let path = |name: &str| fixture.dir.path().join(name).to_str().expect("UTF-8").to_string();
    let (kernel, stage3a) = (path("kernel"), path("stage3a"));
    let (stage3b, seed) = (path("stage3b"), path("seed"));
    let mut arguments = vec!["measure", "--tee", "se", "--kernel", &kernel, "--stage3a", &stage3a];
    arguments.extend(["--stage3b", &stage3b, "--key-seed", &seed, "--host-key", &host]);
    let (code, _, said) = run(&arguments);
    assert_eq!(code, 2);
    assert!(said.contains("nothing vouches for the host-key documents"), "{said}");
    arguments.push("--no-verify");
    let (code, _, said) = run(&arguments);
    assert_eq!(code, 0);
    assert!(said.contains("host-key documents were not verified"), "{said}");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o644)).expect("a mode");
    let (code, _, said) = run(&arguments);
    assert_eq!(code, 2);
    assert!(said.contains("can be used by everybody (mode 644)"), "{said}");
}

/// Every secret that may stand in a file of its own, in what `assemble`, `measure` and `inspect` print,
/// log and write, when they succeed and when they fail.
#[test]
fn no_secret_of_an_image_is_in_an_output_an_error_or_an_artifact() {
    let fixture = Fixture::new();
    let host = fixture.signer.host("host", "P-521", VALID);
    let dir = fixture.dir.path();
    let path = |name: &str| dir.join(name).to_str().expect("UTF-8").to_string();
    let secrets: Vec<(&str, Vec<u8>)> =
        [("seed", 32), ("hdr-key", 32), ("cck", 32), ("image-key", 64)]
            .into_iter()
            .map(|(name, size)| {
                let bytes: Vec<u8> =
                    (0..size).map(|i: u8| i.wrapping_mul(37) ^ name.as_bytes()[0]).collect();
                fs::write(dir.join(name), &bytes).expect("written");
                fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600))
                    .expect("a mode");
                (name, bytes)
            })
            .collect();
    fs::write(dir.join("not-a-kernel"), b"\x7fELF not a raw kernel").expect("written");
    let common = |kernel: &str| {
        let words = format!(
            "--tee se --no-verify --host-key {host} --kernel {} --stage3a {} --stage3b {} --key-seed {} \
             --hdr-key {} --cck {} --image-key {} --cmdline quiet",
            path(kernel),
            path("stage3a"),
            path("stage3b"),
            path("seed"),
            path("hdr-key"),
            path("cck"),
            path("image-key"),
        );
        words.split_whitespace().map(str::to_string).collect::<Vec<_>>()
    };
    let mut said = String::new();
    let mut runs = |verb: &str, more: Vec<String>, status: i32| {
        let words: Vec<_> =
            ["-v", "--json", verb].map(str::to_string).into_iter().chain(more).collect();
        let (code, stdout, stderr) = run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(code, status, "{words:?}: {stderr}");
        said.extend([stdout, stderr]);
    };
    let out = path("out");
    runs("assemble", [common("kernel"), vec!["--out".into(), out.clone()]].concat(), 0);
    runs("measure", common("kernel"), 0);
    runs("assemble", [common("not-a-kernel"), vec!["--out".into(), path("no")]].concat(), 2);
    runs("measure", common("not-a-kernel"), 2);
    let image = path("out/se.img");
    let key = |name: &str| vec![image.clone(), "--hdr-key".into(), path(name)];
    runs("inspect", key("hdr-key"), 0);
    runs("inspect", key("cck"), 2);
    runs("inspect", key("image-key"), 2);
    let mut places = vec![said.into_bytes()];
    let files = ["se.img", "hdr.bin", "image_phkh", "attestation_phkh", "tag", "pld", "ald", "tld"];
    places.extend(files.map(|name| fs::read(dir.join("out").join(name)).expect(name)));
    for (name, secret) in secrets {
        let hex = guestsmith::digest::hex(&secret).into_bytes();
        let base64 = guestsmith::digest::base64(&secret).into_bytes();
        // Half of it would be as bad.
        for form in [&secret[..16], &hex[..32], &hex.to_ascii_uppercase()[..32], &base64[..20]] {
            let leaks = |place: &Vec<u8>| place.windows(form.len()).any(|window| window == form);
            assert!(!places.iter().any(leaks), "{name} is to be seen");
        }
    }
}
