//! `guestsmith assemble`: files of a guest in, the one file that a TEE boots out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::failure::Failure;
use super::host_keys::HostKeys;
use super::measure::{Given, guest};
use super::{Answer, Outcome, Session};
use crate::assemble::tee_image::{MAKERS, Maker};
use crate::digest::Sha256;
use crate::measure;

/// Make what a TEE boots as one file: a Secure Execution image, an enclave image, a device tree
///
/// The same files and settings always give the same bytes. For Secure Execution all keys come from
/// the seed, which is to be kept like a signing key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith assemble --tee se --kernel vmlinuz --initrd initrd --cmdline console=ttysclp0 \\
      --stage3a stage3a.bin --stage3b stage3b_reloc.bin --host-key HKD.crt --no-verify \\
      --key-seed seed.bin --out image")]
pub(super) struct Assemble {
    /// The TEE
    #[arg(long, value_name = "TEE", value_parser = names())]
    tee: String,
    /// The VMM, where the file depends on it
    #[arg(long, value_name = "VMM")]
    vmm: Vec<String>,
    /// Directory for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    host_keys: HostKeys,
}

fn names() -> clap::builder::PossibleValuesParser {
    let name = |maker: &Maker| clap::builder::PossibleValue::new(maker.tee).help(maker.about);
    MAKERS.iter().map(name).into()
}

impl Assemble {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let tee = measure::tee(&self.tee).map_err(Failure::usage)?;
        let files = self.given.read(tee)?;
        self.host_keys.check(session, &files)?;
        let machines = self.given.machines(tee, &self.vmm)?;
        let [machine] = machines.as_slice() else {
            return Err(Failure::usage(anyhow::anyhow!(
                "a file is made for one machine: no lists"
            )));
        };
        let maker = MAKERS.iter().find(|maker| maker.tee == tee.name);
        let maker = maker.ok_or_else(|| Failure::usage(anyhow::anyhow!("nothing to make")))?;
        let made = (maker.make)(&guest(&files), machine).map_err(Failure::input)?;
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make {}", self.out.display()))?;
        let mut digests = BTreeMap::new();
        for (name, bytes) in &made {
            let path = self.out.join(name);
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            digests.insert(*name, Sha256::of(bytes).to_string());
        }
        session.output.answer(&json!({ "files": digests }), || {
            let line = |(name, digest): (&&str, &String)| format!("{digest}  {name}");
            digests.iter().map(line).collect::<Vec<_>>().join("\n")
        })?;
        Ok(Answer::Yes)
    }
}
