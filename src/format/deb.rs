//! Debian binary packages (deb(5)): an `ar` archive of a version, a control and a data member.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Range;

use super::{Error, Result, ar};

/// Compression of a member, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.tar`
    None,
    /// `.tar.gz`
    Gzip,
    /// `.tar.xz`
    Xz,
    /// `.tar.zst`
    Zstd,
}

/// A compressed tar archive in the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// How it is compressed.
    pub compression: Compression,
    /// The compressed bytes, as a range of the package.
    pub data: Range<usize>,
}

/// The two archives of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// Control information.
    pub control: Archive,
    /// The files.
    pub data: Archive,
}

/// Finds the archives of the package in `bytes`.
///
/// # Errors
/// The bytes are no package of format 2.x, or a member is missing or compressed in a way that is
/// not supported.
pub fn parse(bytes: &[u8]) -> Result<Deb> {
    let members = ar::parse(bytes)?;
    // deb(5): names that start with `_` are for later use and skipped, as is what follows the data.
    let mut members = members.into_iter().filter(|m| !m.name.starts_with('_'));
    version(bytes, members.next())?;
    let control = archive(members.next(), "control.tar")?;
    let data = archive(members.next(), "data.tar")?;
    Ok(Deb { control, data })
}

fn version(bytes: &[u8], member: Option<ar::Member>) -> Result<()> {
    let wanted = |found: String, offset| Error::Value {
        what: "version of the package format",
        offset,
        found,
        expected: "member debian-binary with 2.x".into(),
    };
    let member = member.ok_or_else(|| wanted("no member".into(), 0))?;
    let contents = bytes.get(member.data.clone()).unwrap_or_default();
    match member.name.as_str() {
        "debian-binary" if contents.starts_with(b"2.") => Ok(()),
        "debian-binary" => {
            let start = contents.get(..contents.len().min(8)).unwrap_or_default();
            Err(wanted(start.escape_ascii().to_string(), member.data.start))
        }
        other => Err(wanted(other.to_string(), member.data.start)),
    }
}

fn archive(member: Option<ar::Member>, stem: &'static str) -> Result<Archive> {
    let member = member.ok_or_else(|| Error::Missing {
        what: stem,
        why: "a Debian package has debian-binary, control.tar and data.tar, in this order".into(),
    })?;
    let compression = match member.name.strip_prefix(stem) {
        Some("") => Some(Compression::None),
        Some(".gz") => Some(Compression::Gzip),
        Some(".xz") => Some(Compression::Xz),
        Some(".zst") => Some(Compression::Zstd),
        _ => None,
    };
    let compression = compression.ok_or_else(|| Error::Value {
        what: stem,
        offset: member.data.start,
        found: member.name.clone(),
        expected: alloc::format!("{stem}, plain or with .gz, .xz or .zst"),
    })?;
    Ok(Archive { compression, data: member.data })
}

/// Value of `field` in a control file (deb-control(5)), its continuation lines joined.
pub fn control_field(control: &str, field: &str) -> Option<String> {
    let mut lines = control.lines().skip_while(|line| !is_field(line, field));
    let (_, first) = lines.next()?.split_once(':')?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t'])).map(str::trim);
    Some([first.trim()].into_iter().chain(more).collect::<Vec<_>>().join(" "))
}

fn is_field(line: &str, field: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case(field))
}

#[cfg(test)]
mod tests {
    use super::ar::tests::archive as ar;
    use super::*;

    #[test]
    fn archives_are_found_by_name() {
        let bytes = ar(&[
            ("debian-binary", b"2.0\n"),
            ("_later", b"?"),
            ("control.tar.zst", b"cc"),
            ("data.tar", b"dddd"),
            ("_sig", b"s"),
        ]);
        let deb = parse(&bytes).unwrap();
        assert_eq!(deb.control.compression, Compression::Zstd);
        assert_eq!(&bytes[deb.control.data], b"cc");
        assert_eq!(deb.data.compression, Compression::None);
        assert_eq!(&bytes[deb.data.data], b"dddd");
    }

    #[test]
    fn what_is_no_package_is_refused_with_what_was_found() {
        type Members = &'static [(&'static str, &'static [u8])];
        let cases: [(Members, &str); 5] = [
            (&[], "found no member"),
            (&[("control.tar", b"")], "found control.tar"),
            (&[("debian-binary", b"3.0\n")], "found 3.0\\n"),
            (&[("debian-binary", b"2.0\n"), ("control.tar", b"")], "no data.tar found"),
            (
                &[("debian-binary", b"2.0\n"), ("control.tar", b""), ("data.tar.bz2", b"")],
                "expected data.tar, plain or with .gz, .xz or .zst, found data.tar.bz2",
            ),
        ];
        for (members, expected) in cases {
            let error = parse(&ar(members)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn fields_of_a_control_file() {
        let control = "Package: a\nReplaces: b (<< 2),\n c\nDescription: d\n";
        assert_eq!(control_field(control, "replaces").as_deref(), Some("b (<< 2), c"));
        assert_eq!(control_field(control, "Breaks"), None);
    }
}
