//! A directory: one file a form.

use std::path::Path;

use anyhow::Result;

use super::files::{files, place};
use super::{Content, Destination, Report, Target};

/// The row of this destination.
pub(super) const DESTINATION: Destination = Destination {
    name: "dir",
    about: "a directory, one file a form: --to dir --place DIR",
    publish,
};

fn publish(content: &Content, target: &Target) -> Result<Report> {
    let mut report = Report::default();
    for file in files(content, &mut report)? {
        let state = place(Path::new(&target.place), &file.name, &file.bytes, target.dry_run)?;
        report.note(&file.name, state);
    }
    Ok(report)
}
