//! `guestsmith sigstruct`: the signature of an SGX enclave.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use serde_json::json;
use zerocopy::IntoBytes as _;

use super::failure::Failure;
use super::{Answer, Outcome, Session};
use crate::digest::{Sha256, hex};
use crate::format::sgx::{ATTRIBUTE_DEBUG, DIGEST_INFO, KEY_SIZE, Sigstruct as Wire};
use crate::measure::tee::sgx::Identity;
use crate::publish::key;

/// Sign an SGX enclave, or check a signature
///
/// Without a key the bytes to be signed elsewhere are written to --payload; hand the signature
/// back with --signature and --public-key. The same inputs always give the same bytes: the date is
/// an option, not today's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith sigstruct --enclave app.sgxs --key signing.pem --date 2026-11-01 --out app.sig
  guestsmith sigstruct --enclave app.sgxs --check app.sig")]
pub(super) struct Sigstruct {
    /// The enclave: SGXS stream or .signed.so
    #[arg(long, value_name = "FILE")]
    enclave: Option<PathBuf>,
    /// MRENCLAVE, where the enclave is not at hand
    #[arg(long, value_name = "HEX", conflicts_with = "enclave")]
    mrenclave: Option<Sha256>,
    /// Check this signature, and that it is of the enclave if one is given
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Where to write the signature
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    signer: Signer,
}

/// What the signature says beside MRENCLAVE.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fields")]
struct Fields {
    /// Date in the signature: 2026-11-01
    #[arg(long, value_name = "DATE", value_parser = bcd, default_value = "1970-01-01")]
    date: u32,
    /// Product (ISVPRODID)
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    prod_id: u16,
    /// Security version (ISVSVN)
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    svn: u16,
    /// The enclave may be debugged
    #[arg(long)]
    debug: bool,
    /// ATTRIBUTES.FLAGS and the bits of it that are enforced: 0x4/0xfffffffffffffffd
    #[arg(long, value_name = "FLAGS[/MASK]", value_parser = masked)]
    attributes: Option<Masked>,
    /// ATTRIBUTES.XFRM and the bits of it that are enforced: 0x3/0xffffffffffffff1b
    #[arg(long, value_name = "XFRM[/MASK]", value_parser = masked)]
    xfrm: Option<Masked>,
    /// MISCSELECT and the bits of it that are enforced: 0x0/0xffffffff
    #[arg(long, value_name = "BITS[/MASK]", value_parser = masked)]
    miscselect: Option<Masked>,
}

/// Who signs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Signer")]
struct Signer {
    /// Private RSA key of 3072 bits with exponent 3, PEM, or fd:N
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Where to write the bytes that are to be signed elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "signature"])]
    payload: Option<PathBuf>,
    /// Signature made elsewhere over the payload (as openssl dgst -sha256 -sign writes)
    #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with = "key")]
    signature: Option<PathBuf>,
    /// Public key of --signature, PEM
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

/// A value with the bits of it that are enforced.
#[derive(Debug, Clone, Copy)]
struct Masked {
    value: u64,
    mask: u64,
}

fn masked(text: &str) -> Result<Masked, String> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffffffffffff"));
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let pair = number(value).and_then(|value| Ok(Masked { value, mask: number(mask)? }));
    pair.map_err(|error| format!("{error}: expected numbers, as 0x4/0xff"))
}

/// Digits of a date as hexadecimal digits: how SIGSTRUCT has it.
fn bcd(text: &str) -> Result<u32, String> {
    let digits: String = text.split('-').collect();
    let is_date = crate::measure::tee::se::trust::date(text).is_some() && text.len() == 10;
    let number = u32::from_str_radix(&digits, 16).ok().filter(|_| is_date);
    number.ok_or_else(|| "expected a date, as 2026-11-01".to_string())
}

impl Sigstruct {
    pub(super) fn run(self, session: &Session) -> Outcome {
        if let Some(path) = &self.check {
            return self.checked(session, path);
        }
        let mrenclave = self.mrenclave()?.ok_or_else(|| {
            let what = anyhow!("there is nothing to sign");
            Failure::usage(what).hint("give --enclave or --mrenclave, or a signature to --check")
        })?;
        let mut wire = self.fields.put(Wire::new(&mrenclave))?;
        if let Some(path) = &self.signer.payload {
            write(path, &wire.signed_data())?;
            let said = format!("sign {} by RSA, PKCS #1 v1.5, with SHA-256", path.display());
            session.output.note(&said);
            return Ok(Answer::Yes);
        }
        let (modulus, signature) = self.signer.sign(&wire.signed_data())?;
        wire.sign_with(modulus, signature).map_err(Failure::input)?;
        let out = self.out.as_ref().ok_or_else(|| {
            Failure::usage(anyhow!("nowhere to write to")).hint("give --out FILE")
        })?;
        write(out, wire.as_bytes())?;
        answer(session, &wire)
    }

    fn mrenclave(&self) -> Result<Option<Sha256>, Failure> {
        let Some(path) = &self.enclave else { return Ok(self.mrenclave) };
        let found = Identity::of(&read(path)?);
        let found = found.with_context(|| format!("{} is no enclave", path.display()))?;
        Ok(Some(found.mrenclave))
    }

