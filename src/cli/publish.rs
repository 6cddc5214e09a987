//! `guestsmith publish`: reference values to those who verify.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::builder::PossibleValue;
use serde_json::json;

use super::emit::{Emit, forms};
use super::failure::Failure;
use super::kata::Kata;
use super::{Answer, Outcome, Session};
use crate::publish::key::Key;
use crate::publish::token::{Auth, Login};
use crate::publish::{Content, DESTINATIONS, Finding, Report, State, Target, check_policy};
use crate::reference::{self, Document};

/// Publish reference values, and read back what is held there now
///
/// Keys and tokens come from a file that only its owner can read, or from a descriptor (fd:3); never
/// from the command line or the environment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith publish out --to dir --place values
  guestsmith publish out --to kbs --place https://kbs.example:8080 --token token.jwt --ca ca.pem")]
pub(super) struct Publish {
    /// Output directory of `guestsmith build`, or reference-values.json files of one build
    #[arg(required = true, value_name = "FROM")]
    from: Vec<PathBuf>,
    /// The kind of destination
    #[arg(long, value_name = "KIND", value_parser = destinations(), required_unless_present = "check_policy")]
    to: Option<String>,
    /// The destination: a directory, a URL, or HOST:PORT
    #[arg(long, value_name = "PLACE", requires = "to")]
    place: Option<String>,
    /// Forms to publish; the destination's usual ones where none is named
    #[arg(long = "form", value_name = "FORM", value_delimiter = ',', value_parser = forms(&[]))]
    forms: Vec<String>,
    /// Key that signs: PKCS #8 PEM, Ed25519, P-256 or P-384; a file or fd:N
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Ed25519 key of a KBS administrator, for trustee up to 0.20; a file or fd:N
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    auth_key: Option<String>,
    /// Token of a KBS administrator, for trustee 0.21 and later; a file or fd:N
    #[arg(long, value_name = "FILE")]
    token: Option<String>,
    /// User and password of a registry, USER:PASSWORD; a file or fd:N
    #[arg(long, value_name = "FILE")]
    login: Option<String>,
    /// Certificate authority of the server (PEM), instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Only show what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Evaluate this attestation policy (Rego) with our values first; stop unless it affirms
    #[arg(long, value_name = "FILE")]
    check_policy: Option<PathBuf>,
    /// With --check-policy: the values that a service holds (JSON, name to value), instead of ours
    #[arg(long, value_name = "FILE", requires = "check_policy")]
    held: Option<PathBuf>,
    /// Seconds that one request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
    #[command(flatten)]
    emit: Emit,
    #[command(flatten)]
    kata: Kata,
}

fn destinations() -> clap::builder::PossibleValuesParser {
    let rows = DESTINATIONS.iter().map(|row| PossibleValue::new(row.name).help(row.about));
    rows.collect::<Vec<_>>().into()
}

