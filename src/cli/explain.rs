//! `guestsmith explain`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::measure::Guest;
use crate::reference::compare::{Compared, Verdict};
use crate::reference::{Document, Machine};
use crate::verify::evidence::{self, Evidence};
use crate::verify::explain::{self, Expectation, Explanation, Found, LogAnswer, Other};

/// Say why evidence doesn't match reference values
///
/// Compares register by register. Where they differ, an event log names the first event that is
/// otherwise; without one, and with the files of the guest at hand, a search over what people get
/// wrong looks for a launch that gives just the reported value. Exit code 1 if something differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith explain --evidence report.bin out/")]
pub(super) struct Explain {
    /// Reports, quotes and event logs of one launch
    #[arg(long, required = true, value_name = "FILE")]
    evidence: Vec<PathBuf>,
    /// What was expected: reference-values.json, or the directory of a build
    expected: PathBuf,
    /// Firmware that was expected, where there is no directory of a build
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,
    /// Kernel that was expected, likewise
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk that was expected, likewise
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Command line that was expected, likewise
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// A file that may have been used instead: firmware=FILE, kernel=FILE, initrd=FILE
    #[arg(long, value_name = "INPUT=FILE")]
    other: Vec<String>,
}

/// Files by what they are: `kernel`, `initrd`, `cmdline`, `firmware`, `firmware NAME`.
type Files = BTreeMap<String, Vec<u8>>;

impl Explain {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let evidence = self.evidence()?;
        let document = self.document()?;
        let files = self.files(&document)?;
        let mut others = self.others()?;
        others.extend(other_firmware(&files));
        let guest = |machine: &Machine| guest(&files, machine);
        let expected = Expectation { document: &document, guest: &guest, others: &others };
        let explanation = explain::explain(&evidence, &expected)?;
        session.output.answer(&explanation, || text(&explanation))?;
        Ok(if explanation.is_match() { Answer::Yes } else { Answer::No })
    }

    fn evidence(&self) -> Result<Evidence, Failure> {
        let mut pieces = Vec::new();
        for path in &self.evidence {
            let piece = evidence::parse(&read(path)?);
            pieces.push(piece.with_context(|| format!("cannot use {}", path.display()))?);
        }
        Ok(evidence::join(pieces)?)
    }

    fn document(&self) -> Result<Document, Failure> {
        let path = match self.expected.is_dir() {
            true => self.expected.join("reference-values.json"),
            false => self.expected.clone(),
        };
        let text = String::from_utf8(read(&path)?);
        let name = path.display();
        let text = text.with_context(|| format!("{name} is not text"))?;
        let document = Document::parse(&text).with_context(|| format!("cannot read {name}"));
        document.map_err(|error| {
            Failure::input(error).hint(
                "name reference-values.json, or the directory that `guestsmith build` wrote; a \
                 recipe has to be built first",
            )
        })
    }

    fn files(&self, document: &Document) -> Result<Files, Failure> {
        let mut files = Files::new();
        if self.expected.is_dir() {
            for artifact in &document.artifacts {
                let path = self.expected.join(&artifact.name);
                files.insert(role(&artifact.name), read(&path)?);
            }
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

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

/// What an artifact of a build is: `firmware-NAME.fd` is `firmware NAME`, `vmlinuz` is `kernel`.
fn role(artifact: &str) -> String {
    let firmware = artifact.strip_prefix("firmware-").and_then(|name| name.strip_suffix(".fd"));
    match (artifact, firmware) {
        (_, Some(name)) => format!("firmware {name}"),
        ("vmlinuz", _) => "kernel".to_string(),
        ("initrd.img", _) => "initrd".to_string(),
        (other, _) => other.to_string(),
    }
}

fn guest<'a>(files: &'a Files, machine: &Machine) -> Option<Guest<'a>> {
    let file = |name: &str| files.get(name).map(Vec::as_slice);
    let named = machine.firmware.as_ref().and_then(|name| file(&format!("firmware {name}")));
    let cmdline = file("cmdline").and_then(|bytes| std::str::from_utf8(bytes).ok());
    let firmware = file("firmware").or(named)?;
    let (kernel, initrd) = (file("kernel"), file("initrd"));
    Some(Guest { firmware: Some(firmware), kernel, initrd, cmdline, ..Guest::default() })
}

/// Every firmware of a build may have been taken for another.
fn other_firmware(files: &Files) -> Vec<Other> {
    let firmware = files.iter().filter_map(|(role, bytes)| {
        let name = role.strip_prefix("firmware ")?;
        Some(Other { input: "firmware".to_string(), name: name.to_string(), bytes: bytes.clone() })
    });
    firmware.collect()
}

fn text(e: &Explanation) -> String {
    let mut lines = vec![
        format!("evidence:  {}", e.form),
        format!("signature: {}", e.signature),
        format!("closest:   {}", e.closest),
    ];
    lines.extend(e.registers.iter().flat_map(compared));
    lines.extend(e.log.iter().flat_map(from_log));
    if let Some(search) = &e.search {
        lines.extend(searched(&search.found, search.candidates));
    } else if e.registers.iter().any(|c| c.verdict == Verdict::Differ) && e.log.is_none() {
        let hint = "no cause was looked for: give the event log, or the files that were expected";
        lines.push(hint.to_string());
    }
    lines.extend(e.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

fn compared(c: &Compared) -> Vec<String> {
    let verdict = match c.verdict {
        Verdict::Match => "matches",
        Verdict::Differ => "differs",
        Verdict::NotCovered => "not covered by the reference values",
        Verdict::NotReported => "expected, but not reported",
    };
    let mut lines = vec![format!("{:<12} {verdict}", format!("{}:", c.register))];
    if c.verdict == Verdict::Differ {
        lines.extend(c.expected.iter().map(|value| format!("  expected {value}")));
        lines.extend(c.found.iter().map(|value| format!("  found    {value}")));
    }
    lines
}

fn from_log(log: &LogAnswer) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in &log.differences {
        let place = format!("{} event {}", difference.register, difference.position);
        lines.push(format!("cause: {} ({place})", difference.input));
        for (word, event) in [("expected", &difference.expected), ("found   ", &difference.found)] {
            lines.push(match event {
                Some(e) => format!("  {word} {} {:?} {}", e.kind, e.what, e.digest),
                None => format!("  {word} no such event"),
            });
        }
        let other = difference.expected_by.iter();
        lines.extend(other.map(|machine| format!("  that is what {machine} expects")));
    }
    lines.extend(log.unconfirmed.iter().map(|why| format!("the log does not explain {why}")));
    lines
}

/// Explanations that are shown of each register; more say no more.
const SHOWN: usize = 5;

fn searched(found: &[Found], candidates: usize) -> Vec<String> {
    if found.is_empty() {
        return vec![format!("cause: none of {candidates} candidates gives what was reported")];
    }
    let mut by_register: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Found { register, deviations } in found {
        let words: Vec<_> = deviations.iter().map(|d| d.what.as_str()).collect();
        by_register.entry(register).or_default().push(words.join(", and "));
    }
    let mut lines = Vec::new();
    for (register, causes) in by_register {
        let more = causes.len().saturating_sub(SHOWN);
        let shown = causes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  or ");
        lines.push(format!("cause: the {register} equals that of: {shown}"));
        if more > 0 {
            lines.push(format!("  or one of {more} others"));
        }
    }
    lines.push(format!("({candidates} candidates)"));
    lines
}
