//! Kernel images: of x86, and the plain `Image` of arm64.

use super::{Facts, kconfig};
use crate::digest::{Sha256, Sha384};
use crate::format::Reader;
use crate::format::arm64_image::Image;
use crate::format::bzimage;
use crate::format::pe::Pe;

pub(super) fn is_kernel(bytes: &[u8]) -> bool {
    bzimage::parse(bytes).is_ok() || Image::parse(bytes).is_ok()
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    if let Ok(image) = Image::parse(bytes) {
        let facts = Facts::default()
            .with("machine", "arm64")
            .with("text_offset", format!("{:#x}", image.text_offset))
            .with("size_in_memory", image.image_size)
            .with("sha256", Sha256::of(bytes).to_string());
        return Ok(kconfig::with_configuration(facts, bytes));
    }
    let header = bzimage::parse(bytes)?;
    let protocol = format!("{}.{:02}", header.protocol >> 8, header.protocol & 0xff);
    let authenticode =
        Pe::parse(bytes).ok().map(|pe| Sha384::of_parts(pe.authenticode()).to_string());
    let facts = Facts::default()
        .with_some("version", version(bytes))
        .with("boot_protocol", protocol)
        .with("longest_cmdline", header.cmdline_size)
        .with("sha256", Sha256::of(bytes).to_string())
        .with_some("authenticode_sha384", authenticode);
    Ok(kconfig::with_configuration(facts, bytes))
}

/// The version text: `kernel_version` at 0x20e points to it, less 0x200 (Linux
/// `Documentation/arch/x86/boot.rst`).
fn version(bytes: &[u8]) -> Option<String> {
    let at = usize::from(Reader::at(bytes, 0x20e).u16("kernel_version").ok()?);
    let text = bytes.get(at.checked_add(0x200)?..).filter(|_| at != 0)?;
    let end = text.iter().take(256).position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
}
