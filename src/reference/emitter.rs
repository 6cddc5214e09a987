//! The table of forms that reference values are emitted in: one file each, one row each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

/// What an emitter takes beside the document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Values that the host decides, by the default policy's names: the state of its firmware,
    /// `xfam`, trusted keys. Nobody can compute them from a recipe.
    pub platform: BTreeMap<String, Value>,
    /// Release that the values belong to: the tag of reference-value URIs.
    pub release: Option<String>,
    /// Security version number that is endorsed with a launch measurement.
    pub svn: Option<u64>,
    /// Version of CoCo trustee that reads the form: `0.21`.
    pub trustee: Option<String>,
}

impl Settings {
    /// Checks what was stated: a form that needs it could not be made otherwise.
    ///
    /// # Errors
    /// The first value that is none of its kind.
    pub fn check(&self) -> Result<()> {
        names::supplied(&self.platform)?;
        self.release.as_deref().map_or(Ok(""), |release| rvps::tag(Some(release)))?;
        self.trustee.as_deref().map_or(Ok(()), |version| configmap::check_version(Some(version)))
    }
}

/// What was emitted, with the doubts that a person should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted<T = Vec<u8>> {
    /// The form itself.
    pub content: T,
    /// Doubts: what was left out, and why.
    pub warnings: Vec<String>,
}

impl<T> Emitted<T> {
    /// `content`, without a doubt.
    pub fn sure(content: T) -> Self {
        Self { content, warnings: Vec::new() }
    }

    /// The same doubts about something made from the content.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Emitted<U> {
        Emitted { content: make(self.content), warnings: self.warnings }
    }
}

/// A form of reference values.
pub struct Emitter {
    /// Name on the command line: `rvps`.
    pub name: &'static str,
    /// One line for `--help` and the docs.
    pub about: &'static str,
    /// Name of the file in a directory or bundle.
    pub file: &'static str,
    /// Media type, for registries.
    pub media_type: &'static str,
    /// Makes the form of a canonical document.
    pub(super) make: fn(&Document, &Settings) -> Result<Emitted>,
}

impl Emitter {
    /// The form of `document`: equal documents give equal bytes, whatever order their parts came in.
    ///
    /// # Errors
    /// The document does not check, or cannot be said in this form; the message says why.
    pub fn emit(&self, document: &Document, settings: &Settings) -> Result<Emitted> {
        let document = document.canonical()?;
        let mut emitted = (self.make)(&document, settings)?;
        emitted.warnings.extend(document.machines.iter().flat_map(Machine::undecided));
        Ok(emitted)
    }
}

/// Every form, in the order of the docs.
pub const EMITTERS: &[Emitter] = &[
    json::EMITTER,
    rvps::EMITTER,
    rvps::VALUES,
    rvps::URIS,
    corim::EMITTER,
    corim::RVPS,
    launch::EMITTER,
    policy::EMITTER,
    intoto::EMITTER,
    spdx::EMITTER,
    cyclonedx::EMITTER,
    cca::EMITTER,
    cca_corim::EMITTER,
    configmap::EMITTER,
    table::EMITTER,
    html::EMITTER,
];

/// The form called `name`.
///
/// # Errors
/// No row has that name; the message lists those that exist.
pub fn emitter(name: &str) -> Result<&'static Emitter> {
    EMITTERS.iter().find(|emitter| emitter.name == name).ok_or_else(|| {
        let known: Vec<_> = EMITTERS.iter().map(|emitter| emitter.name).collect();
        let expected = format!("one of {}", known.join(", "));
        Error::Value { what: "the form".to_string(), expected, found: format!("`{name}`") }
    })
}

/// JSON with two spaces of indent and a line end.
pub(super) fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value).map(|text| text + "\n");
    text.map(String::into_bytes).map_err(|error| Error::Text(error.to_string()))
}
