//! `guestsmith id-block`.

mod keys;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use p384::ecdsa::VerifyingKey;
use serde_json::json;
use zerocopy::IntoBytes as _;

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::digest::{Sha384, base64};
use crate::format::id_block::{self as wire, IdAuth};
use crate::measure::id_block::{self, Signed};

/// Bind an SNP guest to its launch digest, signed by its owner
///
/// Without a key the bytes to be signed elsewhere are written to --payload; hand the signature
/// back with --signature and --public-key. The author key works likewise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith id-block --measurement $(cat measurement.hex) --id-key id.pem --policy smt")]
pub(super) struct IdBlock {
    /// Launch digest: the measurement, hexadecimal or base64
    #[arg(long, value_name = "DIGEST", value_parser = measurement)]
    measurement: Sha384,
    /// Policy: a number, or names as smt,debug,abi=1.55
    #[arg(long, value_name = "POLICY", default_value = "smt", value_parser = id_block::policy)]
    policy: u64,
    /// Family: up to 16 characters, or 0x and 32 hexadecimal digits
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = id)]
    family: Id,
    /// Image: up to 16 characters, or 0x and 32 hexadecimal digits
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = id)]
    image: Id,
    /// Security version of the guest
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    svn: u32,
    /// Write id-block.bin and id-auth.bin here as well
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    id: IdKey,
    #[command(flatten)]
    author: AuthorKey,
}

/// What signs the ID block.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "ID key")]
struct IdKey {
    /// Private P-384 key that signs the ID block, PEM
    #[arg(long, value_name = "FILE")]
    id_key: Option<PathBuf>,
    /// Where to write the bytes that are to be signed elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id_key", "signature"])]
    payload: Option<PathBuf>,
    /// Signature made elsewhere over the payload: DER (openssl dgst -sha384 -sign) or 96 bytes
    #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with = "id_key")]
    signature: Option<PathBuf>,
    /// Public key of --signature, PEM
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

/// What signs the ID key.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Author key")]
struct AuthorKey {
    /// Private P-384 key that signs the ID key, PEM
    #[arg(long, value_name = "FILE")]
    author_key: Option<PathBuf>,
    /// Where to write the ID key's bytes that are to be signed elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["author_key", "author_signature"])]
    author_payload: Option<PathBuf>,
    /// Signature made elsewhere over the author's payload
    #[arg(long, value_name = "FILE", requires = "author_public_key")]
    #[arg(conflicts_with = "author_key")]
    author_signature: Option<PathBuf>,
    /// Public key of --author-signature, PEM
    #[arg(long, value_name = "FILE")]
    author_public_key: Option<PathBuf>,
}

/// Sixteen bytes that name something.
#[derive(Debug, Clone, Copy)]
struct Id([u8; 16]);

fn id(text: &str) -> Result<Id, String> {
    let mut bytes = [0; 16];
    if let Some(digits) = text.strip_prefix("0x") {
        let given = crate::digest::unhex(digits).map_err(|error| error.to_string())?;
        return Ok(Id(given.try_into().map_err(|_| "not 32 hexadecimal digits")?));
    }
    let place = bytes.get_mut(..text.len()).ok_or("longer than 16 bytes")?;
    place.copy_from_slice(text.as_bytes());
    Ok(Id(bytes))
}

fn measurement(text: &str) -> Result<Sha384, String> {
    let from_base64 = || crate::digest::unbase64(text)?.try_into().ok().map(Sha384);
    text.parse().or_else(|error: crate::digest::Error| {
        from_base64().ok_or_else(|| format!("{error}, or 64 characters of base64"))
    })
}

impl IdBlock {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let mut block = id_block::block(self.measurement, self.policy);
        (block.family_id, block.image_id) = (self.family.0, self.image.0);
        block.guest_svn = self.svn.into();
        if self.write_payloads(session, &block)? {
            return Ok(Answer::Yes);
        }
        let (id, author) = (self.id.signed(&block)?, self.author.signed(&self.id)?);
        let auth = id_block::assemble(&block, &id, author.as_ref()).map_err(Failure::input)?;
        if let Some(dir) = &self.out {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            write(&dir.join("id-block.bin"), block.as_bytes())?;
            write(&dir.join("id-auth.bin"), auth.as_bytes())?;
        }
        answer(session, &block, &auth)
    }

    /// Writes what is to be signed elsewhere; true if that was asked for.
    fn write_payloads(&self, session: &Session, block: &wire::IdBlock) -> Result<bool, Failure> {
        let mut payloads = Vec::new();
        if let Some(path) = &self.id.payload {
            payloads.push((path, id_block::payload(block).to_vec()));
        }
        if let Some(path) = &self.author.author_payload {
            let key = id_block::public_key(&self.id.public()?);
            payloads.push((path, key.as_bytes().to_vec()));
        }
        for (path, bytes) in &payloads {
            write(path, bytes)?;
            let (size, name) = (bytes.len(), path.display());
            session.output.note(&format!("sign the {size} bytes of {name} with SHA-384"));
        }
        Ok(!payloads.is_empty())
    }
}

impl IdKey {
    fn signed(&self, block: &wire::IdBlock) -> Result<Signed, Failure> {
        if let Some(path) = &self.id_key {
            return Ok(Signed::by(&keys::signing_key(path)?, id_block::payload(block)));
        }
        let (Some(signature), Some(key)) = (&self.signature, &self.public_key) else {
            let what = anyhow!("nothing signs the ID block");
            return Err(Failure::usage(what).hint("give --id-key, or --payload to sign elsewhere"));
        };
        Ok(Signed { key: keys::verifying_key(key)?, signature: keys::signature(signature)? })
    }

    fn public(&self) -> Result<VerifyingKey, Failure> {
        match (&self.id_key, &self.public_key) {
            (Some(path), _) => Ok(*keys::signing_key(path)?.verifying_key()),
            (None, Some(path)) => keys::verifying_key(path),
            (None, None) => {
                let what = anyhow!("the author signs the ID key, and there is none");
                Err(Failure::usage(what).hint("give --id-key or --public-key"))
            }
        }
    }
}

impl AuthorKey {
    fn signed(&self, id: &IdKey) -> Result<Option<Signed>, Failure> {
        if let Some(path) = &self.author_key {
            let key = id_block::public_key(&id.public()?);
            return Ok(Some(Signed::by(&keys::signing_key(path)?, key.as_bytes())));
        }
        match (&self.author_signature, &self.author_public_key) {
            (Some(signature), Some(key)) => Ok(Some(Signed {
                key: keys::verifying_key(key)?,
                signature: keys::signature(signature)?,
            })),
            _ => Ok(None),
        }
    }
}

fn answer(session: &Session, block: &wire::IdBlock, auth: &IdAuth) -> Outcome {
    let author = (auth.auth_key_algo.get() != 0).then(|| id_block::key_digest(&auth.author_key));
    let (id, qemu) = (id_block::key_digest(&auth.id_key), id_block::qemu(block, auth));
    let value = json!({
        "id_block": base64(block.as_bytes()),
        "id_auth": base64(auth.as_bytes()),
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

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
