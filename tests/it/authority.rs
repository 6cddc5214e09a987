//! Certificate authorities of OpenSSL, as IBM's chain has them: root, intermediate, signing key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Attributes of every name in the chain (the order is that of IBM's certificates).
fn subject(unit: &str, locality: &str) -> String {
    let ibm = "International Business Machines Corporation";
    format!("/C=US/O={ibm}/CN={ibm}/ST=New York/L={locality}/OU={unit}")
}

/// A validity, as `openssl ca` takes it.
pub(crate) type Period = (&'static str, &'static str);
/// A period in which the tests run.
pub(crate) const VALID: Period = ("20240101000000Z", "20980101000000Z");
/// A period that is over.
pub(crate) const OVER: Period = ("20200101000000Z", "20210101000000Z");

/// An issuer: its key and certificate, and what it has issued and revoked.
pub(crate) struct Authority {
    dir: PathBuf,
}

const CONFIG: &str = "
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
serial = serial
crlnumber = crlnumber
certificate = own.crt
private_key = own.key
default_md = sha512
policy = any
unique_subject = no
[any]
C = optional
O = optional
CN = optional
ST = optional
L = optional
OU = optional
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[signer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[host]
keyUsage = critical, keyAgreement
authorityKeyIdentifier = keyid
[list]
authorityKeyIdentifier = keyid
[req]
distinguished_name = any
";

#[expect(clippy::disallowed_methods, reason = "the tests compare with OpenSSL")]
pub(crate) fn openssl(dir: &Path, arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).current_dir(dir).output().expect("openssl");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {arguments:?}: {said}");
}

fn key(dir: &Path, name: &str, algorithm: &[&str]) {
    let arguments = [&["genpkey", "-out", name, "-algorithm"], algorithm].concat();
    openssl(dir, &arguments);
}

impl Authority {
    fn in_dir(dir: PathBuf, algorithm: &[&str]) -> Self {
        fs::create_dir_all(&dir).expect("a directory");
        let files =
            [("ca.cnf", CONFIG), ("index.txt", ""), ("serial", "1000"), ("crlnumber", "01")];
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("written");
        }
        key(&dir, "own.key", algorithm);
        Self { dir }
    }

    /// A root.
    pub(crate) fn root(dir: &Path) -> Self {
        let root = Self::in_dir(dir.join("root"), &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        let name = subject("Test Root", "Armonk");
        openssl(
            &root.dir,
            &[
                "req", "-config", "ca.cnf", "-new", "-key", "own.key", "-subj", &name, "-out",
                "own.csr",
            ],
        );
        root.issue_request(["own.csr", "own.crt"], "authority", VALID, &["-selfsign"]);
        root
    }

    /// A certificate with a key of its own for `unit`.
    pub(crate) fn under(&self, name: &str, unit: &str, extensions: &str, period: Period) -> Self {
        let dir = self.dir.parent().expect("a directory").join(name);
        let rsa = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
        let p384 = ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
        let own = Self::in_dir(dir, if extensions == "signer" { &rsa } else { &p384 });
        let subject = subject(unit, "Poughkeepsie");
        openssl(
            &own.dir,
            &[
                "req", "-config", "ca.cnf", "-new", "-key", "own.key", "-subj", &subject, "-out",
                "own.csr",
            ],
        );
        let (request, certificate) = (own.dir.join("own.csr"), own.dir.join("own.crt"));
        let text = |path: &Path| path.to_str().expect("UTF-8").to_string();
        self.issue_request([&text(&request), &text(&certificate)], extensions, period, &[]);
        own
    }

    /// A host-key document on `curve`.
    pub(crate) fn host(&self, name: &str, curve: &str, period: Period) -> String {
        self.host_signed(name, curve, period, &[])
    }

    /// A host-key document that is signed as the options `more` of `openssl ca` say.
    pub(crate) fn host_signed(
        &self,
        name: &str,
        curve: &str,
        period: Period,
        more: &[&str],
    ) -> String {
        let (file, curve) = (format!("{name}.key"), format!("ec_paramgen_curve:{curve}"));
        key(&self.dir, &file, &["EC", "-pkeyopt", &curve]);
        let (request, certificate) = (format!("{name}.csr"), format!("{name}.crt"));
        let subject = subject("IBM Z Host Key", "Poughkeepsie");
        openssl(
            &self.dir,
            &[
                "req", "-config", "ca.cnf", "-new", "-key", &file, "-subj", &subject, "-out",
                &request,
            ],
        );
        self.issue_request([&request, &certificate], "host", period, more);
        self.path(&certificate)
    }

    fn issue_request(
        &self,
        [request, out]: [&str; 2],
        extensions: &str,
        period: Period,
        more: &[&str],
    ) {
        let (from, until) = period;
        let arguments = [
            "ca",
            "-config",
            "ca.cnf",
            "-batch",
            "-notext",
            "-preserveDN",
            "-in",
            request,
            "-out",
            out,
            "-extensions",
            extensions,
            "-startdate",
            from,
            "-enddate",
            until,
        ];
        openssl(&self.dir, &[&arguments, more].concat());
    }

    /// Revokes what it issued.
    pub(crate) fn revoke(&self, certificate: &str) {
        openssl(&self.dir, &["ca", "-config", "ca.cnf", "-revoke", certificate]);
    }

    /// Its revocation list.
    pub(crate) fn list(&self, name: &str, period: Period) -> String {
        let (from, until) = period;
        openssl(
            &self.dir,
            &[
                "ca",
                "-config",
                "ca.cnf",
                "-gencrl",
                "-crlexts",
                "list",
                "-out",
                name,
                "-crl_lastupdate",
                from,
                "-crl_nextupdate",
                until,
            ],
        );
        self.path(name)
    }

    /// Path of its certificate.
    pub(crate) fn certificate(&self) -> String {
        self.path("own.crt")
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("UTF-8").to_string()
    }
}
