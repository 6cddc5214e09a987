//! Initdata of Confidential Containers: a TOML text that the host binds to the launch (trustee
//! `kbs/docs/initdata.md`). Its digest goes into the field of each TEE that a host may choose.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Error, File, Guest, Register, Result};
use crate::format;
use crate::format::eventlog::Algorithm;

/// Initdata, for every TEE that has a field for it: `HOST_DATA` of SEV-SNP (32 bytes), MRCONFIGID of
/// TDX (48), CONFIGID of SGX and the realm personalization value of CCA (64 each); a TPM's PCR 8.
pub const INITDATA: File =
    File { name: "initdata", about: "Initdata (TOML) of Confidential Containers, for its field" };

/// The field `name`, of `width` bytes, where `guest` comes with initdata.
///
/// # Errors
/// As [`digest`].
pub fn field(guest: &Guest<'_>, name: &str, width: usize) -> Result<Option<Register>> {
    let digest = guest.file(INITDATA.name).map(digest).transpose()?;
    Ok(digest.map(|digest| Register::new(name, fitted(digest, width))))
}

/// The digest of `text` by the algorithm that it names itself.
///
/// # Errors
/// It is no text, names no algorithm, or one that is not sha256, sha384, sha512 or sm3.
pub fn digest(text: &[u8]) -> Result<Vec<u8>> {
    let name = core::str::from_utf8(text).ok().and_then(algorithm).ok_or_else(|| {
        let what = "key `algorithm`";
        let why = "initdata is a TOML text that begins with `algorithm` and `version`".to_string();
        Error::Input { input: "initdata", error: format::Error::Missing { what, why } }
    })?;
    let known = ["sha256", "sha384", "sha512", "sm3"].contains(&name);
    let algorithm = Algorithm::of_name(name).filter(|_| known);
    let algorithm = algorithm.ok_or_else(|| Error::Unsupported {
        what: format!("initdata algorithm `{name}`"),
        why: "known are sha256, sha384, sha512 and sm3".to_string(),
    })?;
    Ok(algorithm.digest([text]))
}

/// `digest` in a field of `width` bytes: cut, or zeros behind it.
pub fn fitted(mut digest: Vec<u8>, width: usize) -> Vec<u8> {
    digest.resize(width, 0);
    digest
}

/// Value of the top-level key `algorithm`.
fn algorithm(text: &str) -> Option<&str> {
    let top = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let mut pairs = top.filter_map(|line| line.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().trim_matches('"') == "algorithm")?;
    let value = value.trim();
    let quote = value.chars().next().filter(|c| ['"', '\''].contains(c))?;
    value[1..].split(quote).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Sha256, Sha512};

    #[test]
    fn the_text_names_its_algorithm_and_the_field_its_width() {
        let text =
            b"version = \"0.1.0\"\nalgorithm = 'sha256' # why\n\n[data]\nalgorithm = \"x\"\n";
        let found = digest(text).expect("a digest");
        assert_eq!(found, Sha256::of(text).0);
        let field = fitted(found, 48);
        assert_eq!((field.len(), &field[32..]), (48, &[0; 16][..]));
        let text = b"algorithm = \"sha512\"\n";
        assert_eq!(fitted(digest(text).expect("long"), 48), Sha512::of(text).0[..48]);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [&b"version = 1\n[data]\nalgorithm = \"sha256\""[..], b"\xff", b"algorithm = 4"]
        {
            assert!(digest(text).is_err());
        }
        let error = digest(b"algorithm = \"md5\"").expect_err("unknown").to_string();
        assert!(error.contains("`md5` is not supported"), "{error}");
    }
}
