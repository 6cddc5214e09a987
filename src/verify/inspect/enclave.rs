//! Nitro enclave images.

use super::{Fact, Facts};
use crate::digest::Sha384;
use crate::format::eif::{Image, Kind, Section};
use crate::measure::tee::nitro;

pub(super) fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b".eif")
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let image = Image::parse(bytes)?;
    let signed = match nitro::signature(&image, &nitro::Parts::of(&image)?) {
        Ok(None) => "none".to_string(),
        Ok(Some(certificate)) => format!("by the certificate {}", Sha384::of(&certificate)),
        Err(error) => format!("wrong: {error}"),
    };
    Ok(Facts::default()
        .with("version", u32::from(image.version))
        .with("arch", if image.arm64 { "aarch64" } else { "x86_64" })
        .with("default_memory", image.default_memory)
        .with("default_cpus", image.default_cpus)
        .with("signed", signed)
        .with("sections", image.sections.iter().map(section).collect::<Vec<_>>()))
}

fn section(section: &Section<'_>) -> Fact {
    let (name, is_text) = match section.kind {
        Kind::Kernel => ("kernel", false),
        Kind::Cmdline => ("cmdline", true),
        Kind::Ramdisk => ("ramdisk", false),
        Kind::Signature => ("signature", false),
        Kind::Metadata => ("metadata", true),
    };
    let text = is_text.then(|| String::from_utf8_lossy(&section.data).into_owned());
    Facts::default()
        .with("kind", name)
        .with("size", section.data.len())
        .with("sha384", Sha384::of(&section.data).to_string())
        .with_some("text", text)
        .into()
}
