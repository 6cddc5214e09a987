//! An OCI image layout (image-spec 1.1): the reference values as an artifact, signed statements as
//! artifacts that refer to it. Any tool that copies layouts (oras, skopeo, regctl) takes it to a
//! registry.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::files::{File, files, place};
use super::{Content, Destination, Report, Target};
use crate::digest::Sha256;

/// The row of this destination.
pub(super) const DESTINATION: Destination = Destination {
    name: "oci",
    about: "an OCI image layout, to be copied to any registry: --to oci --place DIR",
    publish,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ARTIFACT: &str = "application/vnd.guestsmith.reference-values.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Blobs and descriptors of a layout in the making.
struct Layout<'a> {
    dir: &'a Path,
    dry_run: bool,
    report: Report,
}

fn publish(content: &Content, target: &Target) -> Result<Report> {
    let mut report = Report::default();
    let all = files(content, &mut report)?;
    let mut layout = Layout { dir: Path::new(&target.place), dry_run: target.dry_run, report };
    // Statements about the values refer to them; everything else is the values.
    let (statements, values): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|file| file.media_type.contains("dsse"));
    let tag = content.settings.release.as_deref().unwrap_or("latest");
    let mut manifests = vec![layout.manifest(ARTIFACT, &values, None)?];
    manifests[0]["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    for statement in statements {
        let subject = descriptor_only(&manifests[0]);
        let kind = statement.media_type;
        manifests.push(layout.manifest(kind, &[statement], Some(subject))?);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    layout.file("index.json", index.to_string().as_bytes())?;
    Ok(layout.report)
}

/// A descriptor without what the index adds to it.
fn descriptor_only(descriptor: &Value) -> Value {
    json!({
        "mediaType": descriptor["mediaType"],
        "digest": descriptor["digest"],
        "size": descriptor["size"],
    })
}

impl Layout<'_> {
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let state = place(self.dir, name, bytes, self.dry_run)?;
        self.report.note(name, state);
        Ok(())
    }

    /// Adds a blob and gives its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let digest = Sha256::of(bytes);
        self.file(&format!("blobs/sha256/{digest}"), bytes)?;
        let digest = format!("sha256:{digest}");
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    /// Adds an artifact of `files` and gives its descriptor.
    fn manifest(&mut self, kind: &str, files: &[File], subject: Option<Value>) -> Result<Value> {
        let config = self.blob(EMPTY, b"{}")?;
        let mut layers = Vec::new();
        for file in files {
            let mut layer = self.blob(file.media_type, &file.bytes)?;
            layer["annotations"] = json!({"org.opencontainers.image.title": file.name});
            layers.push(layer);
        }
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": layers,
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject;
        }
        let mut descriptor = self.blob(MANIFEST, manifest.to_string().as_bytes())?;
        descriptor["artifactType"] = json!(kind);
        Ok(descriptor)
    }
}
