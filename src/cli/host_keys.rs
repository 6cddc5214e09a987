//! Options by which host-key documents of IBM Secure Execution are verified, with the names that
//! `pvimg create` has.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use super::failure::Failure;
use super::measure::Files;
use super::{Session, environment};
use crate::measure::tee::se::HOST_KEY;
use crate::measure::tee::se::trust::{Material, Trust, date};

/// What vouches for host-key documents.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Host keys of Secure Execution")]
pub(super) struct HostKeys {
    /// Certificate that vouches for the host-key documents: the signing key's, an intermediate's
    #[arg(long = "cert", value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// Revocation list of an issuer; nothing is ever downloaded
    #[arg(long = "crl", value_name = "FILE")]
    lists: Vec<PathBuf>,
    /// Root certificate that is trusted, or a bundle of them
    #[arg(long = "root-ca", value_name = "FILE")]
    roots: Vec<PathBuf>,
    /// Judge validity by this date instead of today's: 2026-11-25
    #[arg(long, value_name = "DATE", value_parser = at)]
    verify_at: Option<u64>,
    /// Take host-key documents as they are
    #[arg(long, conflicts_with_all = ["certificates", "lists", "roots", "verify_at"])]
    no_verify: bool,
}

fn at(text: &str) -> Result<u64, String> {
    date(text).ok_or_else(|| "expected a date, as 2026-11-25 or 2026-11-25T12:00:00Z".to_string())
}

impl HostKeys {
    /// Checks every host-key document among `files`, or says that none is checked.
    pub(super) fn check(&self, session: &Session, files: &Files) -> Result<(), Failure> {
        let documents = files.iter().filter(|(name, _)| *name == HOST_KEY.name);
        let documents: Vec<_> = documents.map(|(_, document)| document).collect();
        if documents.is_empty() {
            return Ok(());
        }
        if self.no_verify {
            session.output.warn(
                "host-key documents were not verified: whoever made them can read the image's keys",
            );
            return Ok(());
        }
        if self.certificates.is_empty() {
            let what = "nothing vouches for the host-key documents";
            let hint = "give --cert (signing key, intermediate), --crl and --root-ca, or say \
                        --no-verify";
            return Err(Failure::usage(anyhow::anyhow!(what)).hint(hint));
        }
        let trust = self.trust()?;
        for (number, document) in (1..).zip(documents) {
            let checked = trust.check(document);
            checked.with_context(|| format!("host-key document {number}"))?;
        }
        Ok(())
    }

    fn trust(&self) -> Result<Trust, Failure> {
        let (certificates, lists) = (read(&self.certificates)?, read(&self.lists)?);
        let roots = read(&self.roots)?;
        let at = self.verify_at.unwrap_or_else(environment::now);
        let material = Material { certificates: &certificates, lists: &lists, roots: &roots, at };
        Trust::new(&material).map_err(Failure::input)
    }
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let one =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    paths.iter().map(one).collect()
}
