//! Where bytes may be had: an address of HTTP, or a directory of this machine.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// A place that files are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `http://` or `https://`.
    Http(String),
    /// A path of this machine.
    File(PathBuf),
}

impl Location {
    /// The location that `text` names: an address of `http`, `https` or `file`, or an absolute path.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        match text.split_once("://") {
            Some(("http" | "https", rest)) if !rest.is_empty() => Ok(Self::Http(text.into())),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            None if text.starts_with('/') => Ok(Self::File(text.into())),
            _ => bail!("`{}` is no http://, https:// or file:// address and no absolute path", {
                without_password(text)
            }),
        }
    }

    /// The location of the file with that relative path.
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        match self {
            Self::Http(base) => Self::Http(format!("{base}/{}", escaped(relative))),
            Self::File(base) => Self::File(base.join(relative)),
        }
    }

    /// True for a place that is reached without the network.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// RFC 3986 section 2.1 for what stands in file names of archives (`+` and `~` stay as they are).
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~+:=@,".contains(&byte);
    path.bytes().fold(String::new(), |text, byte| match plain(byte) {
        true => text + char::from(byte).encode_utf8(&mut [0; 4]),
        false => text + &format!("%{byte:02X}"),
    })
}

/// The address without what stands before `@`: a password has no place in a message.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.into() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => address.into(),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => f.write_str(&without_password(address)),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, path: &str) -> String {
        Location::parse(base).expect("a location").join(path).to_string()
    }

    #[test]
    fn addresses_and_paths() {
        assert_eq!(
            joined("http://a.example/debian/", "dists/sid"),
            "http://a.example/debian/dists/sid"
        );
        assert_eq!(joined("file:///srv/debian", "pool/a_1.deb"), "/srv/debian/pool/a_1.deb");
        assert_eq!(joined("/srv/debian/", "pool/a_1.deb"), "/srv/debian/pool/a_1.deb");
        assert_eq!(joined("http://a", "g++_1~a b%.deb"), "http://a/g++_1~a%20b%25.deb");
        for wrong in ["debian", "ftp://a/debian", "http://", "file://debian", ""] {
            assert!(Location::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(joined("https://me:secret@a.example/d", "x"), "https://***@a.example/d/x");
        let error = Location::parse("ftp://me:secret@a/d").expect_err("refused").to_string();
        assert!(error.contains("***@a/d") && !error.contains("secret"), "{error}");
    }
}
