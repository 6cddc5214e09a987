//! The files that directories, bundles and OCI layouts hold: every form that the document has.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Content, Report, State, sign};
use crate::reference::{EMITTERS, Error};

/// A file to be.
pub(super) struct File {
    /// Its name.
    pub(super) name: String,
    /// Its media type.
    pub(super) media_type: &'static str,
    /// Its contents.
    pub(super) bytes: Vec<u8>,
}

/// The files of the content's forms, all where none was named; signed ones where there is a key.
/// A form that was not asked for by name and cannot be made is left out, and the report says why.
pub(super) fn files(content: &Content, report: &mut Report) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for form in EMITTERS {
        let asked = content.forms.iter().any(|asked| asked.name == form.name);
        if !asked && !content.forms.is_empty() {
            continue;
        }
        let emitted = match form.emit(&content.document, &content.settings) {
            Ok(emitted) => emitted,
            Err(Error::Empty { what, why }) if !asked => {
                report.warnings.push(format!("{} is left out: no {what}: {why}", form.file));
                continue;
            }
            Err(error @ (Error::Value { .. } | Error::Conflict { .. })) if !asked => {
                report.warnings.push(format!("{} is left out: {error}", form.file));
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("form {}", form.name)),
        };
        report.warnings.extend(emitted.warnings);
        if let Some(key) = &content.key {
            files.extend(signed(content, form.name, &emitted.content, key)?);
        }
        let (name, media_type) = (form.file.to_string(), form.media_type);
        files.push(File { name, media_type, bytes: emitted.content });
    }
    report.warnings.sort();
    report.warnings.dedup();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The signed twin of a form, where it has one.
fn signed(
    content: &Content,
    form: &str,
    bytes: &[u8],
    key: &super::key::Key,
) -> Result<Option<File>> {
    let file = |name: &str, media_type, bytes| File { name: name.to_string(), media_type, bytes };
    Ok(match form {
        "corim" => Some(file(
            "reference-values.cose",
            "application/rim+cose",
            sign::corim(&content.document, key)?,
        )),
        "in-toto" => Some(file(
            "provenance.intoto.jsonl",
            "application/vnd.dsse.envelope.v1+json",
            sign::statement(bytes, key)?,
        )),
        _ => None,
    })
}

/// Writes `bytes` as `dir/name`, whole or not at all, unless they are there already.
pub(super) fn place(dir: &Path, name: &str, bytes: &[u8], dry_run: bool) -> Result<State> {
    use std::io::Write as _;
    let path = dir.join(name);
    if std::fs::read(&path).is_ok_and(|found| found == bytes) {
        return Ok(State::Unchanged);
    }
    if dry_run {
        return Ok(State::Planned(format!("{} bytes to {}", bytes.len(), path.display())));
    }
    let parent = path.parent().unwrap_or(dir);
    let what = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(parent).with_context(what)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)
        .with_context(what)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(what)?;
    file.persist(&path).with_context(what)?;
    Ok(State::Written)
}
