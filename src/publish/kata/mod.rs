//! Hand-over to Kata Containers: for the configurations `qemu-snp` and `qemu-tdx` a drop-in that
//! starts this build, the command line that the runtime will make of it, and the registers that
//! follow; a payload that brings the files to a node, and the resources that install it.
//!
//! The runtime assembles the kernel command line itself, so what a build predicts for its own is
//! not what kata boots. How it does so stands in [`runtime`], by pinned version.

mod cmdline;
mod deploy;
mod dropin;
mod payload;
mod predict;
mod runtime;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::files::place;
use super::{Content, Destination, Report, Target};
use cmdline::Root;
use runtime::Runtime;

/// The row of this destination.
pub(super) const DESTINATION: Destination = Destination {
    name: "kata",
    about: "a hand-over to Kata Containers: --to kata --place DIR --runtime 4.1.0 --payload REF",
    publish,
};

/// What the hand-over needs beside the build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Version of kata: `4.1.0`.
    pub runtime: Option<String>,
    /// Where the payload will be pushed: `registry.example/guests/payload`.
    pub payload: Option<String>,
    /// OCI layout of kata-deploy's own image, which the payload is laid upon.
    pub base: Option<PathBuf>,
    /// Root file system as an image, instead of the build's initrd.
    pub image: Option<Image>,
}

/// A root file system that dm-verity protects.
#[derive(Debug, Clone)]
pub struct Image {
    /// The file: two partitions, data and hashes.
    pub path: PathBuf,
    /// Its parameters, as kata's `kernel_verity_params`.
    pub verity: String,
    /// Its file system: `ext4`, `erofs`, `xfs`.
    pub kind: String,
}

/// A configuration of kata that starts guests of one TEE.
struct Shim {
    /// Its name: `qemu-snp`.
    name: &'static str,
    /// The TEE, by its name here.
    tee: &'static str,
    /// What tells runtimes of one recipe apart.
    short: &'static str,
    /// CPU model that the runtime passes, where it is measured (`qemu_amd64.go`, `cpuModel`).
    cpu: Option<&'static str>,
}

const SHIMS: &[Shim] = &[
    Shim { name: "qemu-snp", tee: "sev-snp", short: "snp", cpu: Some("EPYC-v4") },
    Shim { name: "qemu-tdx", tee: "tdx", short: "tdx", cpu: None },
];

/// One build under one configuration.
struct HandOver<'a> {
    shim: &'static Shim,
    runtime: &'static Runtime,
    /// Name of the recipe.
    name: &'a str,
    /// File of the firmware in the build.
    firmware: String,
    root: Root,
    /// The recipe's own parameters.
    parameters: Vec<String>,
    /// Numbers of vCPUs and sizes of memory that are predicted, ascending.
    vcpus: Vec<u32>,
    memory: Vec<u64>,
}

impl HandOver<'_> {
    /// Name of the handler and of the runtime class.
    fn handler(&self) -> String {
        format!("kata-{}-{}", self.name, self.shim.short)
    }

    /// Where a file of the build stands on a node.
    fn on_node(&self, file: &str) -> String {
        format!("{}/{}/{file}", payload::DIRECTORY, self.name)
    }
}

fn publish(content: &Content, target: &Target) -> Result<Report> {
    let Some(build) = &content.artifacts else {
        bail!("kata gets files: name the output directory of `guestsmith build`");
    };
    let runtime = runtime::runtime(target.kata.runtime.as_deref())?;
    let reference = target.kata.payload.as_deref().unwrap_or("REGISTRY/guestsmith-payload");
    let mut report = Report::default();
    let files = Files::read(build, content, &target.kata)?;
    let mut overs = Vec::new();
    for shim in SHIMS {
        overs.extend(files.over(shim, runtime, content)?);
    }
    if overs.is_empty() {
        bail!("the build has no machine with sev-snp or tdx: kata starts no other of its guests");
    }
    let document = predict::document(&content.document, &files, &overs)?;
    report.warnings.extend(runtime.warnings());
    let payload = payload::images(&files, &overs, &target.kata, &mut report)?;
    let deployed = deploy::Payload { reference, digest: payload.digest()? };
    let mut texts = Vec::new();
    for over in &overs {
        texts.push((format!("{}.toml", over.shim.name), dropin::text(over)));
        texts.extend(cmdline::files(over));
    }
    texts.push(("reference-values.json".to_string(), document.to_text()?));
    texts.push(("ccruntime.yaml".to_string(), deploy::ccruntime(&overs, &deployed)));
    texts.push(("values.yaml".to_string(), deploy::values(&overs, &deployed)));
    let dir = Path::new(&target.place);
    for (name, text) in &texts {
        report.note(name, place(dir, name, text.as_bytes(), target.dry_run)?);
    }
    payload.write(&dir.join("payload"), target.dry_run, &mut report)?;
    Ok(report)
}

