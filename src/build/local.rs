//! What of a build lies beside the recipe, outside of the lock: which files, and their digest.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::Digest as _;

use super::inputs::Inputs;
use crate::digest::Sha256;
use crate::recipe::{Agent, FileEntry, Firmware, Kernel, Loader, Recipe, Source};
use crate::store::entries;

/// Paths that `recipe` names beside itself, sorted.
pub fn paths(recipe: &Recipe) -> Vec<&str> {
    let firmware = recipe.firmware.values().filter_map(|firmware| match firmware {
        Firmware::File(path) => Some(path),
        _ => None,
    });
    let loaders = recipe.loaders.values().filter_map(|loader| match loader {
        Loader::File(path) => Some(path),
        Loader::Package(_) => None,
    });
    let kernel = recipe.kernel.iter().filter_map(|kernel| match kernel {
        Kernel::File(path) => Some(path),
        _ => None,
    });
    let fragments = recipe.kernel.iter().flat_map(|kernel| match kernel {
        Kernel::Linux(linux) => linux.config.as_slice(),
        _ => &[],
    });
    let fragments = fragments.filter(|name| name.contains('/'));
    let sources = recipe.sources.values().filter_map(|source| match source {
        Source::Local(path) => Some(path),
        _ => None,
    });
    let programs = recipe.programs().filter_map(|program| match program {
        Agent::File(path) => Some(path),
        _ => None,
    });
    let files = recipe.initrd.iter().flat_map(|initrd| initrd.files.iter().chain(&initrd.early));
    let copied = files.filter_map(|file| match file {
        FileEntry::Copy(copy) => Some(&copy.from),
        _ => None,
    });
    let all = firmware
        .chain(loaders)
        .chain(kernel)
        .chain(fragments)
        .chain(sources)
        .chain(programs)
        .chain(copied);
    let mut paths: Vec<_> = all.map(String::as_str).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Digest of the names, kinds, executable bits and contents of all that lies beside the recipe.
///
/// # Errors
/// Something cannot be read.
pub fn digest(inputs: Inputs<'_>) -> Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    for path in paths(inputs.recipe) {
        add(&mut hasher, &inputs.beside(path), path)?;
    }
    Ok(Sha256(hasher.finalize().into()))
}

/// Each path beside the recipe with its own digest: of a file its SHA-256, of a directory that of the
/// names, kinds, executable bits and contents in it, whatever the directory is called.
///
/// # Errors
/// As [`digest`].
pub fn digests(inputs: Inputs<'_>) -> Result<Vec<(&str, Sha256)>> {
    let one = |path| {
        let place = inputs.beside(path);
        if place.is_file() {
            return Ok((path, Sha256::of(&inputs.read_at(&place)?)));
        }
        let mut hasher = sha2::Sha256::new();
        add(&mut hasher, &place, "")?;
        Ok((path, Sha256(hasher.finalize().into())))
    };
    paths(inputs.recipe).into_iter().map(one).collect()
}

fn add(hasher: &mut sha2::Sha256, path: &Path, name: &str) -> Result<()> {
    let context = || format!("cannot read {}", path.display());
    let found = fs::symlink_metadata(path).with_context(context)?;
    let (kind, contents) = if found.is_symlink() {
        let target = fs::read_link(path).with_context(context)?;
        ("link", target.into_os_string().into_encoded_bytes())
    } else if found.is_dir() {
        ("directory", Vec::new())
    } else {
        let executable = found.permissions().mode() & 0o100 != 0;
        let kind = if executable { "program" } else { "file" };
        (kind, fs::read(path).with_context(context)?)
    };
    for part in [kind.as_bytes(), name.as_bytes(), &contents] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    if found.is_dir() {
        for path in entries::sorted(path)? {
            let inside = path.file_name().unwrap_or_default().to_string_lossy();
            // What a compiler leaves beside sources is none of them, nor is version control's.
            if !["target", ".git"].contains(&&*inside) {
                add(hasher, &path, &format!("{name}/{inside}"))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dir: &Path) -> Sha256 {
        let mut hasher = sha2::Sha256::new();
        add(&mut hasher, dir, "x").unwrap();
        Sha256(hasher.finalize().into())
    }

    #[test]
    fn contents_names_and_executable_bits_show_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let chmod = |mode| {
            fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(mode)).unwrap();
        };
        write("a", "1");
        chmod(0o644);
        let before = of(dir.path());
        chmod(0o600);
        fs::create_dir(dir.path().join("target")).unwrap();
        write("target/junk", "2");
        assert_eq!(of(dir.path()), before);
        chmod(0o755);
        let program = of(dir.path());
        assert_ne!(program, before);
        write("a", "2");
        assert_ne!(of(dir.path()), program);
        chmod(0o644);
        write("a", "1");
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(of(dir.path()), before);
    }
}
