//! Digests as types: the width is part of the type, and text forms go both ways.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;

/// A text that is not the hexadecimal or base64 form of the wanted digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text has the wrong length for the digest.
    #[error("a {algorithm} digest has {expected} hexadecimal digits, found {found}")]
    Length {
        /// Name of the algorithm, as in `sha384`.
        algorithm: &'static str,
        /// Digits that the algorithm needs.
        expected: usize,
        /// Characters found.
        found: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("`{found}` at position {position} is not a hexadecimal digit")]
    Digit {
        /// The offending character.
        found: char,
        /// Its position in the text, from 0.
        position: usize,
    },
}

/// Lower-case hexadecimal form of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// Bytes of a hexadecimal text of either case.
///
/// # Errors
/// An odd number of characters, or one that is no hexadecimal digit.
pub fn unhex(text: &str) -> Result<alloc::vec::Vec<u8>, Error> {
    if let Some((position, found)) = text.char_indices().find(|(_, c)| !c.is_ascii_hexdigit()) {
        return Err(Error::Digit { found, position });
    }
    if !text.len().is_multiple_of(2) {
        let (algorithm, found) = ("hexadecimal", text.len());
        return Err(Error::Length { algorithm, expected: found + 1, found });
    }
    let nibble = |c: u8| (c as char).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0);
    Ok(text.as_bytes().chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect())
}

/// Standard base64 (RFC 4648 section 4, padded) of `bytes`.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes of a text in standard base64, padded.
pub fn unbase64(text: &str) -> Option<alloc::vec::Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The beginning of what a SHA-256 covers: hashed once, continued often.
#[derive(Debug, Clone)]
pub struct Prefix256(sha2::Sha256);

impl Prefix256 {
    /// The concatenation of `parts`.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = sha2::Sha256::new();
        parts.into_iter().for_each(|part| hasher.update(part));
        Self(hasher)
    }

    /// The beginning with `part` behind it.
    #[must_use]
    pub fn and(mut self, part: &[u8]) -> Self {
        self.0.update(part);
        self
    }

    /// The digest of the beginning with `rest` behind it.
    #[must_use]
    pub fn digest<'a>(mut self, rest: impl IntoIterator<Item = &'a [u8]>) -> Sha256 {
        rest.into_iter().for_each(|part| self.0.update(part));
        Sha256(self.0.finalize().into())
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $label:literal, $width:literal, $hasher:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $width]);

        impl $name {
            /// Name of the algorithm, in lower case.
            pub const ALGORITHM: &'static str = $label;
            /// Width in bytes.
            pub const WIDTH: usize = $width;
            /// All bits zero: where every register starts.
            pub const ZERO: Self = Self([0; $width]);

            /// Digest of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self::of_parts([bytes])
            }

            /// Digest of the concatenation of `parts`.
            pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
                let mut hasher = <$hasher>::new();
                parts.into_iter().for_each(|part| hasher.update(part));
                Self(hasher.finalize().into())
            }

            /// `H(self || data)`: one extend of a register that holds `self`.
            #[must_use]
            pub fn extend(&self, data: &[u8]) -> Self {
                Self::of_parts([&self.0[..], data])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($label, ":{}"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let error =
                    Error::Length { algorithm: $label, expected: 2 * $width, found: text.len() };
                if text.len() != 2 * $width {
                    return Err(error);
                }
                Ok(Self(unhex(text)?.try_into().map_err(|_| error)?))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

digest!(
    /// SHA-1 (FIPS 180-4): only to read and replay TPM banks that still carry it.
    Sha1, "sha1", 20, sha1::Sha1
);
digest!(
    /// SHA-256 (FIPS 180-4).
    Sha256, "sha256", 32, sha2::Sha256
);
digest!(
    /// SHA-384 (FIPS 180-4).
    Sha384, "sha384", 48, sha2::Sha384
);
digest!(
    /// SHA-512 (FIPS 180-4).
    Sha512, "sha512", 64, sha2::Sha512
);
digest!(
    /// SM3 (GB/T 32905-2016).
    Sm3, "sm3", 32, sm3::Sm3
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_digests_of_abc() {
        // FIPS 180-4 examples; GB/T 32905-2016 annex A.1.
        assert_eq!(Sha1::of(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            Sha256::of_parts([&b"a"[..], b"bc"]).to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            Sm3::of(b"abc").to_string(),
            "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
        );
    }

    #[test]
    fn text_forms_go_both_ways_and_refuse_others() {
        let digest = Sha384::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(
            "AbCd".to_uppercase().parse::<Sha1>().unwrap_err().to_string(),
            "a sha1 digest has 40 hexadecimal digits, found 4"
        );
        assert_eq!(unhex("0g").unwrap_err(), Error::Digit { found: 'g', position: 1 });
    }
}
