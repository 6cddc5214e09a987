//! What builds what: the packages of each workshop, locked like every other input.
//!
//! A recipe says only where tools come from (`tools: {from: trixie}`). They are tools of the build
//! machine, whatever the guest's architecture is: other architectures are compiled for across.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::inputs::Inputs;
use super::root::{Package, Root};
use crate::lock::{Depth, MACHINE, Want};
use crate::recipe::{Arch, Firmware, Kernel, Recipe};
use crate::store::Expected;

/// What every workshop has: a shell, files, archives, and a clock that can be set ahead to show that
/// time does not matter.
const BASE: &[&str] = &[
    "base-files",
    "bash",
    "bzip2",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "libc-bin",
    "libfaketime",
    "mawk",
    "patch",
    "perl-base",
    "sed",
    "tar",
    "xz-utils",
];

const COMPILER: &[&str] = &["gcc", "g++", "libc6-dev", "make"];
const KERNEL: &[&str] =
    &["bc", "bison", "cpio", "flex", "kmod", "libelf-dev", "libssl-dev", "perl", "python3", "zstd"];
const FIRMWARE: &[&str] = &["acpica-tools", "nasm", "python3", "uuid-dev"];
const AGENT: &[&str] = &["cargo", "rustc"];

/// A build root of one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workshop {
    /// Compiles kernels.
    Kernel,
    /// Compiles edk2.
    Firmware,
    /// Compiles Rust.
    Agent,
}

impl Workshop {
    /// Its name in the lock: `tools.kernel`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "tools.kernel",
            Self::Firmware => "tools.firmware",
            Self::Agent => "tools.agent",
        }
    }

    /// Packages by name, without what they depend on: those of the workshop, and those that programs
    /// of `recipe` ask for.
    pub fn packages(self, recipe: &Recipe) -> BTreeSet<&str> {
        let own = match self {
            Self::Kernel => KERNEL,
            Self::Firmware => FIRMWARE,
            Self::Agent => AGENT,
        };
        let asked = recipe.cargo_programs().flat_map(|program| &program.needs);
        let asked = asked.filter(|_| self == Self::Agent).map(String::as_str);
        let cross: &[&str] = match (self, recipe.arch) {
            (Self::Kernel, Arch::Aarch64) => &["gcc-aarch64-linux-gnu"],
            (Self::Kernel, Arch::S390x) => &["gcc-s390x-linux-gnu"],
            _ => &[],
        };
        [BASE, COMPILER, own, cross].concat().into_iter().chain(asked).collect()
    }

    /// The workshops that `recipe` needs.
    pub fn of(recipe: &Recipe) -> Vec<Self> {
        let edk2 = |firmware: &Firmware| matches!(firmware, Firmware::Edk2(_));
        let programs = recipe.cargo_programs().next().is_some();
        let needed = [
            (Self::Kernel, matches!(recipe.kernel, Some(Kernel::Linux(_)))),
            (Self::Firmware, recipe.firmware.values().any(edk2)),
            (Self::Agent, programs && recipe.tools.is_some()),
        ];
        needed.into_iter().filter(|(_, needed)| *needed).map(|(workshop, _)| workshop).collect()
    }
}

/// The packages that building `recipe` asks for, to be locked with those that it names.
pub fn wants(recipe: &Recipe) -> Vec<Want> {
    let Some(tools) = &recipe.tools else { return Vec::new() };
    let want = |workshop: Workshop, name: &str| Want {
        source: tools.from.clone(),
        target: MACHINE.into(),
        name: name.into(),
        depth: Depth::All,
        why: workshop.name().into(),
    };
    let workshops = Workshop::of(recipe);
    let mut wants: Vec<_> = workshops
        .into_iter()
        .flat_map(|workshop| {
            let packages = workshop.packages(recipe).into_iter();
            packages.map(move |name| want(workshop, name))
        })
        .collect();
    wants.sort();
    wants
}

/// The build roots that the recipe needs, one after the other: making one takes all CPUs, and half
/// a gigabyte of memory.
///
/// # Errors
/// The recipe does not say where tools come from, the lock lacks one, or a root cannot be made.
pub fn roots(inputs: Inputs<'_>) -> Result<BTreeMap<Workshop, Root>> {
    let workshops = Workshop::of(inputs.recipe).into_iter();
    workshops.map(|workshop| Ok((workshop, root(inputs, workshop)?))).collect()
}

/// The build root of `workshop`, out of the lock.
fn root(inputs: Inputs<'_>, workshop: Workshop) -> Result<Root> {
    let tools = inputs.recipe.tools.as_ref().with_context(|| {
        "the recipe builds from source and does not say where tools come from; add for example \
         `tools: {from: trixie}`"
    })?;
    ensure!(
        cfg!(target_arch = "x86_64"),
        "tools are locked for {MACHINE}: building from source needs such a machine, or a build \
         with prebuilt firmware and kernel"
    );
    let mut packages = BTreeSet::new();
    for name in workshop.packages(inputs.recipe) {
        let closure = inputs.lock.closure(&tools.from, MACHINE, name);
        ensure!(
            !closure.is_empty(),
            "the lock has no package {name} of {} for {}; run `guestsmith lock`",
            tools.from,
            workshop.name()
        );
        packages.extend(closure.into_iter().map(|package| Package {
            name: package.name.clone(),
            version: package.version.clone(),
            deb: Expected { sha256: package.sha256, size: package.size },
        }));
    }
    Root::of(inputs.store, &packages.into_iter().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> Recipe {
        let text = format!("name: a\nepoch: 2026-11-01T00:00:00Z\n{text}");
        let none = |_: &str| Err("none".to_string());
        crate::recipe::parse("a.yaml", text.as_bytes(), &none).expect("a recipe").recipe
    }

    #[test]
    fn another_architecture_is_compiled_for_across() {
        let (native, foreign) = (recipe("arch: x86_64"), recipe("arch: s390x"));
        let native = Workshop::Kernel.packages(&native);
        let across = Workshop::Kernel.packages(&foreign);
        let more: Vec<_> = across.difference(&native).copied().collect();
        assert_eq!(more, ["gcc-s390x-linux-gnu"]);
    }

    #[test]
    fn a_program_gets_the_packages_that_it_asks_for() {
        let recipe = recipe(
            "arch: x86_64\nsources: {a: {local: a}}\n\
             initrd: {programs: [{cargo: {source: a, bin: a, needs: [protobuf-compiler]}}]}",
        );
        assert!(Workshop::Agent.packages(&recipe).contains("protobuf-compiler"));
        assert!(!Workshop::Kernel.packages(&recipe).contains("protobuf-compiler"));
        assert!(!Workshop::Firmware.packages(&recipe).contains("rustc"));
    }
}
