//! `guestsmith explain`.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::build::Build;
use super::failure::Failure;
use super::{Answer, Outcome, Session, environment};
use crate::digest::{self, Sha256};
use crate::measure::{self, Guest, id_block};
use crate::reference::compare::Registers;
use crate::reference::{Artifact, Document, Machine};
use crate::verify::evidence::{self, Evidence};
use crate::verify::explain::{self, Expectation, Other, Stated};
use crate::verify::firmware;
use crate::verify::signature::Means;

/// Say why evidence doesn't match reference values
///
/// Compares register by register. Where they differ, an event log names the first event that is
/// otherwise; without one, and with the files of the guest at hand, a search over what people get
/// wrong looks for a launch that gives just the reported value. Exit code 1 if something differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith explain --evidence report.bin out/quickstart")]
pub(super) struct Explain {
    /// Reports, quotes, event logs and certificates of one launch, recognised by content
    #[arg(long, required_unless_present = "register", value_name = "FILE", num_args = 1..)]
    evidence: Vec<PathBuf>,
    /// A register by itself, as another tool printed it: measurement=HEX
    #[arg(long, value_name = "NAME=HEX", conflicts_with = "evidence")]
    register: Vec<String>,
    /// What was expected: a recipe, the directory of a build or a bundle, or reference-values.json
    #[arg(required_unless_present = "evidence")]
    expected: Option<PathBuf>,
    /// Certificates of the report's key and its chain, and lists of revoked ones: PEM, DER, or
    /// configfs-tsm's auxblob
    #[arg(long, value_name = "FILE", help_heading = "Signature")]
    certificate: Vec<PathBuf>,
    /// Collateral of a TDX quote (QuoteCollateralV3 in JSON): revocation, TCB, quoting enclave
    #[arg(long, value_name = "FILE", help_heading = "Signature")]
    collateral: Option<PathBuf>,
    /// Time at which certificates are judged instead of now: 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", help_heading = "Signature")]
    at: Option<String>,
    /// Guest policy that was expected of SEV-SNP: names of its bits, or the number
    #[arg(long, value_name = "POLICY", help_heading = "Guest")]
    policy: Option<String>,
    /// Initdata that was expected to be bound to the launch (HOST_DATA, MRCONFIGID)
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    initdata: Option<PathBuf>,
    /// Firmware that was expected, where there is no directory of a build
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    firmware: Option<PathBuf>,
    /// Kernel that was expected, likewise
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk that was expected, likewise
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    initrd: Option<PathBuf>,
    /// Command line that was expected, likewise
    #[arg(long, value_name = "TEXT", help_heading = "Guest")]
    cmdline: Option<String>,
    /// A file that may have been used instead: firmware=FILE, kernel=FILE, initrd=FILE
    #[arg(long, value_name = "INPUT=FILE", help_heading = "Guest")]
    other: Vec<String>,
}

/// Files by what they are: `kernel`, `initrd`, `cmdline`, `firmware`, `firmware NAME`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

impl Explain {
    pub(super) fn run(mut self, session: &Session) -> Outcome {
        let mut expected = self.expected()?;
        // A recipe is built first; with its results in the store that takes no time.
        let built = match super::diff::is_recipe(&expected) {
            true => Some(tempfile::tempdir().context("no temporary directory")?),
            false => None,
        };
        if let Some(directory) = &built {
            Build::new(&expected, directory.path()).make(session)?;
            expected = directory.path().to_path_buf();
        }
        let document = document(&expected)?;
        let evidence = self.evidence(&document)?;
        let files = self.files(&expected, &document)?;
        let mut others = self.others()?;
        others.extend(other_firmware(&files));
        if evidence.log.is_none() {
            others.extend(stored_firmware(session));
        }
        let guest = |machine: &Machine| guest(&files, machine);
        let stated = self.stated_fields()?;
        let expected = Expectation { document: &document, guest: &guest, others: &others, stated };
        let explanation = explain::explain(&evidence, &expected, &self.means()?)?;
        session.output.answer(&explanation, || text::text(&explanation))?;
        Ok(if explanation.is_match() { Answer::Yes } else { Answer::No })
    }

