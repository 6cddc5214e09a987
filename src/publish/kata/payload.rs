//! The payload: an image that kata-deploy runs from, as an OCI layout. One layer of ours holds the
//! build's files in the form that the pinned kata-deploy installs; the layers below are those of
//! kata-deploy's own image, where its layout is at hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::oci::{self, Images, Layer};
use super::super::{Report, State};
use super::runtime::Carried;
use super::{Files, HandOver, Options, dropin};
use crate::build::codec::{self, Form};
use crate::digest::Sha256;
use crate::format::tar::{self, Member};

/// Directory of builds on a node.
pub(super) const DIRECTORY: &str = "/opt/kata/share/guestsmith";
/// Names of files there.
pub(super) const KERNEL: &str = "vmlinuz";
/// The initrd.
pub(super) const INITRD: &str = "initrd.img";
/// The root file system, where it is an image.
pub(super) const IMAGE: &str = "rootfs.img";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Name of our component in kata-deploy's terms.
const COMPONENT: &str = "guestsmith";

/// An image, and the blobs that it takes from another layout.
pub(super) struct Payload {
    images: Images,
    below: Vec<PathBuf>,
}

impl Payload {
    /// Digest of the image's manifest.
    pub(super) fn digest(&self) -> Result<String> {
        let manifest = self.images.manifests.first().context("the payload has no manifest")?;
        Ok(manifest.descriptor["digest"].as_str().unwrap_or_default().to_string())
    }

    /// Writes the layout; blobs of the other layout are copied.
    pub(super) fn write(&self, dir: &Path, dry_run: bool, report: &mut Report) -> Result<()> {
        for from in &self.below {
            let name = from.file_name().unwrap_or_default();
            let to = dir.join("blobs/sha256").join(name);
            let label = format!("payload blob {} (kata-deploy's)", name.to_string_lossy());
            if to.exists() {
                report.note(&label, State::Unchanged);
            } else if dry_run {
                report.note(&label, State::Planned(format!("copy of {}", from.display())));
            } else {
                let what = || format!("cannot copy {} to {}", from.display(), to.display());
                fs::create_dir_all(dir.join("blobs/sha256")).with_context(what)?;
                fs::copy(from, &to).with_context(what)?;
                report.note(&label, State::Written);
            }
        }
        oci::write(dir, &self.images, dry_run, report)
    }
}

/// The payload of `overs`.
pub(super) fn images(
    files: &Files,
    overs: &[HandOver<'_>],
    options: &Options,
    report: &mut Report,
) -> Result<Payload> {
    let layer = tar::write(&contents(files, overs)?, files.time)?;
    let diff = format!("sha256:{}", Sha256::of(&layer));
    let mut images = Images::default();
    let layer = images.layer(Layer { title: None, media_type: LAYER, bytes: layer });
    let base = options.base.as_deref().map(Base::read).transpose()?;
    if base.is_none() {
        report.warnings.push(
            "the payload holds only this build: lay it upon kata-deploy's own image with --base \
             LAYOUT (skopeo copy docker://quay.io/kata-containers/kata-deploy:VERSION oci:LAYOUT)"
                .to_string(),
        );
    }
    let base = base.unwrap_or_default();
    let mut config = base.config;
    append(&mut config["rootfs"]["diff_ids"], json!(diff));
    append(&mut config["history"], json!({"created_by": "guestsmith publish --to kata"}));
    let config = images.blob(CONFIG, serde_json::to_vec(&config)?);
    let mut layers = base.layers;
    layers.push(layer);
    images.manifest(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    }))?;
    images.tag(overs.first().map_or("latest", |over| over.runtime.version));
    Ok(Payload { images, below: base.blobs })
}