/// Files of a build that boot.
struct Files {
    kernel: Vec<u8>,
    initrd: Option<Vec<u8>>,
    cmdline: String,
    firmware: Vec<(String, Vec<u8>)>,
    image: Option<(Image, Vec<u8>)>,
    time: u32,
}

impl Files {
    fn read(dir: &Path, content: &Content, options: &Options) -> Result<Self> {
        let document = &content.document;
        let artifact = |name: &str| -> Result<Option<Vec<u8>>> {
            let known = document.artifacts.iter().find(|artifact| artifact.name == name);
            known.map(|artifact| super::bundle::artifact(dir, artifact)).transpose()
        };
        let kernel = artifact("vmlinuz")?.context("the build has no kernel (vmlinuz)")?;
        let cmdline = artifact("cmdline")?.unwrap_or_default();
        let image = options.image.as_ref().map(|image| {
            let path = image.path.display();
            let bytes = std::fs::read(&image.path).with_context(|| format!("cannot read {path}"));
            Ok::<_, anyhow::Error>((image.clone(), bytes?))
        });
        let initrd = artifact("initrd.img")?;
        if initrd.is_none() && image.is_none() {
            bail!("the build has no initrd and no --image was named: kata needs one of both");
        }
        let mut firmware = Vec::new();
        for known in &document.artifacts {
            if known.name.starts_with("firmware-") {
                firmware.push((known.name.clone(), super::bundle::artifact(dir, known)?));
            }
        }
        let epoch = document.recipe.as_ref().map_or("", |recipe| &recipe.epoch);
        Ok(Self {
            kernel,
            initrd,
            cmdline: String::from_utf8(cmdline).context("the command line is no text")?,
            firmware,
            image: image.transpose()?,
            time: crate::recipe::seconds(epoch).context("the build has no epoch")?,
        })
    }

    /// The build under `shim`, if it has machines of that TEE.
    fn over<'a>(
        &self,
        shim: &'static Shim,
        runtime: &'static Runtime,
        content: &'a Content,
    ) -> Result<Option<HandOver<'a>>> {
        let machines: Vec<_> = content.document.of_tee(shim.tee).collect();
        let mut names: Vec<_> = machines.iter().filter_map(|m| m.firmware.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        let firmware = match names[..] {
            [] if machines.is_empty() => return Ok(None),
            [name] => crate::assemble::direct::firmware_file(name),
            _ => bail!(
                "{} has one firmware, the build's {} machines have {}: {}",
                shim.name,
                shim.tee,
                names.len(),
                names.join(", ")
            ),
        };
        let root = match &self.image {
            Some((image, _)) => Root::image(image)?,
            None => Root::Initrd,
        };
        let sorted = |mut numbers: Vec<u64>| {
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let vcpus = machines.iter().filter_map(|m| m.vcpus.map(u64::from)).collect();
        let vcpus = sorted(vcpus).into_iter().filter_map(|n| u32::try_from(n).ok()).collect();
        let over = HandOver {
            shim,
            runtime,
            name: content.document.name(),
            firmware,
            root,
            parameters: cmdline::parameters(&self.cmdline)?,
            vcpus,
            memory: sorted(machines.iter().filter_map(|m| m.memory).collect()),
        };
        cmdline::check(&over, &self.kernel)?;
        Ok(Some(over))
    }

    fn firmware(&self, name: &str) -> Result<&[u8]> {
        let found = self.firmware.iter().find(|(known, _)| known == name);
        Ok(&found.with_context(|| format!("the build has no {name}"))?.1)
    }
}

#[cfg(test)]
mod tests;
