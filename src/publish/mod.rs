//! Where reference values go: one file per destination, one row each in [`DESTINATIONS`].
//!
//! A destination says of each thing whether it was there already, is there now, or was refused. What
//! it says was read back, not assumed.

mod appraise;
pub mod attest;
mod bundle;
mod dir;
mod files;
mod kata;
mod kbs;
pub mod key;
mod oci;
mod registry;
mod rvps;
pub mod sign;
pub mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::reference::{Document, Emitter, Settings};
pub use appraise::{Appraisal, Finding, appraise, check_policy};
pub use bundle::{Verdict, verify as verify_bundle};
pub use kata::{Image as KataImage, Options as Kata};
use key::Key;
use token::{Auth, Login};

/// What is published.
pub struct Content {
    /// The values.
    pub document: Document,
    /// Directory of the build, where one was given: the artifacts.
    pub artifacts: Option<PathBuf>,
    /// What forms need beside the document.
    pub settings: Settings,
    /// Forms that are published; empty for those that the destination takes by default.
    pub forms: Vec<&'static Emitter>,
    /// Key that signs.
    pub key: Option<Key>,
}

/// Where it is published.
pub struct Target {
    /// Directory, URL or address.
    pub place: String,
    /// How to prove oneself to a KBS.
    pub auth: Auth,
    /// How to prove oneself to a registry.
    pub login: Option<Login>,
    /// What a hand-over to Kata Containers needs to know.
    pub kata: Kata,
    /// PEM text of the authority that a server's certificate comes from.
    pub ca: Option<String>,
    /// Only say what would be sent.
    pub dry_run: bool,
    /// How long one request may take.
    pub patience: Duration,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was there already, the same.
    Unchanged,
    /// It was written, and read back.
    Written,
    /// It is not there, or not the same; with the reason.
    Refused(String),
    /// A dry run: what would be sent.
    Planned(String),
}

/// One thing and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name of the value or file.
    pub name: String,
    /// What became of it.
    pub state: State,
}

/// What a publication did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One entry a thing, sorted by name.
    pub entries: Vec<Entry>,
    /// Doubts that came with the forms.
    pub warnings: Vec<String>,
}

impl Report {
    /// True when everything is there.
    pub fn is_complete(&self) -> bool {
        !self.entries.iter().any(|entry| matches!(entry.state, State::Refused(_)))
    }

    fn note(&mut self, name: &str, state: State) {
        self.entries.push(Entry { name: name.to_string(), state });
    }
}

/// A kind of destination.
pub struct Destination {
    /// Name on the command line: `kbs`.
    pub name: &'static str,
    /// One line for `--help` and the docs.
    pub about: &'static str,
    /// Publishes.
    pub publish: fn(&Content, &Target) -> Result<Report>,
}

/// Every kind of destination, in the order of the docs.
pub const DESTINATIONS: &[Destination] = &[
    dir::DESTINATION,
    bundle::DESTINATION,
    kbs::DESTINATION,
    rvps::DESTINATION,
    oci::LAYOUT,
    oci::REGISTRY,
    kata::DESTINATION,
];

/// Whether `authority` (`HOST`, `HOST:PORT`) is this machine.
fn loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let v4 = host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    host == "localhost" || host == "::1" || v4
}

/// Values by name, as a verifier's store holds them.
type Values = BTreeMap<String, Value>;

/// The messages of the content's forms for RVPS, each with the values that it registers.
fn messages(content: &Content, report: &mut Report) -> Result<Vec<(Values, Vec<u8>)>> {
    use crate::reference::{emitter, names, rvps};
    let default = [emitter("rvps")?];
    let forms = if content.forms.is_empty() { &default[..] } else { &content.forms };
    let mut messages = Vec::new();
    for form in forms {
        let values: Values = match form.name {
            "rvps" => {
                let values = names::values(&content.document, &content.settings)?.content;
                values.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
            }
            "rvps-uri" => rvps::uris(&content.document, &content.settings)?.content,
            "rvps-corim" => crate::reference::corim_values(&content.document)?,
            other => {
                anyhow::bail!("RVPS takes the forms rvps, rvps-uri and rvps-corim, not {other}")
            }
        };
        let emitted = form.emit(&content.document, &content.settings)?;
        report.warnings.extend(emitted.warnings);
        messages.push((values, emitted.content));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests;
