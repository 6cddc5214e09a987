//! Blobs and manifests in memory: image-spec 1.1, `manifest.md` and `descriptor.md`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::digest::Sha256;

/// Media type of an image manifest.
pub(in crate::publish) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub(in crate::publish) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a blob that says nothing: `{}`.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Blobs, and manifests over them, in the order in which they were added.
#[derive(Debug, Default)]
pub(in crate::publish) struct Images {
    /// Blobs that are no manifests, by `sha256:…`.
    pub(in crate::publish) blobs: BTreeMap<String, Vec<u8>>,
    /// Names of those that are files, by digest.
    pub(in crate::publish) titles: BTreeMap<String, String>,
    /// Manifests; one that refers to another comes after it.
    pub(in crate::publish) manifests: Vec<Manifest>,
}

/// A manifest.
#[derive(Debug)]
pub(in crate::publish) struct Manifest {
    /// Its bytes.
    pub(in crate::publish) bytes: Vec<u8>,
    /// What points to it.
    pub(in crate::publish) descriptor: Value,
    /// Digest of the manifest that it refers to.
    pub(in crate::publish) subject: Option<String>,
    /// Name under which it is found.
    pub(in crate::publish) tag: Option<String>,
}

/// One part of an image.
pub(in crate::publish) struct Layer {
    /// Name of the file, where it is one.
    pub(in crate::publish) title: Option<String>,
    /// What it is.
    pub(in crate::publish) media_type: &'static str,
    /// Its bytes.
    pub(in crate::publish) bytes: Vec<u8>,
}

/// Points to `bytes`.
pub(in crate::publish) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    let digest = format!("sha256:{}", Sha256::of(bytes));
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

impl Images {
    /// Adds a blob and gives its descriptor.
    pub(in crate::publish) fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor = descriptor(media_type, &bytes);
        let digest = descriptor["digest"].as_str().unwrap_or_default().to_string();
        self.blobs.insert(digest, bytes);
        descriptor
    }

    /// Adds an artifact of `layers`, which perhaps refers to `subject`, and gives its descriptor.
    pub(in crate::publish) fn artifact(
        &mut self,
        kind: &str,
        layers: Vec<Layer>,
        subject: Option<&Value>,
    ) -> Result<Value> {
        let config = self.blob(EMPTY, b"{}".to_vec());
        let layers: Vec<_> = layers.into_iter().map(|layer| self.layer(layer)).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": layers,
        });
        if let Some(subject) = subject {
            manifest["subject"] = json!({
                "mediaType": subject["mediaType"],
                "digest": subject["digest"],
                "size": subject["size"],
            });
        }
        let mut descriptor = self.manifest(&manifest)?;
        descriptor["artifactType"] = json!(kind);
        if let Some(last) = self.manifests.last_mut() {
            last.descriptor = descriptor.clone();
        }
        Ok(descriptor)
    }

    /// Adds a layer and gives its descriptor.
    pub(in crate::publish) fn layer(&mut self, layer: Layer) -> Value {
        let mut descriptor = self.blob(layer.media_type, layer.bytes);
        if let Some(title) = layer.title {
            let digest = descriptor["digest"].as_str().unwrap_or_default().to_string();
            descriptor["annotations"] = json!({"org.opencontainers.image.title": title});
            self.titles.insert(digest, title);
        }
        descriptor
    }

    /// What people call the blob of that digest.
    pub(in crate::publish) fn label(&self, digest: &str) -> String {
        let title = self.titles.get(digest);
        title.cloned().unwrap_or_else(|| format!("blob {digest}"))
    }

    /// Adds a manifest over blobs that are there, and gives its descriptor.
    pub(in crate::publish) fn manifest(&mut self, manifest: &Value) -> Result<Value> {
        let bytes = serde_json::to_vec(manifest)?;
        let descriptor = descriptor(MANIFEST, &bytes);
        let subject = manifest["subject"]["digest"].as_str().map(str::to_string);
        let entry = Manifest { bytes, descriptor: descriptor.clone(), subject, tag: None };
        self.manifests.push(entry);
        Ok(descriptor)
    }

    /// Names the last manifest.
    pub(in crate::publish) fn tag(&mut self, tag: &str) {
        if let Some(last) = self.manifests.last_mut() {
            last.tag = Some(tag.to_string());
        }
    }
}