    /// What was expected. `--evidence` takes every file up to the end, of which this is the last.
    fn expected(&mut self) -> Result<PathBuf, Failure> {
        let last = |evidence: &mut Vec<PathBuf>| match evidence.len() {
            0 | 1 => None,
            _ => evidence.pop(),
        };
        let expected = self.expected.take().or_else(|| last(&mut self.evidence));
        expected.ok_or_else(|| {
            let error = anyhow!("what the evidence is held against is missing");
            Failure::usage(error).hint("name a recipe, a build or reference-values.json at the end")
        })
    }

    fn evidence(&self, document: &Document) -> Result<Evidence, Failure> {
        if !self.register.is_empty() {
            return self.stated(document);
        }
        let mut pieces = Vec::new();
        for path in &self.evidence {
            let piece = evidence::parse(&read(path)?);
            pieces.push(piece.with_context(|| format!("cannot use {}", path.display()))?);
        }
        Ok(evidence::join(pieces, &|tee| document.of_tee(tee).next().is_some())?)
    }

    /// Registers on the command line: of the TEE of the expected machines that have them.
    fn stated(&self, document: &Document) -> Result<Evidence, Failure> {
        let one = |text: &String| -> anyhow::Result<(String, Vec<u8>)> {
            let (name, value) = text.split_once('=').context("--register takes NAME=HEX")?;
            let value =
                digest::unhex(value.trim()).with_context(|| format!("--register {name}"))?;
            Ok((name.to_string(), value))
        };
        let registers: anyhow::Result<Registers> = self.register.iter().map(one).collect();
        let registers = registers.map_err(Failure::usage)?;
        let has = |machine: &&Machine| registers.keys().all(|r| machine.registers.contains_key(r));
        let Some(machine) = document.machines.iter().find(has) else {
            let names: BTreeSet<_> =
                document.machines.iter().flat_map(|m| m.registers.keys()).collect();
            let names: Vec<_> = names.into_iter().map(String::as_str).collect();
            let error = anyhow!("no expected machine has these registers");
            let hint = format!("those of the reference values are {}", names.join(", "));
            return Err(Failure::usage(error).hint(hint));
        };
        let tee = measure::tee(&machine.tee).map_err(Failure::input)?.name;
        Ok(Evidence::stated(tee, registers))
    }

    /// What was stated of the fields beside the registers.
    fn stated_fields(&self) -> Result<Stated, Failure> {
        let policy = self.policy.as_deref().map(id_block::policy).transpose();
        let initdata = self.initdata.as_deref().map(read).transpose()?;
        Ok(Stated { policy: policy.map_err(Failure::usage)?, initdata })
    }

    fn means(&self) -> Result<Means, Failure> {
        let now = match &self.at {
            None => environment::now(),
            Some(text) => crate::recipe::epoch::seconds(text).ok_or_else(|| {
                Failure::usage(anyhow!("--at takes a time as 2026-11-01T00:00:00Z, found {text}"))
            })?,
        };
        Ok(Means {
            certificates: self.certificate.iter().map(|p| read(p)).collect::<Result<_, _>>()?,
            collateral: self.collateral.as_deref().map(read).transpose()?,
            now,
        })
    }

    fn files(&self, expected: &Path, document: &Document) -> Result<Files, Failure> {
        let mut files = Files::new();
        if expected.is_dir() {
            files = artifacts(expected, document)?;
        }
        let given = [("firmware", &self.firmware), ("kernel", &self.kernel)];
        for (name, path) in given.into_iter().chain([("initrd", &self.initrd)]) {
            if let Some(path) = path {
                files.insert(name.to_string(), read(path)?);
            }
        }
        if let Some(cmdline) = &self.cmdline {
            files.insert("cmdline".to_string(), cmdline.clone().into_bytes());
        }
        Ok(files)
    }

