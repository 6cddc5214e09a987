//! The directory form of images: image-spec 1.1, `image-layout.md`.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::image::{INDEX, Images, Manifest};
use crate::publish::Report;
use crate::publish::files::place;

/// Writes `images` as a layout into `dir`; the index comes last.
pub(in crate::publish) fn write(
    dir: &Path,
    images: &Images,
    dry_run: bool,
    report: &mut Report,
) -> Result<()> {
    let mut file = |name: &str, bytes: &[u8]| -> Result<()> {
        report.note(name, place(dir, name, bytes, dry_run)?);
        Ok(())
    };
    for (digest, bytes) in &images.blobs {
        file(&blob_path(digest), bytes)?;
    }
    for manifest in &images.manifests {
        file(
            &blob_path(manifest.descriptor["digest"].as_str().unwrap_or_default()),
            &manifest.bytes,
        )?;
    }
    let manifests: Vec<_> = images.manifests.iter().map(listed).collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    file("index.json", index.to_string().as_bytes())
}

/// Where a layout keeps the blob of that digest.
pub(in crate::publish) fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn listed(manifest: &Manifest) -> Value {
    let mut descriptor = manifest.descriptor.clone();
    if let Some(tag) = &manifest.tag {
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    }
    descriptor
}
