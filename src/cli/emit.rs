//! What every verb that emits reference values takes: the form, and what the form needs beside the
//! document.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::Value;

use super::failure::Failure;
use crate::reference::{EMITTERS, Settings, platform_values};

/// Options of forms.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Reference values")]
pub(super) struct Emit {
    /// JSON file of values that the host decides, by the policy's names: {"snp_bootloader": [7]}
    #[arg(long, value_name = "FILE")]
    platform: Option<PathBuf>,
    /// Release that the values belong to; the tag of reference-value URIs
    #[arg(long, value_name = "TAG")]
    release: Option<String>,
    /// Security version number that is endorsed with a launch measurement
    #[arg(long, value_name = "NUMBER")]
    svn: Option<u64>,
    /// Version of CoCo trustee that reads the form: 0.21
    #[arg(long, value_name = "VERSION")]
    trustee: Option<String>,
}

impl Emit {
    /// The settings, with the platform's values read, all of them checked.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let platform = self.platform.as_deref().map(values).transpose()?.unwrap_or_default();
        let (release, trustee) = (self.release.clone(), self.trustee.clone());
        let settings = Settings { platform, release, svn: self.svn, trustee };
        settings.check().map_err(Failure::input)?;
        Ok(settings)
    }
}

/// The JSON object of values by the policy's names at `path`.
pub(super) fn values(path: &Path) -> Result<BTreeMap<String, Value>, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let values = platform_values(&text);
    Ok(values
        .with_context(|| format!("{name} is no JSON object of values by the policy's names"))?)
}

/// Names of the forms, with `others` before them.
pub(super) fn forms(others: &[(&'static str, &'static str)]) -> PossibleValuesParser {
    let others = others.iter().map(|(name, about)| PossibleValue::new(name).help(about));
    let forms = EMITTERS.iter().map(|emitter| PossibleValue::new(emitter.name).help(emitter.about));
    others.chain(forms).collect::<Vec<_>>().into()
}
