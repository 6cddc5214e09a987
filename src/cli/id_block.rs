//! `guestsmith id-block`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use p384::SecretKey;
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use p384::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use serde_json::json;
use zerocopy::IntoBytes as _;

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::digest::Sha384;
use crate::format::id_block::{self as wire, IdAuth};
use crate::measure::id_block::{self, Signed};

/// Bind an SNP guest to its launch digest, signed by its owner
///
/// Without a key the bytes to be signed elsewhere are written to --payload; hand the signature
/// back with --signature and --public-key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith id-block --measurement $(cat measurement.hex) --id-key id.pem --policy smt")]
pub(super) struct IdBlock {
    /// Launch digest: the measurement, hexadecimal
    #[arg(long, value_name = "HEX")]
    measurement: Sha384,
    /// Policy: a number, or names as smt,debug,abi=1.55
    #[arg(long, value_name = "POLICY", default_value = "smt", value_parser = id_block::policy)]
    policy: u64,
    /// Family, up to 16 characters
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = id)]
    family: Id,
    /// Image, up to 16 characters
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = id)]
    image: Id,
    /// Security version of the guest
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    svn: u32,
    /// Private P-384 key that signs the ID block, PEM
    #[arg(long, value_name = "FILE")]
    id_key: Option<PathBuf>,
    /// Private P-384 key that signs the ID key, PEM
    #[arg(long, value_name = "FILE", requires = "id_key")]
    author_key: Option<PathBuf>,
    /// Where to write the bytes that are to be signed elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id_key", "signature"])]
    payload: Option<PathBuf>,
    /// Signature made elsewhere over the payload, DER (as openssl dgst -sha384 -sign writes)
    #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with = "id_key")]
    signature: Option<PathBuf>,
    /// Public key of --signature, PEM
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

/// Sixteen bytes that name something.
#[derive(Debug, Clone, Copy)]
struct Id([u8; 16]);

fn id(text: &str) -> Result<Id, String> {
    let mut bytes = [0; 16];
    let place = bytes.get_mut(..text.len()).ok_or("longer than 16 bytes")?;
    place.copy_from_slice(text.as_bytes());
    Ok(Id(bytes))
}

impl IdBlock {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let mut block = id_block::block(self.measurement, self.policy);
        (block.family_id, block.image_id) = (self.family.0, self.image.0);
        block.guest_svn = self.svn.into();
        if let Some(path) = &self.payload {
            let written = fs::write(path, id_block::payload(&block));
            written.with_context(|| format!("cannot write {}", path.display()))?;
            session.output.note(&format!("sign the 96 bytes of {} with SHA-384", path.display()));
            return Ok(Answer::Yes);
        }
        answer(session, &block, &self.auth(&block)?)
    }

    fn auth(&self, block: &wire::IdBlock) -> Result<IdAuth, Failure> {
        if let (Some(signature), Some(key)) = (&self.signature, &self.public_key) {
            let bytes = read(signature)?;
            let wrong = || format!("{} is no DER signature of P-384", signature.display());
            let signature =
                Signature::from_der(&bytes).map_err(|e| anyhow!(e)).with_context(wrong)?;
            let key = verifying_key(key)?;
            let signed = Signed { key, signature };
            return id_block::assemble(block, &signed, None).map_err(Failure::input);
        }
        let Some(id_key) = &self.id_key else {
            let what = anyhow!("nothing signs the ID block");
            return Err(Failure::usage(what).hint("give --id-key, or --payload to sign elsewhere"));
        };
        let author = self.author_key.as_deref().map(signing_key).transpose()?;
        Ok(id_block::sign(block, &signing_key(id_key)?, author.as_ref()))
    }
}

fn answer(session: &Session, block: &wire::IdBlock, auth: &IdAuth) -> Outcome {
    let author = (auth.auth_key_algo.get() != 0).then(|| id_block::key_digest(&auth.author_key));
    let (id, qemu) = (id_block::key_digest(&auth.id_key), id_block::qemu(block, auth));
    let value = json!({
        "id_block": crate::digest::base64(block.as_bytes()),
        "id_auth": crate::digest::base64(auth.as_bytes()),
        "policy": format!("{:#x}", block.policy.get()),
        "policy_names": id_block::policy_names(block.policy.get()),
        "id_key_digest": id.to_string(),
        "author_key_digest": author.map(|digest| digest.to_string()),
        "qemu": qemu,
    });
    session.output.answer(&value, || {
        let names = id_block::policy_names(block.policy.get()).join(", ");
        let author = author.map_or_else(String::new, |d| format!("\nauthor key digest  {d}"));
        format!("policy  {names}\nid key digest  {id}{author}\nqemu  {qemu}")
    })?;
    Ok(Answer::Yes)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn pem(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A private key in PKCS #8 or in the older form of SEC 1. What it holds is in no message.
fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let text = pem(path)?;
    let key =
        SecretKey::from_pkcs8_pem(&text).ok().or_else(|| SecretKey::from_sec1_pem(&text).ok());
    let what = || anyhow!("{} holds no private P-384 key in PEM", path.display());
    let hint = "make one: openssl ecparam -name secp384r1 -genkey -noout -out id.pem";
    key.map(SigningKey::from).ok_or_else(|| Failure::input(what()).hint(hint))
}

fn verifying_key(path: &Path) -> anyhow::Result<VerifyingKey> {
    let wrong = || anyhow!("{} holds no public P-384 key in PEM", path.display());
    VerifyingKey::from_public_key_pem(&pem(path)?).map_err(|_| wrong())
}
