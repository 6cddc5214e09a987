//! Reference values as an OCI artifact (image-spec 1.1), signed statements as artifacts that refer
//! to it: in a directory that any tool copies, or straight into a registry.

mod image;
mod layout;
mod registry;

use std::path::Path;

use anyhow::Result;

pub(super) use image::{Images, Layer};
pub(super) use layout::write;

use super::files::files;
use super::{Content, Destination, Report};

/// The row of the directory.
pub(super) const LAYOUT: Destination = Destination {
    name: "oci",
    about: "an OCI image layout, to be copied to any registry: --to oci --place DIR",
    publish: |content, target| {
        let mut report = Report::default();
        let images = images(content, &mut report)?;
        write(Path::new(&target.place), &images, target.dry_run, &mut report)?;
        Ok(report)
    },
};

/// The row of the registry.
pub(super) const REGISTRY: Destination = Destination {
    name: "registry",
    about: "an OCI registry: --to registry --place HOST/NAME[:TAG] --login FILE",
    publish: |content, target| {
        let mut report = Report::default();
        let images = images(content, &mut report)?;
        registry::push(&images, target, report)
    },
};

const ARTIFACT: &str = "application/vnd.guestsmith.reference-values.v1+json";

/// The values as one artifact; each signed statement as one that refers to it.
fn images(content: &Content, report: &mut Report) -> Result<Images> {
    let layer = |file: super::files::File| Layer {
        title: Some(file.name),
        media_type: file.media_type,
        bytes: file.bytes,
    };
    let all = files(content, report)?;
    let (statements, values): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|file| file.media_type.contains("dsse"));
    let mut images = Images::default();
    let tag = content.settings.release.as_deref().unwrap_or("latest");
    let subject = images.artifact(ARTIFACT, values.into_iter().map(layer).collect(), None)?;
    images.tag(tag);
    for statement in statements {
        let kind = statement.media_type;
        images.artifact(kind, vec![layer(statement)], Some(&subject))?;
    }
    Ok(images)
}
