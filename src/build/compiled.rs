//! Firmware, kernel and agent of a recipe, from source: what the recipe and its lock say, put into
//! the steps that build it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::cargo::Outside;
use super::inputs::Inputs;
use super::layers::{self, Layers};
use super::root::Root;
use super::step::Builder;
use super::tools::Workshop;
use super::{agent, cargo, firmware, kernel, prebuilt};
use crate::lock::{self, MACHINE};
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
pub fn kernel(inputs: Inputs<'_>, makers: Makers<'_>, linux: &Linux) -> Result<kernel::Image> {
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
    kernel::build(makers.builder, root, &sources)
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
            let (_, bytes) = prebuilt::file(inputs, MACHINE, package)?;
            builder.bytes(&bytes)
        }
        Some(Source::Archive(_) | Source::DebianSource(_)) => {
            let mut files = inputs.lock.files_of(source).filter(is_tar);
            let file = files.find(|file| !file.name.contains(".debian.tar."));
            file.map(expected).with_context(|| format!("`{source}` has no tarball of Linux"))
        }
        Some(Source::Git(_)) => {
            let mut commits = inputs.lock.commits.iter().filter(|commit| commit.source == source);
            let commit = commits.next().with_context(|| format!("the lock lacks `{source}`"))?;
            Ok(Expected { sha256: commit.sha256, size: commit.size })
        }
        Some(_) => {
            bail!("`{source}` is no source of Linux: take a `package`, an `archive` or a commit")
        }
        None => bail!("there is no source `{source}`"),
    }
}

/// The program that `wanted` names.
///
/// # Errors
/// Its sources hold no crate, a crate is not in the store, or the build fails.
pub fn program(inputs: Inputs<'_>, makers: Makers<'_>, wanted: &CargoAgent) -> Result<Vec<u8>> {
    let sources = sources(inputs, wanted)?;
    let program = cargo::Program {
        wanted,
        sources: &sources,
        outside: &outside(inputs, wanted)?,
        repositories: &repositories(inputs),
        arch: inputs.recipe.arch,
        epoch: inputs.recipe.epoch_seconds(),
    };
    let root = makers.root(Workshop::Agent)?;
    let built = cargo::build(makers.builder, root, &program)?;
    let binary = inputs.store.need(&built.sha256)?;
    agent::ensure_static(&binary, &wanted.bin)?;
    Ok(binary)
}

fn sources(inputs: Inputs<'_>, wanted: &CargoAgent) -> Result<cargo::Sources> {
    if let Some(Source::Local(path)) = inputs.recipe.sources.get(&wanted.source) {
        return Ok(cargo::Sources::Files(agent::sources(&inputs.beside(path))?));
    }
    let layers = layers::of(inputs, &wanted.source)?;
    match layers.archives[..] {
        [archive] => Ok(cargo::Sources::Archive(archive)),
        _ => bail!("`{}`: sources are one archive, not {}", wanted.source, layers.archives.len()),
    }
}

/// Archives of all repositories that the recipe names, by commit.
fn repositories(inputs: Inputs<'_>) -> BTreeMap<String, Expected> {
    let commits = inputs.lock.commits.iter();
    let archive = |commit: &lock::Commit| Expected { sha256: commit.sha256, size: commit.size };
    commits.map(|commit| (commit.commit.clone(), archive(commit))).collect()
}

/// What the program's `Cargo.lock` takes from outside: the lock of its directory, or of one above.
fn outside(inputs: Inputs<'_>, wanted: &CargoAgent) -> Result<Outside> {
    let dir = wanted.dir.as_deref().unwrap_or_default();
    let mut dirs: Vec<&str> = std::iter::successors(Some(dir), |dir| {
        (!dir.is_empty()).then(|| dir.rsplit_once('/').map_or("", |(parent, _)| parent))
    })
    .collect();
    dirs.dedup();
    for dir in dirs {
        let path = if dir.is_empty() { "Cargo.lock".into() } else { format!("{dir}/Cargo.lock") };
        if let Some(text) = text_of(inputs, &wanted.source, &path)? {
            return Outside::of(&text);
        }
    }
    bail!("`{}` has no Cargo.lock: its crates are not pinned", wanted.source)
}

fn text_of(inputs: Inputs<'_>, source: &str, path: &str) -> Result<Option<String>> {
    let bytes = match inputs.recipe.sources.get(source) {
        Some(Source::Local(dir)) => {
            let path = inputs.beside(dir).join(path);
            let there = path.is_file().then(|| inputs.read_at(&path));
            there.transpose()?
        }
        _ => {
            let layers = Layers { below_top: true, ..layers::of(inputs, source)? };
            layers::find(inputs, &layers, path)?
        }
    };
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Crates that the build fetches; none where the recipe names no tools to build with: then the
/// toolchain of the host fetches them.
///
/// # Errors
/// As [`pinned`].
pub fn crates(inputs: Inputs<'_>) -> Result<Vec<cargo::Pinned>> {
    match Workshop::of(inputs.recipe).contains(&Workshop::Agent) {
        true => pinned(inputs),
        false => Ok(Vec::new()),
    }
}

/// Crates that programs of the recipe are built from, by their `Cargo.lock`.
///
/// # Errors
/// A `Cargo.lock` cannot be read, or pins a crate by no hash.
pub fn pinned(inputs: Inputs<'_>) -> Result<Vec<cargo::Pinned>> {
    let mut crates = Vec::new();
    for wanted in inputs.recipe.cargo_programs() {
        crates.extend(outside(inputs, wanted)?.crates);
    }
    crates.sort();
    crates.dedup();
    Ok(crates)
}