fn append(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// Files of our layer by path.
fn contents(files: &Files, overs: &[HandOver<'_>]) -> Result<BTreeMap<String, Member>> {
    let member = |bytes: Vec<u8>| Member { mode: 0o644, bytes };
    let mut layer = BTreeMap::new();
    let mut list = String::new();
    for over in overs {
        let handler = over.handler();
        list += &format!("{handler}:{}:nydus:guest-pull\n", over.shim.name);
        let name = format!("custom-configs/dropin-{handler}.toml");
        layer.insert(name, member(dropin::text(over).into_bytes()));
    }
    layer.insert("custom-configs/custom-runtimes.list".to_string(), member(list.into_bytes()));
    let installed = installed(files, overs)?;
    let Some(first) = overs.first() else { return Ok(layer) };
    match first.runtime.carried {
        Carried::Tree => {
            let below = |(path, member)| (format!("opt/kata-artifacts/{path}"), member);
            layer.extend(installed.into_iter().map(below));
        }
        Carried::Components => {
            let archive = tar::write(&installed, files.time)?;
            let archive = codec::compress(Form::Zstd(3), archive.len() as u64, 1, |out| {
                Ok(out.write_all(&archive)?)
            })?;
            let name = format!("opt/kata-artifacts/tarballs/kata-static-{COMPONENT}.tar.zst");
            layer.insert(name, member(archive));
            let components = serde_json::to_vec(&components(overs))?;
            let name = "opt/kata-artifacts/shim-components.json".to_string();
            layer.insert(name, member(components));
        }
    }
    Ok(layer)
}

/// Files of a node by path, without the first slash.
fn installed(files: &Files, overs: &[HandOver<'_>]) -> Result<BTreeMap<String, Member>> {
    let mut installed = BTreeMap::new();
    for over in overs {
        let mut put = |name: &str, bytes: &[u8]| {
            let path = over.on_node(name).trim_start_matches('/').to_string();
            installed.insert(path, Member { mode: 0o644, bytes: bytes.to_vec() });
        };
        put(&over.firmware, files.firmware(&over.firmware)?);
        put(KERNEL, &files.kernel);
        match (&files.image, &files.initrd) {
            (Some((_, bytes)), _) => put(IMAGE, bytes),
            (None, Some(bytes)) => put(INITRD, bytes),
            (None, None) => {}
        }
    }
    Ok(installed)
}

/// `shim-components.json` with the shims of `overs` alone, each with our component beside its own.
fn components(overs: &[HandOver<'_>]) -> Value {
    let mut shims = serde_json::Map::new();
    for over in overs {
        let mut names = over.runtime.components_of(over.shim.name).to_vec();
        names.push(COMPONENT);
        shims.insert(over.shim.name.to_string(), json!({"x86_64": names}));
    }
    json!({ "shims": shims })
}

/// Another image, whose layers ours is laid upon.
struct Base {
    config: Value,
    layers: Vec<Value>,
    blobs: Vec<PathBuf>,
}

impl Default for Base {
    fn default() -> Self {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}});
        Self { config, layers: Vec::new(), blobs: Vec::new() }
    }
}

impl Base {
    /// The image for amd64 in the layout `dir`.
    fn read(dir: &Path) -> Result<Self> {
        let index = fs::read(dir.join("index.json"));
        let index = index.with_context(|| format!("{} is no OCI layout", dir.display()))?;
        let mut found: Value = serde_json::from_slice(&index).context("index.json of --base")?;
        // An index may lead to another, with one entry a platform.
        for _ in 0..3 {
            if found.get("layers").is_some() {
                break;
            }
            let entries = found["manifests"].as_array().cloned().unwrap_or_default();
            let fits = |entry: &&Value| {
                let arch = &entry["platform"]["architecture"];
                arch.is_null() || arch == "amd64"
            };
            let entry = entries.iter().find(fits).context("--base has no image for amd64")?;
            found = serde_json::from_slice(&blob(dir, entry)?.1).context("manifest of --base")?;
        }
        let config = blob(dir, &found["config"])?.1;
        let layers = found["layers"].as_array().cloned().unwrap_or_default();
        let blobs = layers.iter().map(|layer| Ok(blob(dir, layer)?.0));
        Ok(Self {
            config: serde_json::from_slice(&config).context("configuration of --base")?,
            blobs: blobs.collect::<Result<_>>()?,
            layers,
        })
    }
}

/// The blob that `descriptor` points to, checked: its path and its bytes.
fn blob(dir: &Path, descriptor: &Value) -> Result<(PathBuf, Vec<u8>)> {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    let hex = digest.strip_prefix("sha256:").filter(|hex| crate::digest::unhex(hex).is_ok());
    let hex = hex.with_context(|| format!("--base points to `{digest}`, which is no SHA-256"))?;
    let path = dir.join("blobs/sha256").join(hex);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if Sha256::of(&bytes).to_string() != hex {
        bail!("{} is not what its name says", path.display());
    }
    Ok((path, bytes))
}
