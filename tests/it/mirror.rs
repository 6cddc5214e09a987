//! An archive of our own: tiny packages, their index, a release signed by a key of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use guestsmith::digest::Sha256;
use guestsmith::source::debian::date::Time;

use super::keys::Key;

/// Now, by the clock: the command judges releases by it.
#[expect(clippy::disallowed_methods, reason = "the command judges releases by the clock")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// `Sat, 21 Nov 2026 09:15:44 UTC`.
fn of_release(time: u64) -> String {
    let text = Time(time).to_string();
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month: usize = text[5..7].parse().expect("a month");
    format!("Mon, {} {} {} {} UTC", &text[8..10], months[month - 1], &text[..4], &text[11..19])
}

/// A mirror in a directory.
pub(crate) struct Mirror {
    dir: tempfile::TempDir,
    /// What it signs with.
    pub(crate) key: Key,
    packages: Vec<(String, Vec<u8>)>,
}

/// How a release is made.
#[derive(Clone)]
pub(crate) struct Release<'a> {
    pub(crate) suite: &'a str,
    pub(crate) codename: &'a str,
    pub(crate) date: u64,
    pub(crate) valid_until: Option<u64>,
}

impl Default for Release<'_> {
    fn default() -> Self {
        Self { suite: "stable", codename: "own", date: now() - 3600, valid_until: None }
    }
}

impl Mirror {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, key: Key::new(now() - 86_400, None), packages: Vec::new() }
    }

    /// Where the mirror is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    /// The file of its key.
    pub(crate) fn keyring(&self) -> PathBuf {
        let path = self.dir.path().join("key.pgp");
        fs::write(&path, self.key.public()).expect("written");
        path
    }

    /// Adds a package of that version with further fields.
    pub(crate) fn package(&mut self, name: &str, version: &str, fields: &str) -> &mut Self {
        self.deb(name, version, fields, format!("package {name} {version}").into_bytes())
    }

    /// Adds a package with these contents.
    pub(crate) fn deb(
        &mut self,
        name: &str,
        version: &str,
        fields: &str,
        contents: Vec<u8>,
    ) -> &mut Self {
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\n") };
        let stanza = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}\
             Filename: pool/main/{name}_{version}.deb\nSize: {}\nSHA256: {}\n",
            contents.len(),
            Sha256::of(&contents)
        );
        self.file(&format!("pool/main/{name}_{version}.deb"), &contents);
        self.packages.push((stanza, contents));
        self
    }

    /// Writes a file of the mirror.
    pub(crate) fn file(&self, path: &str, contents: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, contents).expect("written");
    }

    /// The index of packages.
    pub(crate) fn index(&self) -> String {
        self.packages.iter().map(|(stanza, _)| stanza.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Writes `index` and a release that vouches for it.
    pub(crate) fn release_of(&self, index: &[u8], release: &Release<'_>) {
        let path = "main/binary-amd64/Packages";
        let Release { suite, codename, date, valid_until } = release;
        let until = valid_until.map(|until| format!("Valid-Until: {}\n", of_release(until)));
        let text = format!(
            "Suite: {suite}\nCodename: {codename}\nDate: {}\n{}Acquire-By-Hash: no\nSHA256:\n \
             {} {} {path}\n",
            of_release(*date),
            until.unwrap_or_default(),
            Sha256::of(index),
            index.len(),
        );
        self.file(&format!("dists/{codename}/{path}"), index);
        let signed = self.key.sign(&text, *date);
        self.file(&format!("dists/{codename}/InRelease"), signed.as_bytes());
    }

    /// Writes the index of what was added and a release that vouches for it.
    pub(crate) fn release(&self, release: &Release<'_>) {
        self.release_of(self.index().as_bytes(), release);
    }
}

/// Writes a recipe that asks for `packages` of the suite `own`.
pub(crate) fn recipe(dir: &Path, packages: &[&str]) -> PathBuf {
    let packages: String =
        packages.iter().map(|name| format!("    - deb: {{name: {name}, from: own}}\n")).collect();
    let text = format!(
        "name: guest\narch: x86_64\nepoch: 2026-11-01T00:00:00Z\n\
         sources:\n  own: {{debian: {{suites: [own]}}}}\n\
         initrd:\n  packages:\n{packages}"
    );
    let path = dir.join("guest.yaml");
    fs::write(&path, text).expect("written");
    path
}
