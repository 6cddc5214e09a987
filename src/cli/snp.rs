//! What `guestsmith measure` offers for the AMD family alone: firmware by its digest, and the VMSAs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::Session;
use super::failure::Failure;
use crate::digest::Sha384;
use crate::measure::ovmf::{self, Precomputed};
use crate::measure::tee::{sev_es, snp};
use crate::measure::{self, Guest, Machine, Tee};
use crate::reference::firmware;

/// Flags of the AMD family alone.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "SEV-SNP")]
pub(super) struct Snp {
    /// JSON that --dump-metadata wrote, in place of --firmware
    #[arg(long, value_name = "FILE", conflicts_with = "firmware")]
    firmware_metadata: Option<PathBuf>,
    /// Digest of the firmware: that of --firmware-metadata is checked, that of --firmware replaced
    #[arg(long, value_name = "HEX")]
    firmware_digest: Option<Sha384>,
    /// Write digest and metadata of the firmware as JSON
    #[arg(long, value_name = "FILE")]
    dump_metadata: Option<PathBuf>,
    /// Write the VMSA of every vCPU of the first machine, SEV-ES too: vmsa0.bin, vmsa1.bin, …
    #[arg(long, value_name = "DIR")]
    dump_vmsa: Option<PathBuf>,
}

impl Snp {
    /// Whether any was given.
    pub(super) fn is_any(&self) -> bool {
        let files = [&self.firmware_metadata, &self.dump_metadata, &self.dump_vmsa];
        self.firmware_digest.is_some() || files.iter().any(|given| given.is_some())
    }

    /// Refuses flags that mean nothing to `tee`.
    pub(super) fn check(&self, tee: &Tee) -> Result<(), Failure> {
        let snp = tee.name == snp::TEE.name;
        let vmsa = snp || tee.name == sev_es::TEE.name;
        for (flag, given, known) in [
            ("--firmware-metadata", self.firmware_metadata.is_some(), snp),
            ("--firmware-digest", self.firmware_digest.is_some(), snp),
            ("--dump-metadata", self.dump_metadata.is_some(), snp),
            ("--dump-vmsa", self.dump_vmsa.is_some(), vmsa),
        ] {
            if given && !known {
                return Err(Failure::usage(anyhow!("{} knows no {flag}", tee.name)));
            }
        }
        Ok(())
    }

    /// The firmware by its digest, if one was given.
    pub(super) fn precomputed(
        &self,
        session: &Session,
        guest: &Guest<'_>,
    ) -> Result<Option<Precomputed>, Failure> {
        match (&self.firmware_metadata, self.firmware_digest) {
            (Some(path), wanted) => from_metadata(path, wanted).map(Some),
            (None, Some(digest)) => from_image(session, guest, digest).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Writes what was asked for.
    pub(super) fn dump(
        &self,
        tee: &Tee,
        guest: &Guest<'_>,
        machine: Option<&Machine>,
    ) -> Result<(), Failure> {
        let metadata = self.dump_metadata.as_ref().map(|_| metadata_text(guest)).transpose()?;
        let wanted = machine.filter(|_| self.dump_vmsa.is_some());
        let vmsas = wanted.map(|machine| vmsas(tee, guest, machine)).transpose();
        let vmsas = vmsas.map_err(Failure::input)?;
        if let (Some(path), Some(text)) = (&self.dump_metadata, metadata) {
            write(path, text.as_bytes())?;
        }
        if let (Some(dir), Some(vmsas)) = (&self.dump_vmsa, vmsas) {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            for (vcpu, vmsa) in vmsas.iter().enumerate() {
                write(&dir.join(format!("vmsa{vcpu}.bin")), vmsa)?;
            }
        }
        Ok(())
    }
}

/// Digest and metadata of the firmware as JSON.
fn metadata_text(guest: &Guest<'_>) -> Result<String, Failure> {
    let image = ovmf::image(snp::TEE.name, guest).map_err(Failure::input)?;
    let metadata = ovmf::metadata(image).map_err(Failure::input)?;
    let known = Precomputed { digest: snp::firmware_digest(image), metadata };
    firmware::to_text(&known).map_err(Failure::internal)
}

/// The VMSA of every vCPU of `machine`.
fn vmsas(tee: &Tee, guest: &Guest<'_>, machine: &Machine) -> measure::Result<Vec<Vec<u8>>> {
    match tee.name == snp::TEE.name {
        true => snp::vmsas(guest, machine),
        false => sev_es::vmsas(guest, machine),
    }
}

fn from_metadata(path: &Path, wanted: Option<Sha384>) -> Result<Precomputed, Failure> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let known = firmware::parse(&text).with_context(|| format!("cannot use {name}"))?;
    match wanted {
        Some(wanted) if wanted != known.digest => {
            let what = anyhow!("{name} is for the firmware {}, not {wanted}", known.digest);
            Err(Failure::input(what))
        }
        _ => Ok(known),
    }
}

/// The metadata of a firmware, under a digest that somebody stated for it.
fn from_image(
    session: &Session,
    guest: &Guest<'_>,
    digest: Sha384,
) -> Result<Precomputed, Failure> {
    let image = ovmf::image(snp::TEE.name, guest).map_err(Failure::input)?;
    let metadata = ovmf::metadata(image).map_err(Failure::input)?;
    let found = snp::firmware_digest(image);
    if found != digest {
        session.output.warn(&format!(
            "the firmware's own digest is {found}: of it only the metadata is used, under the \
             digest stated"
        ));
    }
    Ok(Precomputed { digest, metadata })
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
