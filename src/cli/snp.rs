//! What `guestsmith measure` offers for SEV-SNP alone: firmware by its digest, and the VMSAs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::failure::Failure;
use crate::digest::Sha384;
use crate::measure::ovmf::{self, Precomputed};
use crate::measure::tee::snp;
use crate::measure::{Guest, Machine};
use crate::reference::firmware;

/// Flags of SEV-SNP alone.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "SEV-SNP")]
pub(super) struct Snp {
    /// JSON that --dump-metadata wrote, in place of --firmware
    #[arg(long, value_name = "FILE")]
    firmware_metadata: Option<PathBuf>,
    /// Digest of the firmware that --firmware-metadata must have
    #[arg(long, value_name = "HEX", requires = "firmware_metadata")]
    firmware_digest: Option<Sha384>,
    /// Write digest and metadata of the firmware as JSON
    #[arg(long, value_name = "FILE")]
    dump_metadata: Option<PathBuf>,
    /// Write the VMSAs of the first machine: vmsa-first.bin and vmsa-other.bin
    #[arg(long, value_name = "DIR")]
    dump_vmsa: Option<PathBuf>,
}

impl Snp {
    /// The firmware by its digest, if one was given.
    pub(super) fn precomputed(&self) -> Result<Option<Precomputed>, Failure> {
        let Some(path) = &self.firmware_metadata else { return Ok(None) };
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let known = firmware::parse(&text).with_context(|| format!("cannot use {name}"))?;
        match self.firmware_digest {
            Some(wanted) if wanted != known.digest => {
                let what = anyhow!("{name} is for the firmware {}, not {wanted}", known.digest);
                Err(Failure::input(what))
            }
            _ => Ok(Some(known)),
        }
    }

    /// Writes what was asked for.
    pub(super) fn dump(&self, guest: &Guest<'_>, machine: Option<&Machine>) -> Result<(), Failure> {
        if let Some(path) = &self.dump_metadata {
            let image = ovmf::image(snp::TEE.name, guest).map_err(Failure::input)?;
            let metadata = ovmf::metadata(image).map_err(Failure::input)?;
            let known = Precomputed { digest: snp::firmware_digest(image), metadata };
            write(path, firmware::to_text(&known).map_err(Failure::internal)?.as_bytes())?;
        }
        if let (Some(dir), Some(machine)) = (&self.dump_vmsa, machine) {
            let [first, other] = snp::vmsas(guest, machine).map_err(Failure::input)?;
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            write(&dir.join("vmsa-first.bin"), &first)?;
            write(&dir.join("vmsa-other.bin"), &other)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