    fn checked(&self, session: &Session, path: &Path) -> Outcome {
        let wire = Wire::parse(&read(path)?);
        let wire = wire.with_context(|| format!("{} is no signature", path.display()))?;
        let of = self.mrenclave()?;
        let wrong = match wire.check() {
            Err(error) => Some(error.to_string()),
            Ok(()) if of.is_some_and(|of| of.0 != wire.enclave_hash) => {
                let of = of.map(|of| of.to_string()).unwrap_or_default();
                Some(format!("it is of {}, not of {of}", hex(&wire.enclave_hash)))
            }
            Ok(()) => None,
        };
        match wrong {
            None => answer(session, &wire),
            Some(why) => {
                session.output.answer(&json!({ "valid": false, "why": why }), || why.clone())?;
                Ok(Answer::No)
            }
        }
    }
}

impl Fields {
    fn put(&self, mut wire: Wire) -> Result<Wire, Failure> {
        wire.date = self.date.into();
        (wire.isv_prod_id, wire.isv_svn) = (self.prod_id.into(), self.svn.into());
        if let Some(Masked { value, mask }) = self.attributes {
            (wire.attributes, wire.attributes_mask) = (value.into(), mask.into());
        }
        if let Some(Masked { value, mask }) = self.xfrm {
            (wire.xfrm, wire.xfrm_mask) = (value.into(), mask.into());
        }
        if let Some(Masked { value, mask }) = self.miscselect {
            let narrow = |value: u64| {
                u32::try_from(value).map_err(|_| Failure::usage(anyhow!("MISCSELECT has 32 bits")))
            };
            let mask = if mask == u64::MAX { u32::MAX } else { narrow(mask)? };
            (wire.miscselect, wire.miscmask) = (narrow(value)?.into(), mask.into());
        }
        if self.debug {
            wire.attributes = (wire.attributes.get() | ATTRIBUTE_DEBUG).into();
        }
        Ok(wire)
    }
}

/// A number of the key's width, big-endian.
type Number = [u8; KEY_SIZE];

impl Signer {
    /// Modulus and signature.
    fn sign(&self, payload: &[u8]) -> Result<(Number, Number), Failure> {
        if let (Some(signature), Some(path)) = (&self.signature, &self.public_key) {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            let key = RsaPublicKey::from_public_key_pem(&text);
            let key = key.map_err(|_| anyhow!("{} holds no public RSA key", path.display()))?;
            let wrong = || anyhow!("{} is no signature of 384 bytes", signature.display());
            let signature = read(signature)?.try_into().map_err(|_| wrong())?;
            return Ok((modulus(&key)?, signature));
        }
        let Some(place) = &self.key else {
            let what = anyhow!("nothing signs the enclave");
            return Err(Failure::usage(what).hint("give --key, or --payload to sign elsewhere"));
        };
        let text = key::secret(place)?;
        let key = RsaPrivateKey::from_pkcs8_pem(&text).ok();
        let key = key.or_else(|| RsaPrivateKey::from_pkcs1_pem(&text).ok()).ok_or_else(|| {
            let what = anyhow!("{place} holds no private RSA key in PEM");
            Failure::input(what).hint("make one: openssl genrsa -3 -out signing.pem 3072")
        })?;
        let modulus = modulus(&key.to_public_key())?;
        let padding = Pkcs1v15Sign { hash_len: Some(Sha256::WIDTH), prefix: DIGEST_INFO.into() };
        let signed = key.sign(padding, &Sha256::of(payload).0);
        let signed = signed.map_err(|error| anyhow!("cannot sign: {error}"))?;
        let signed = signed.try_into().map_err(|_| anyhow!("the signature has another width"))?;
        Ok((modulus, signed))
    }
}

/// The modulus of a key that the processor takes.
fn modulus(key: &RsaPublicKey) -> Result<Number, Failure> {
    if key.e().to_bytes_le() != [3] {
        let what = anyhow!("the key's public exponent is {}: SGX takes 3 alone", key.e());
        return Err(Failure::input(what).hint("make one: openssl genrsa -3 -out signing.pem 3072"));
    }
    let bits = key.n().bits();
    let wrong = |_| Failure::input(anyhow!("the key has {bits} bits: SGX takes 3072 alone"));
    key.n().to_bytes_be().try_into().map_err(wrong)
}

fn answer(session: &Session, wire: &Wire) -> Outcome {
    let identity = Identity { mrenclave: Sha256(wire.enclave_hash), sigstruct: Some(wire.clone()) };
    identity.warnings().for_each(|warning| session.output.warn(&warning));
    let (mrenclave, mrsigner) = (identity.mrenclave.to_string(), wire.mrsigner().to_string());
    let value = json!({
        "valid": true,
        "mrenclave": mrenclave,
        "mrsigner": mrsigner,
        "isv_prod_id": wire.isv_prod_id.get(),
        "isv_svn": wire.isv_svn.get(),
        "date": format!("{:08x}", wire.date),
        "sha256": Sha256::of(wire.as_bytes()).to_string(),
    });
    session.output.answer(&value, || format!("mrenclave  {mrenclave}\nmrsigner   {mrsigner}"))?;
    Ok(Answer::Yes)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
