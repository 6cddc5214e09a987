//! What the machines of a recipe will report when they launch its boot set, as one document.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use rayon::prelude::*;

use super::materials;
use super::output;
use super::tee_image::MAKERS;
use crate::build::artifacts::Artifacts;
use crate::build::inputs::Inputs;
use crate::digest::Sha256;
use crate::measure::{self, Guest, Measurement, Tee};
use crate::recipe::{MachineSpec, Recipe};
use crate::reference::{self, Document, Machine};

/// The canonical document of a build: the boot set `files`, and every machine of the recipe with
/// the registers that it will report. `lock` is the digest of the lock file.
///
/// # Errors
/// A machine cannot be measured: its TEE needs something that the recipe lacks. A `Cargo.lock` of a
/// program cannot be read.
pub fn document(
    inputs: Inputs<'_>,
    artifacts: &Artifacts,
    files: &BTreeMap<String, &[u8]>,
    lock: Sha256,
) -> Result<Document> {
    let recipe = inputs.recipe;
    let mut document = Document::of_machines(machines(recipe, artifacts)?);
    document.recipe = Some(reference::Recipe {
        name: recipe.name.clone(),
        arch: arch(recipe),
        epoch: recipe.epoch.clone(),
        sha256: recipe.digest().to_string(),
        lock_sha256: lock.to_string(),
    });
    document.artifacts = output::artifacts(files);
    document.materials = materials::of(inputs)?;
    Ok(document)
}

/// The kernel's name of the architecture, as the recipe has it.
fn arch(recipe: &Recipe) -> String {
    let name = serde_json::to_value(recipe.arch).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_string()
}

/// Registers of every machine that the recipe lists.
///
/// # Errors
/// As [`document`].
pub fn machines(recipe: &Recipe, artifacts: &Artifacts) -> Result<Vec<Machine>> {
    let entries: Vec<_> = recipe.machines.iter().flatten().collect();
    let measured = entries.par_iter().map(|(name, spec)| {
        let of_tee = || of_tee(measure::tee(name)?, spec, artifacts);
        of_tee().with_context(|| format!("cannot measure {name}"))
    });
    Ok(measured.collect::<Result<Vec<_>>>()?.concat())
}

/// What the recipe's machines boot beside the files of the boot set, and needs no secret: device
/// trees of realms, enclave images. A file that differs between machines has the machine's name.
///
/// # Errors
/// As [`document`].
pub fn shipped(recipe: &Recipe, artifacts: &Artifacts) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut made: BTreeMap<&str, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (name, spec) in recipe.machines.iter().flatten() {
        let makers = MAKERS.iter().filter(|maker| maker.tee == name && !maker.secret);
        for maker in makers {
            let tee = measure::tee(name)?;
            let firmware = firmware(spec, artifacts).and_then(|name| artifacts.firmware.get(name));
            let guest = guest(tee, artifacts, firmware.map(Vec::as_slice));
            for machine in spec.machines(tee)? {
                let label =
                    slug(&Machine::new(tee.name, &machine, &Measurement::default()).label());
                for (file, bytes) in (maker.make)(&guest, &machine)? {
                    made.entry(file).or_default().insert(label.clone(), bytes);
                }
            }
        }
    }
    Ok(made.into_iter().flat_map(|(file, variants)| named(file, variants)).collect())
}

/// One file where all variants are equal, else one for each, with its label in the name.
fn named(file: &str, variants: BTreeMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let mut contents: Vec<_> = variants.values().collect();
    contents.dedup();
    match (contents.len(), file.rsplit_once('.')) {
        (2.., Some((stem, ending))) => variants
            .into_iter()
            .map(|(label, bytes)| (format!("{stem}-{label}.{ending}"), bytes))
            .collect(),
        _ => variants.into_values().take(1).map(|bytes| (file.to_string(), bytes)).collect(),
    }
}

/// A label in the characters of a file name.
fn slug(label: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    label.chars().map(safe).collect()
}

fn of_tee(tee: &Tee, spec: &MachineSpec, artifacts: &Artifacts) -> Result<Vec<Machine>> {
    let machines = spec.machines(tee)?;
    let name = firmware(spec, artifacts);
    let firmware = name.and_then(|name| artifacts.firmware.get(name));
    let found = (tee.expect)(&guest(tee, artifacts, firmware.map(Vec::as_slice)), &machines)?;
    let reads_firmware = tee.reads.contains(&measure::guest::FIRMWARE);
    let entry = |(machine, measurement): (_, _)| {
        let mut entry = Machine::new(tee.name, machine, measurement);
        entry.firmware = name.filter(|_| reads_firmware).map(String::from);
        entry
    };
    Ok(machines.iter().zip(&found).map(entry).collect())
}

/// The firmware that the machines start with: the stated one, or the recipe's only one.
fn firmware<'a>(spec: &'a MachineSpec, artifacts: &'a Artifacts) -> Option<&'a str> {
    let only = || match artifacts.firmware.len() {
        1 => artifacts.firmware.keys().next().map(String::as_str),
        _ => None,
    };
    spec.firmware.as_deref().or_else(only)
}

/// Of the boot set what the TEE reads.
fn guest<'a>(tee: &Tee, artifacts: &'a Artifacts, firmware: Option<&'a [u8]>) -> Guest<'a> {
    let reads = |file| tee.reads.contains(&file);
    let mut guest = Guest::default();
    if reads(measure::guest::FIRMWARE) {
        guest.firmware = firmware;
    }
    let read = |(name, _): &(&str, &[u8])| tee.reads.iter().any(|file| file.name == *name);
    let loaders = artifacts.loaders.iter().map(|(name, file)| (name.as_str(), file.as_slice()));
    guest.others.extend(loaders.filter(read));
    if reads(measure::guest::KERNEL) {
        guest.kernel = artifacts.kernel.as_deref();
    }
    if reads(measure::guest::INITRD) {
        guest.initrd = artifacts.initrd.as_ref().map(|initrd| &initrd.bytes[..]);
    }
    if reads(measure::guest::CMDLINE) && artifacts.kernel.is_some() {
        guest.cmdline = Some(&artifacts.cmdline);
    }
    guest
}
