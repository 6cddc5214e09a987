//! Firmware and kernel that somebody else has built: a file of a locked package, or beside the
//! recipe.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

use super::globs;
use super::inputs::Inputs;
use super::tree::Tree;
use crate::format::bzimage;
use crate::lock;
use crate::recipe::{Arch, PackageFile};

/// Firmware is mapped below 4 GiB in pages.
const PAGE: usize = 4096;

/// The one file of a locked package for `target` that `wanted` names, and its path in the package.
/// Where the package only stands for others, as `linux-image-cloud-amd64` does, theirs are looked at,
/// and those that they stand for (from Linux 7.2 on the image is in `linux-binary-…`).
///
/// # Errors
/// No file matches, or several do.
pub fn file(inputs: Inputs<'_>, target: &str, wanted: &PackageFile) -> Result<(String, Vec<u8>)> {
    let own = inputs.package(&wanted.from, target, &wanted.name)?;
    let (mut found, mut seen, mut level) = (Vec::new(), BTreeSet::new(), vec![own]);
    while found.is_empty() && !level.is_empty() {
        for package in &level {
            found.extend(matches(inputs, package, &wanted.file)?);
        }
        let names = level.iter().flat_map(|package| &package.needs);
        let names: Vec<_> = names.filter(|name| seen.insert(name.as_str())).collect();
        let other = |name: &String| inputs.lock.package(&wanted.from, target, name);
        level = names.into_iter().filter_map(other).collect();
    }
    let what = format!("`{}` of the package {}", wanted.file, wanted.name);
    ensure!(found.len() < 2, "{what} matches several files: {}; it must match one", names(&found));
    let searched = if own.needs.is_empty() { "it" } else { "it or what it stands for" };
    found.pop().with_context(|| format!("{what} matches no file in {searched} ({})", own.version))
}

fn matches(
    inputs: Inputs<'_>,
    package: &lock::Package,
    glob: &str,
) -> Result<Vec<(String, Vec<u8>)>> {
    let tree = inputs.unpack(&[(package, &[])])?;
    let glob = globs::set(&[glob.to_string()])?;
    let matches = |path: &str| glob.as_ref().is_some_and(|glob| glob.is_match(path));
    // A link counts where it leads to a file of the same package.
    let file = |path: &str| Some((path.to_string(), tree.file(path).ok()?.to_vec()));
    Ok(paths(&tree).filter(|path| matches(path)).filter_map(file).collect())
}

fn paths(tree: &Tree) -> impl Iterator<Item = &str> {
    tree.iter().map(|(path, _)| path)
}

fn names(found: &[(String, Vec<u8>)]) -> String {
    found.iter().map(|(path, _)| format!("/{path}")).collect::<Vec<_>>().join(", ")
}

/// Checks that `bytes` can be a firmware image.
///
/// # Errors
/// They are none, or not whole pages.
pub fn check_firmware(bytes: &[u8]) -> Result<()> {
    ensure!(!bytes.is_empty(), "the firmware image is empty");
    let size = bytes.len();
    ensure!(size.is_multiple_of(PAGE), "a firmware image is whole pages of 4096 bytes, not {size}");
    ensure!(bytes.iter().any(|byte| *byte != 0), "the firmware image is nothing but zeros");
    Ok(())
}

/// Checks that `bytes` are a kernel that a VMM boots on `arch`, and that it takes `cmdline`.
///
/// # Errors
/// They are none, or the command line is too long or has a NUL.
pub fn check_kernel(arch: Arch, bytes: &[u8], cmdline: &str) -> Result<()> {
    ensure!(!cmdline.contains('\0'), "the kernel command line has a NUL in it");
    let most = match arch {
        Arch::X86_64 => bzimage::parse(bytes)?.cmdline_size,
        // COMMAND_LINE_SIZE of the architecture, with the terminator.
        Arch::Aarch64 => {
            // Linux Documentation/arch/arm64/booting.rst section 4: the image header.
            expect(bytes, 56, b"ARM\x64", "an arm64 kernel Image")?;
            2047
        }
        Arch::S390x => {
            // Linux arch/s390/boot/head.S: ipl_start's parameter area.
            expect(bytes, 0x1_0008, b"S390EP", "an s390x kernel image")?;
            4095
        }
    };
    let (length, most) = (cmdline.len(), usize::try_from(most)?);
    ensure!(length <= most, "the command line has {length} bytes, this kernel takes {most}");
    Ok(())
}

fn expect(bytes: &[u8], at: usize, magic: &[u8], what: &str) -> Result<()> {
    match bytes.get(at..at + magic.len()) {
        Some(found) if found == magic => Ok(()),
        _ => bail!("this is not {what}: no `{}` at offset {at:#x}", magic.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_is_whole_pages_of_something() {
        assert!(check_firmware(&[1; 8192]).is_ok());
        for bad in [&[][..], &[1; 4097], &[0; 4096]] {
            assert!(check_firmware(bad).is_err());
        }
    }

    #[test]
    fn command_lines_fit_the_kernel() {
        let mut image = vec![0; 4096];
        image[56..60].copy_from_slice(b"ARM\x64");
        assert!(check_kernel(Arch::Aarch64, &image, &"x".repeat(2047)).is_ok());
        let error = check_kernel(Arch::Aarch64, &image, &"x".repeat(2048)).unwrap_err();
        assert_eq!(error.to_string(), "the command line has 2048 bytes, this kernel takes 2047");
        assert!(check_kernel(Arch::Aarch64, &image, "a\0b").is_err());
        assert!(check_kernel(Arch::S390x, &image, "").is_err());
        assert!(check_kernel(Arch::X86_64, &image, "").is_err());
    }
}