impl Publish {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let content = self.content()?;
        if let Some(policy) = &self.check_policy
            && self.appraise(session, policy, &content)? == Answer::No
        {
            return Ok(Answer::No);
        }
        let row = DESTINATIONS.iter().find(|row| Some(row.name) == self.to.as_deref());
        let Some(row) = row else { return Ok(Answer::Yes) };
        let target = self.target()?;
        if session.offline() && ["kbs", "rvps", "registry"].contains(&row.name) && !self.dry_run {
            let what = anyhow!("the network may not be used (--offline)");
            return Err(Failure::usage(what).hint("--dry-run shows the requests without it"));
        }
        let report = (row.publish)(&content, &target)?;
        report.warnings.iter().for_each(|warning| session.output.warn(warning));
        session.output.answer(&report, || text(&report, &target))?;
        Ok(if report.is_complete() { Answer::Yes } else { Answer::No })
    }

    fn content(&self) -> Result<Content, Failure> {
        let documents: Vec<_> =
            self.from.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let document = Document::join(documents).map_err(Failure::input)?;
        let forms = self.forms.iter().map(|name| reference::emitter(name));
        Ok(Content {
            document,
            artifacts: self.from.iter().find(|path| path.is_dir()).cloned(),
            settings: self.emit.settings()?,
            forms: forms.collect::<Result<_, _>>().map_err(Failure::usage)?,
            key: self.key.as_deref().map(Key::load).transpose()?,
        })
    }

    fn target(&self) -> Result<Target, Failure> {
        let auth = match (&self.auth_key, &self.token) {
            (Some(place), _) => Auth::Key(Key::load(place)?),
            (None, Some(place)) => Auth::bearer(place)?,
            (None, None) => Auth::None,
        };
        let read = |path: &PathBuf| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let place = self.place.clone();
        Ok(Target {
            place: place.ok_or_else(|| Failure::usage(anyhow!("--to needs --place")))?,
            auth,
            login: self.login.as_deref().map(Login::load).transpose()?,
            kata: self.kata.options(),
            ca: self.ca.as_ref().map(read).transpose()?,
            dry_run: self.dry_run,
            patience: Duration::from_secs(self.patience.max(1)),
        })
    }

    fn appraise(&self, session: &Session, policy: &Path, content: &Content) -> Outcome {
        let name = policy.display();
        let text = fs::read_to_string(policy).with_context(|| format!("cannot read {name}"))?;
        let held = self.held.as_deref().map(super::emit::values).transpose()?;
        let (document, settings) = (&content.document, &content.settings);
        let findings = check_policy(&text, document, settings, held.as_ref())
            .with_context(|| format!("cannot evaluate {name}"))?;
        if findings.is_empty() {
            let why = "no machine reports claims that the policies know, or its platform's values \
                       were not supplied";
            return Err(Failure::input(anyhow!("nothing to appraise: {why}")));
        }
        let good = findings.iter().all(|finding| finding.affirming && finding.problems.is_empty());
        if self.to.is_none() {
            session.output.answer(&json!({"appraisals": findings}), || appraisals(&findings))?;
        } else {
            session.output.note(&appraisals(&findings));
        }
        Ok(if good { Answer::Yes } else { Answer::No })
    }
}

/// The document at `path`, or in the directory of that name.
pub(super) fn read(path: &Path) -> Result<Document, Failure> {
    let file = if path.is_dir() { path.join("reference-values.json") } else { path.to_path_buf() };
    let name = file.display();
    let document = || {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        if text.is_empty() {
            bail!("{name} is empty");
        }
        Document::parse(&text).with_context(|| name.to_string())
    };
    Ok(document()?)
}

fn text(report: &Report, target: &Target) -> String {
    let mut lines = Vec::new();
    for entry in &report.entries {
        let name = &entry.name;
        lines.push(match &entry.state {
            State::Unchanged => format!("unchanged  {name}"),
            State::Written => format!("written    {name}"),
            State::Refused(why) => format!("NOT THERE  {name}: {why}"),
            State::Planned(request) => format!("would send {name}\n{request}"),
        });
    }
    let count =
        |state: fn(&State) -> bool| report.entries.iter().filter(|e| state(&e.state)).count();
    let unchanged = count(|state| matches!(state, State::Unchanged));
    let written = count(|state| matches!(state, State::Written));
    lines.push(match (target.dry_run, unchanged == report.entries.len()) {
        (true, false) => "nothing was sent (--dry-run)".to_string(),
        (_, true) => format!("{} holds all of it already: nothing to do", target.place),
        (false, false) => {
            let missing = report.entries.len() - unchanged - written;
            let place = &target.place;
            format!("{place}: {written} written, {unchanged} unchanged, {missing} not there")
        }
    });
    lines.join("\n")
}

fn appraisals(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        let verdict = if finding.affirming { "affirming" } else { "NOT affirming" };
        let claims = finding.appraisal;
        lines.push(format!(
            "{verdict}: {} as {}: executables {}, hardware {}, configuration {}",
            finding.machine, finding.tee, claims.executables, claims.hardware, claims.configuration
        ));
        lines.extend(finding.problems.iter().map(|problem| format!("  {problem}")));
    }
    lines.join("\n")
}