    fn others(&self) -> Result<Vec<Other>, Failure> {
        let one = |text: &String| {
            let (input, name) = text.split_once('=').unwrap_or(("", text));
            if !["firmware", "kernel", "initrd"].contains(&input) {
                let error = anyhow!("--other takes INPUT=FILE, found {text}");
                return Err(Failure::usage(error).hint("INPUT is firmware, kernel or initrd"));
            }
            let bytes = read(Path::new(name))?;
            Ok(Other { input: input.to_string(), name: name.to_string(), bytes })
        };
        self.other.iter().map(one).collect()
    }
}

/// The canonical document of what was expected.
pub(super) fn document(expected: &Path) -> Result<Document, Failure> {
    let path = match expected.is_dir() {
        true => expected.join("reference-values.json"),
        false => expected.to_path_buf(),
    };
    let text = String::from_utf8(read(&path)?);
    let name = path.display();
    let text = text.with_context(|| format!("{name} is not text"))?;
    let document = Document::parse(&text).with_context(|| format!("cannot read {name}"));
    document.map_err(|error| {
        Failure::input(error).hint(
            "name a recipe, reference-values.json, or the directory that `guestsmith build` or \
             `guestsmith publish --to bundle` wrote",
        )
    })
}

/// The artifacts of a build in `directory`, each the file that was measured.
pub(super) fn artifacts(directory: &Path, document: &Document) -> Result<Files, Failure> {
    let mut files = Files::new();
    for one in &document.artifacts {
        files.insert(role(&one.name), artifact(directory, one)?);
    }
    Ok(files)
}

/// The file of a build that was measured.
pub(super) fn artifact(directory: &Path, artifact: &Artifact) -> Result<Vec<u8>, Failure> {
    let bytes = read(&directory.join(&artifact.name))?;
    if Sha256::of(&bytes).to_string() != artifact.sha256 {
        let error = anyhow!(
            "{} is not the file that was measured: its SHA-256 is not that of the reference values",
            artifact.name
        );
        return Err(Failure::input(error));
    }
    Ok(bytes)
}

/// Every firmware in the store, if there is one, may have been taken for another.
fn stored_firmware(session: &Session) -> Vec<Other> {
    let Ok(root) = session.store() else { return Vec::new() };
    let images = firmware::in_store(&root).unwrap_or_default();
    let other = |(name, bytes)| Other { input: "firmware".to_string(), name, bytes };
    images.into_iter().map(other).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// What an artifact of a build is: `firmware-NAME.fd` is `firmware NAME`, `vmlinuz` is `kernel`.
pub(super) fn role(artifact: &str) -> String {
    let firmware = artifact.strip_prefix("firmware-").and_then(|name| name.strip_suffix(".fd"));
    match (artifact, firmware) {
        (_, Some(name)) => format!("firmware {name}"),
        ("vmlinuz", _) => "kernel".to_string(),
        ("initrd.img", _) => "initrd".to_string(),
        (other, _) => other.to_string(),
    }
}

pub(super) fn guest<'a>(files: &'a Files, machine: &Machine) -> Option<Guest<'a>> {
    let file = |name: &str| files.get(name).map(Vec::as_slice);
    let named = machine.firmware.as_ref().and_then(|name| file(&format!("firmware {name}")));
    let cmdline = file("cmdline").and_then(|bytes| std::str::from_utf8(bytes).ok());
    let firmware = file("firmware").or(named).or_else(|| only_firmware(files))?;
    let (kernel, initrd) = (file("kernel"), file("initrd"));
    Some(Guest { firmware: Some(firmware), kernel, initrd, cmdline, ..Guest::default() })
}

/// The firmware of a build that has one.
fn only_firmware(files: &Files) -> Option<&[u8]> {
    let mut all = files.iter().filter(|(role, _)| role.starts_with("firmware "));
    let first = all.next().map(|(_, bytes)| bytes.as_slice());
    first.filter(|_| all.next().is_none())
}

/// Every firmware of a build may have been taken for another.
fn other_firmware(files: &Files) -> Vec<Other> {
    let firmware = files.iter().filter_map(|(role, bytes)| {
        let name = role.strip_prefix("firmware ")?;
        Some(Other { input: "firmware".to_string(), name: name.to_string(), bytes: bytes.clone() })
    });
    firmware.collect()
}
