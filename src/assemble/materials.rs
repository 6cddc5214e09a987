//! What went into a build: everything locked, the crates that programs pin in their own `Cargo.lock`,
//! and what lies beside the recipe.

use anyhow::Result;

use crate::build::cargo::Pinned;
use crate::build::inputs::Inputs;
use crate::build::{compiled, local};
use crate::lock;
use crate::recipe::Source;
use crate::reference::Material;

/// Every input of a build.
///
/// # Errors
/// A `Cargo.lock`, or a file beside the recipe, cannot be read.
pub(super) fn of(inputs: Inputs<'_>) -> Result<Vec<Material>> {
    let lock = inputs.lock;
    let mut materials: Vec<_> = lock.packages.iter().map(package).collect();
    materials.extend(lock.files.iter().map(|found| file(found, inputs)));
    materials.extend(lock.commits.iter().map(commit));
    materials.extend(compiled::pinned(inputs)?.iter().map(pinned));
    for (path, sha256) in local::digests(inputs)? {
        let name = path.rsplit('/').next().unwrap_or(path);
        materials.push(Material { kind: "local".into(), ..material(name, None, sha256, None) });
    }
    materials.sort();
    materials.dedup();
    Ok(materials)
}

fn material(
    name: &str,
    version: Option<&str>,
    sha256: impl ToString,
    size: Option<u64>,
) -> Material {
    Material {
        kind: String::new(),
        name: name.into(),
        version: version.map(str::to_string),
        arch: None,
        sha256: sha256.to_string(),
        size,
    }
}

fn package(found: &lock::Package) -> Material {
    let material = material(&found.name, Some(&found.version), found.sha256, Some(found.size));
    Material { kind: "deb".into(), arch: Some(found.arch.clone()), ..material }
}

fn file(found: &lock::File, inputs: Inputs<'_>) -> Material {
    let (kind, name) = match inputs.recipe.sources.get(&found.source) {
        Some(Source::Crate(source)) => ("crate", source.name.as_str()),
        Some(Source::Oci(_)) => ("oci", found.name.as_str()),
        _ => ("archive", found.name.as_str()),
    };
    let version = found.version.as_deref();
    Material { kind: kind.into(), ..material(name, version, found.sha256, Some(found.size)) }
}

fn commit(found: &lock::Commit) -> Material {
    let material = material(&found.source, Some(&found.commit), found.sha256, Some(found.size));
    Material { kind: "git".into(), ..material }
}

/// Its size stands in no lock, and a toolchain outside of the sandbox fetches it itself.
fn pinned(found: &Pinned) -> Material {
    let material = material(&found.name, Some(&found.version), found.sha256, None);
    Material { kind: "crate".into(), ..material }
}
