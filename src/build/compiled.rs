//! Firmware, kernel and agent of a recipe, from source: what the recipe and its lock say, put into
//! the steps that build it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::inputs::Inputs;
use super::root::Root;
use super::step::Builder;
use super::tools::Workshop;
use super::{agent, cargo, firmware, kernel, prebuilt};
use crate::lock;
use crate::recipe::{CargoAgent, Edk2, Linux, Source};
use crate::store::Expected;

/// What builds from source.
#[derive(Clone, Copy)]
pub struct Makers<'a> {
    /// Runs steps.
    pub builder: &'a Builder<'a>,
    /// Build roots, by purpose.
    pub roots: &'a BTreeMap<Workshop, Root>,
}

impl Makers<'_> {
    fn root(&self, workshop: Workshop) -> Result<&Root> {
        self.roots.get(&workshop).with_context(|| format!("no root for {}", workshop.name()))
    }
}

/// The firmware that `edk2` names.
///
/// # Errors
/// Its source is none of edk2, or the build fails.
pub fn firmware(inputs: Inputs<'_>, makers: Makers<'_>, edk2: &Edk2) -> Result<Vec<u8>> {
    let platform = firmware::Platform::named(&edk2.platform)?;
    let files: Vec<_> = inputs.lock.files_of(&edk2.source).collect();
    let named = |part: &str| files.iter().find(|file| file.name.contains(part)).copied();
    let tarball = named(".orig.tar.").or_else(|| files.iter().find(|f| is_tar(f)).copied());
    let tarball = tarball.with_context(|| format!("`{}` has no tarball of edk2", edk2.source))?;
    let sources = firmware::Edk2 {
        tarball: expected(tarball),
        debian: named(".debian.tar.").map(expected),
        version: tarball_version(&files, tarball),
        epoch: inputs.recipe.epoch_seconds(),
    };
    let root = makers.root(Workshop::Firmware)?;
    let built = firmware::build(makers.builder, root, &sources, platform)?;
    inputs.store.need(&built.sha256)
}

fn is_tar(file: &&lock::File) -> bool {
    file.name.contains(".tar")
}

/// The version of the source package, else that in the tarball's name.
fn tarball_version(files: &[&lock::File], tarball: &lock::File) -> String {
    let known = files.iter().find_map(|file| file.version.clone());
    known.unwrap_or_else(|| tarball.name.clone())
}

fn expected(file: &lock::File) -> Expected {
    Expected { sha256: file.sha256, size: file.size }
}

/// The kernel that `linux` names.
///
/// # Errors
/// Its source is none of Linux, its configuration does not hold, or the build fails.
pub fn kernel(inputs: Inputs<'_>, makers: Makers<'_>, linux: &Linux) -> Result<Vec<u8>> {
    let mut fragments = Vec::new();
    for name in &linux.config {
        fragments.extend(
            fragment(inputs, name).with_context(|| format!("kernel.linux.config: {name}"))?,
        );
    }
    let sources = kernel::Linux {
        tarball: linux_tarball(inputs, makers.builder, &linux.source)?,
        fragments: &fragments,
        arch: inputs.recipe.arch,
        epoch: inputs.recipe.epoch_seconds(),
    };
    let root = makers.root(Workshop::Kernel)?;
    let built = kernel::build(makers.builder, root, &sources)?;
    inputs.store.need(&built.image.sha256)
}

/// A fragment of the recipe's own is a path; others come with guestsmith.
fn fragment(inputs: Inputs<'_>, name: &str) -> Result<Vec<kernel::Fragment>> {
    if !name.contains('/') {
        return kernel::named(name, inputs.recipe.arch);
    }
    let text = String::from_utf8(inputs.read(name)?).context("the fragment is no UTF-8")?;
    Ok(vec![kernel::Fragment { name: name.into(), text }])
}

/// The tarball of a source: a file in a package, of a Debian source package, or at a URL.
fn linux_tarball(inputs: Inputs<'_>, builder: &Builder<'_>, source: &str) -> Result<Expected> {
    match inputs.recipe.sources.get(source) {
        Some(Source::Package(package)) => {
            let (_, bytes) = prebuilt::file(inputs, package)?;
            builder.bytes(&bytes)
        }
        Some(Source::Archive(_) | Source::DebianSource(_)) => {
            let mut files = inputs.lock.files_of(source).filter(is_tar);
            let file = files.find(|file| !file.name.contains(".debian.tar."));
            file.map(expected).with_context(|| format!("`{source}` has no tarball of Linux"))
        }
        Some(_) => bail!("`{source}` is no source of Linux: take a `package`, or an `archive`"),
        None => bail!("there is no source `{source}`"),
    }
}

/// The agent that `wanted` names.
///
/// # Errors
/// Its source is no crate beside the recipe, a crate is not in the store, or the build fails.
pub fn agent(inputs: Inputs<'_>, makers: Makers<'_>, wanted: &CargoAgent) -> Result<Vec<u8>> {
    let Some(Source::Local(path)) = inputs.recipe.sources.get(&wanted.source) else {
        bail!("`{}`: an agent is built from a local source only, so far", wanted.source);
    };
    let sources = agent::sources(&inputs.beside(path))?;
    let program = cargo::Program {
        sources: &sources,
        bin: &wanted.bin,
        arch: inputs.recipe.arch,
        epoch: inputs.recipe.epoch_seconds(),
    };
    let root = makers.root(Workshop::Agent)?;
    let built = cargo::build(makers.builder, root, &program)?;
    let binary = inputs.store.need(&built.sha256)?;
    agent::ensure_static(&binary, &wanted.bin)?;
    Ok(binary)
}

/// Crates that the agent of the recipe is built from; none where it is not built from source by
/// locked tools.
///
/// # Errors
/// Its `Cargo.lock` cannot be read, or pins a crate by no hash.
pub fn crates(inputs: Inputs<'_>) -> Result<Vec<cargo::Pinned>> {
    if !Workshop::of(inputs.recipe).contains(&Workshop::Agent) {
        return Ok(Vec::new());
    }
    let agent = inputs.recipe.initrd.as_ref().and_then(|initrd| initrd.agent.as_ref());
    let Some(crate::recipe::Agent::Cargo(CargoAgent { source, .. })) = agent else {
        return Ok(Vec::new());
    };
    let Some(Source::Local(path)) = inputs.recipe.sources.get(source) else {
        return Ok(Vec::new());
    };
    let text = inputs.read(&format!("{path}/Cargo.lock"))?;
    cargo::pinned(&String::from_utf8_lossy(&text))
}
