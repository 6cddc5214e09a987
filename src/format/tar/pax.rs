//! Extended headers of tar archives: records `LENGTH KEY=VALUE\n` (POSIX.1-2001, pax).

use alloc::format;
use alloc::string::{String, ToString as _};

use super::super::{Error, Result};
use super::{Pending, name_text};

/// Keeps what the records in `data` say of the next entry. Times, names of owners and comments are
/// passed over: a build sets the one and needs no other.
pub(super) fn read(data: &[u8], offset: usize, pending: &mut Pending) -> Result<()> {
    records(data, offset, |key, value| {
        let number = || parse_number(value, offset);
        match key {
            "path" => pending.path = Some(name_text(value, offset)?),
            "linkpath" => pending.link = Some(name_text(value, offset)?),
            "size" => pending.size = Some(narrow(number()?, offset)?),
            "uid" => pending.uid = Some(narrow(number()?, offset)?),
            "gid" => pending.gid = Some(narrow(number()?, offset)?),
            _ if key.starts_with("GNU.sparse.") => return Err(refused(key, offset)),
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    pending.xattrs.insert(name.to_string(), value.to_vec());
                }
            }
        }
        Ok(())
    })
}

/// Global records would change every entry that follows; only those that change nothing pass.
pub(super) fn check_global(data: &[u8], offset: usize) -> Result<()> {
    records(data, offset, |key, _| match key {
        "comment" | "mtime" | "atime" | "ctime" | "charset" => Ok(()),
        _ => Err(refused(key, offset)),
    })
}

fn records(
    mut data: &[u8],
    offset: usize,
    mut each: impl FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    while !data.is_empty() {
        let (key, value, rest) = record(data).ok_or_else(|| Error::Value {
            what: "extended tar header",
            offset,
            found: data[..data.len().min(40)].escape_ascii().to_string(),
            expected: "records `LENGTH KEY=VALUE`".into(),
        })?;
        each(key, value)?;
        data = rest;
    }
    Ok(())
}

/// The first record: its key, its value, and what follows it.
fn record(data: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let blank = data.iter().take(20).position(|byte| *byte == b' ')?;
    let digits = core::str::from_utf8(&data[..blank]).ok()?;
    let length: usize = digits.parse().ok().filter(|length| *length <= data.len())?;
    let (record, rest) = data.split_at(length);
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = core::str::from_utf8(&record[..equals]).ok()?;
    Some((key, &record[equals + 1..], rest))
}

fn parse_number(value: &[u8], offset: usize) -> Result<u64> {
    let number = core::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong(value.escape_ascii().to_string(), "a decimal number", offset))
}

fn narrow<T: TryFrom<u64>>(number: u64, offset: usize) -> Result<T> {
    let error = |_| wrong(number.to_string(), "a smaller number", offset);
    T::try_from(number).map_err(error)
}

fn wrong(found: String, expected: &str, offset: usize) -> Error {
    Error::Value { what: "number in extended tar header", offset, found, expected: expected.into() }
}

fn refused(key: &str, offset: usize) -> Error {
    let found = format!("`{key}`");
    let expected = "a record that packages use".to_string();
    Error::Value { what: "extended tar header", offset, found, expected }
}
