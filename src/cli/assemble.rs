//! `guestsmith assemble`: files of a guest in, the one file that a TEE boots out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::contents::Contents;
use super::failure::Failure;
use super::host_keys::HostKeys;
use super::measure::{Files, Given, guest};
use super::{Answer, Outcome, Session};
use crate::assemble::tee_image::{ENCLAVE, MAKERS, Made, Maker};
use crate::assemble::{enclave, output};
use crate::digest::{Sha256, hex};
use crate::format::pem;
use crate::measure::tee::nitro::CERTIFICATE;
use crate::measure::tee::se::SEED;
use crate::measure::{self, Measurement, Tee};
use crate::publish::key;

/// Make what a TEE boots as one file: a Secure Execution image, an enclave image, a device tree
///
/// The same files and settings always give the same bytes. For Secure Execution all keys come from
/// the seed, which is to be kept like a signing key; without one they are random.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith assemble --tee se --kernel vmlinuz --initrd initrd --cmdline console=ttysclp0 \\
      --stage3a stage3a.bin --stage3b stage3b_reloc.bin --host-key HKD.crt \\
      --cert signing.crt --cert intermediate.crt --crl signing.crl --crl intermediate.crl \\
      --root-ca root.crt --key-seed seed.bin --out image")]
pub(super) struct Assemble {
    /// The TEE
    #[arg(long, value_name = "TEE", value_parser = names())]
    tee: String,
    /// The VMM, where the file depends on it
    #[arg(long, value_name = "VMM")]
    vmm: Vec<String>,
    /// Boot set of a build: its kernel, initrd, command line and loaders, unless others are given
    #[arg(long, value_name = "DIR")]
    boot_set: Option<PathBuf>,
    /// Directory for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Private key that signs a Nitro enclave image, P-256 or P-384 in PEM (PKCS #8), or fd:N
    #[arg(long, value_name = "FILE", requires = CERTIFICATE.name)]
    signing_key: Option<String>,
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
        let mut files = self.given.read(tee)?;
        if let Some(dir) = &self.boot_set {
            fill(&mut files, tee, dir)?;
        }
        self.host_keys.check(session, &files)?;
        if tee.reads.contains(&SEED) && !files.iter().any(|(name, _)| *name == SEED.name) {
            session.output.note(
                "no --key-seed: keys are drawn at random and kept nowhere; the same inputs will \
                 give another image",
            );
            files.push((SEED.name, key::fresh()?.to_vec().into()));
        }
        let machines = self.given.machines(tee, &self.vmm)?;
        let [machine] = &machines[..] else {
            let what = "a file is made for one machine: no lists";
            return Err(Failure::usage(anyhow::anyhow!(what)));
        };
        let maker = MAKERS.iter().find(|maker| maker.tee == tee.name);
        let maker = maker.ok_or_else(|| Failure::usage(anyhow::anyhow!("nothing to make")))?;
        let guest = guest(&files);
        let mut made = (maker.make)(&guest, machine).map_err(Failure::input)?;
        if let Some(certificate) = guest.file(CERTIFICATE.name) {
            self.sign(&mut made, certificate)?;
        }
        let found = (tee.expect)(&guest, &machines).map_err(Failure::input)?;
        found.iter().flat_map(|one| &one.warnings).for_each(|one| session.output.warn(one));
        output::place(&self.out, &made)?;
        answer(session, &made, &found)
    }
}

/// Files of a boot set, by what the TEE calls them.
const BOOT_SET: &[(&str, &str)] = &[
    ("kernel", "vmlinuz"),
    ("initrd", "initrd.img"),
    ("cmdline", "cmdline"),
    ("stage3a", "stage3a.bin"),
    ("stage3b", "stage3b.bin"),
];

/// Adds what the boot set in `dir` has and `files` lack.
fn fill(files: &mut Files, tee: &Tee, dir: &Path) -> anyhow::Result<()> {
    for (name, file) in BOOT_SET {
        let path = dir.join(file);
        let wanted = tee.reads.iter().find(|own| own.name == *name);
        if files.iter().any(|(own, _)| own == name) || !path.exists() {
            continue;
        }
        if let Some(own) = wanted {
            let bytes = Contents::read(&path);
            let bytes = bytes.with_context(|| format!("cannot read {}", path.display()))?;
            files.push((own.name, bytes));
        }
    }
    Ok(())
}

impl Assemble {
    /// Signs the enclave image among the files `made`.
    fn sign(&self, made: &mut Made, certificate: &[u8]) -> Result<(), Failure> {
        let place = self.signing_key.as_ref().ok_or_else(|| {
            let what = anyhow::anyhow!("a signing certificate, and no key that signs");
            Failure::usage(what).hint("give --signing-key, or leave the certificate out")
        })?;
        let key = key::Key::load(place)?;
        let algorithm = match &key {
            key::Key::P256(_) => -7,
            key::Key::P384(_) => -35,
            key::Key::Ed25519(_) => {
                let what = anyhow::anyhow!("{place}: enclave images are signed by P-256 or P-384");
                return Err(Failure::input(what));
            }
        };
        let public = pem::first(key.public().to_pem()?.as_bytes(), "PUBLIC KEY");
        let public = public.map_err(Failure::internal)?;
        let sign = |bytes: &[u8]| key.sign(bytes);
        let signer = enclave::Signer { certificate, public, algorithm, sign: &sign };
        for (_, file) in made.iter_mut().filter(|(name, _)| *name == ENCLAVE) {
            *file = enclave::signed(file, &signer)?;
        }
        Ok(())
    }
}

/// What was made, and what its machine will report.
fn answer(session: &Session, made: &Made, found: &[Measurement]) -> Outcome {
    let digest = |(name, bytes): &(&'static str, Vec<u8>)| (*name, Sha256::of(bytes).to_string());
    let files: BTreeMap<_, _> = made.iter().map(digest).collect();
    let registers = found.iter().flat_map(|one| &one.registers);
    let registers: BTreeMap<_, _> =
        registers.map(|register| (&register.name, hex(&register.value))).collect();
    session.output.answer(&json!({ "files": files, "registers": registers }), || {
        let files = files.iter().map(|(name, digest)| format!("{digest}  {name}"));
        let registers = registers.iter().map(|(name, value)| format!("  {name:<16} {value}"));
        files.chain(registers).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Answer::Yes)
}
