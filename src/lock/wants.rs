//! Which packages a recipe asks for.

use crate::recipe::{
    Deb, FileEntry, Firmware, Initrd, Kernel, Loader, PackageEntry, PackageFile, Recipe, Source,
};

/// Debian's name of the architecture that builds, whatever the guest's is: tools and sources are for
/// it.
pub const MACHINE: &str = "amd64";

/// How much of what a package depends on is wanted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Nothing.
    Alone,
    /// Packages of the same source package that it depends on in exactly its own version: what a
    /// metapackage such as `linux-image-cloud-amd64` stands for.
    Own,
    /// Everything.
    All,
}

/// A package that is asked for by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Source of the recipe that it comes from.
    pub source: String,
    /// Architecture that it is for, by Debian's name.
    pub target: String,
    /// Name of the package.
    pub name: String,
    /// How much comes with it.
    pub depth: Depth,
    /// The place of the recipe that asks.
    pub why: String,
}

/// The packages that `recipe` asks for by name, sorted.
pub fn wants(recipe: &Recipe) -> Vec<Want> {
    let file_for = |target: &str, package: &PackageFile, why: String| Want {
        source: package.from.clone(),
        target: target.into(),
        name: package.name.clone(),
        depth: Depth::Own,
        why,
    };
    let file = |package: &PackageFile, why| file_for(recipe.arch.debian(), package, why);
    let sources = recipe.sources.iter().filter_map(|(name, source)| match source {
        Source::Package(package) => Some(file_for(MACHINE, package, format!("sources.{name}"))),
        _ => None,
    });
    let firmware = recipe.firmware.iter().filter_map(|(name, firmware)| match firmware {
        Firmware::Package(package) => Some(file(package, format!("firmware.{name}"))),
        _ => None,
    });
    let loaders = recipe.loaders.iter().filter_map(|(name, loader)| match loader {
        Loader::Package(package) => Some(file(package, format!("loaders.{name}"))),
        Loader::File(_) => None,
    });
    let kernel = match &recipe.kernel {
        Some(Kernel::Package(package)) => Some(file(package, "kernel".into())),
        _ => None,
    };
    let initrd = recipe.initrd.iter().flat_map(|initrd| of_initrd(recipe, initrd));
    let mut wants: Vec<_> =
        sources.chain(firmware).chain(loaders).chain(kernel).chain(initrd).collect();
    wants.sort();
    wants.dedup();
    wants
}

fn of_initrd(recipe: &Recipe, initrd: &Initrd) -> Vec<Want> {
    let want = |name: &str, from: &str, depth, why: &str| Want {
        source: from.into(),
        target: recipe.arch.debian().into(),
        name: name.into(),
        depth,
        why: why.into(),
    };
    let packages = initrd.packages.iter().map(|PackageEntry::Deb(Deb { name, from, only })| {
        let depth = if only.is_empty() { Depth::All } else { Depth::Alone };
        want(name, from, depth, "initrd.packages")
    });
    let concat = |(place, entry): (&str, &FileEntry)| match entry {
        FileEntry::Concat(concat) => Some(want(&concat.package, &concat.from, Depth::Alone, place)),
        _ => None,
    };
    let files = initrd.files.iter().map(|entry| ("initrd.files", entry));
    let early = initrd.early.iter().map(|entry| ("initrd.early", entry));
    packages.chain(files.chain(early).filter_map(concat)).collect()
}
