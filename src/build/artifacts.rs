//! All artifacts of a recipe: each taken ready from its locked package, read from beside the recipe,
//! or built.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use rayon::prelude::*;

use super::compiled::{self, Makers};
use super::inputs::Inputs;
use super::step::Builder;
use super::{agent, initrd, layers, prebuilt, tools};
use crate::recipe::{Agent, CargoAgent, Firmware, Kernel, Loader, PackageFile, Source};
use crate::sandbox::host::Host;
use crate::store::Expected;

/// What a recipe's firmware, kernel, initrd and command line have become.
#[derive(Debug, Clone, Default)]
pub struct Artifacts {
    /// Firmware images by the recipe's names.
    pub firmware: BTreeMap<String, Vec<u8>>,
    /// Loaders by the recipe's names.
    pub loaders: BTreeMap<String, Vec<u8>>,
    /// The kernel, whole and unpatched.
    pub kernel: Option<Vec<u8>>,
    /// The configuration of a kernel that was built from source.
    pub kernel_config: Option<Vec<u8>>,
    /// The initial RAM disk.
    pub initrd: Option<initrd::Image>,
    /// The kernel command line, without terminator.
    pub cmdline: String,
}

/// Builds the artifacts: from source by `builder`, and by the tools of `host` an agent for which the
/// recipe locks no tools.
///
/// # Errors
/// An input is missing or broken, or an artifact is not what it must be.
pub fn build(inputs: Inputs<'_>, host: &Host, builder: &Builder<'_>) -> Result<Artifacts> {
    let roots = &tools::roots(inputs)?;
    let makers = Makers { builder, roots };
    let cmdline = inputs.recipe.cmdline.join(" ");
    let firmware = || {
        let images = inputs.recipe.firmware.par_iter().map(|(name, wanted)| {
            let image =
                firmware(inputs, makers, wanted).with_context(|| format!("firmware.{name}"))?;
            Ok((name.clone(), image))
        });
        images.collect::<Result<BTreeMap<_, _>>>()
    };
    let loaders = inputs.recipe.loaders.iter().map(|(name, wanted)| {
        let file = loader(inputs, wanted).with_context(|| format!("loaders.{name}"))?;
        Ok((name.clone(), file))
    });
    let loaders = loaders.collect::<Result<_>>()?;
    let kernel = || {
        let kernel = inputs.recipe.kernel.as_ref();
        kernel.map(|wanted| kernel_of(inputs, makers, wanted).context("kernel")).transpose()
    };
    let initrd = || {
        let Some(wanted) = &inputs.recipe.initrd else { return Ok(None) };
        let programs = inputs.recipe.programs().map(|wanted| {
            let context = || format!("the program of /{}", initrd::place(wanted));
            let binary = program(inputs, makers, wanted, host).with_context(context)?;
            Ok((initrd::place(wanted), binary))
        });
        let programs = programs.collect::<Result<Vec<_>>>()?;
        initrd::build(inputs, wanted, programs).context("initrd").map(Some)
    };
    let (firmware, (kernel, initrd)) = rayon::join(firmware, || rayon::join(kernel, initrd));
    let (kernel, kernel_config) =
        kernel?.map_or((None, None), |(image, config)| (Some(image), config));
    let (firmware, initrd) = (firmware?, initrd?);
    Ok(Artifacts { firmware, loaders, kernel, kernel_config, initrd, cmdline })
}

fn firmware(inputs: Inputs<'_>, makers: Makers<'_>, wanted: &Firmware) -> Result<Vec<u8>> {
    let image = match wanted {
        Firmware::Package(package) => from_package(inputs, package)?,
        Firmware::File(path) => inputs.read(path)?,
        Firmware::Edk2(edk2) => compiled::firmware(inputs, makers, edk2)?,
    };
    prebuilt::check_firmware(&image)?;
    Ok(image)
}

fn loader(inputs: Inputs<'_>, wanted: &Loader) -> Result<Vec<u8>> {
    match wanted {
        Loader::Package(package) => from_package(inputs, package),
        Loader::File(path) => inputs.read(path),
    }
}

/// The kernel, and its configuration if it is built here.
fn kernel_of(
    inputs: Inputs<'_>,
    makers: Makers<'_>,
    wanted: &Kernel,
) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let (image, config) = match wanted {
        Kernel::Package(package) => (from_package(inputs, package)?, None),
        Kernel::File(path) => (inputs.read(path)?, None),
        Kernel::Linux(linux) => {
            let built = compiled::kernel(inputs, makers, linux)?;
            let read = |part: Expected| inputs.store.need(&part.sha256);
            (read(built.image)?, Some(read(built.config)?))
        }
    };
    prebuilt::check_kernel(inputs.recipe.arch, &image, &inputs.recipe.cmdline.join(" "))?;
    Ok((image, config))
}

fn from_package(inputs: Inputs<'_>, package: &PackageFile) -> Result<Vec<u8>> {
    prebuilt::file(inputs, inputs.recipe.arch.debian(), package).map(|(_, bytes)| bytes)
}

fn program(inputs: Inputs<'_>, makers: Makers<'_>, wanted: &Agent, host: &Host) -> Result<Vec<u8>> {
    let CargoAgent { source, bin, .. } = match wanted {
        Agent::File(path) => return inputs.read(path),
        Agent::From(file) => return layers::file(inputs, file),
        Agent::Cargo(cargo) if inputs.recipe.tools.is_some() => {
            return compiled::program(inputs, makers, cargo);
        }
        Agent::Cargo(cargo) => cargo,
    };
    match inputs.recipe.sources.get(source) {
        Some(Source::Local(path)) => {
            let (dir, arch) = (inputs.beside(path), inputs.recipe.arch);
            agent::build(host, inputs.store, agent::Crate { dir: &dir, bin, arch })
        }
        Some(_) => bail!(
            "`{source}` is built in the sandbox, by tools that are locked; add for example \
             `tools: {{from: trixie}}`"
        ),
        None => bail!("there is no source `{source}`"),
    }
}
