//! PE images: boot loaders, kernels, unified kernel images.

use super::{Fact, Facts};
use crate::digest::{Sha256, Sha384};
use crate::format::pe::{Pe, Section};

/// Sections of a unified kernel image whose contents are text (UAPI group, UKI specification).
const TEXTS: &[&str] = &[".osrel", ".cmdline", ".uname", ".sbat", ".pcrsig", ".pcrpkey"];

pub(super) fn is_pe(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ") && Pe::parse(bytes).is_ok()
}

pub(super) fn is_uki(bytes: &[u8]) -> bool {
    let Some(pe) = bytes.starts_with(b"MZ").then(|| Pe::parse(bytes).ok()).flatten() else {
        return false;
    };
    pe.section(".linux").is_some()
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let pe = Pe::parse(bytes)?;
    let machine = match pe.machine {
        0x8664 => "x86-64".to_string(),
        0xaa64 => "AArch64".to_string(),
        other => format!("{other:#x}"),
    };
    let hashed = pe.authenticode();
    let sections = pe.sections.iter().map(|section| one(&pe, section));
    Ok(Facts::default()
        .with("machine", machine)
        .with("authenticode_sha256", Sha256::of_parts(hashed.iter().copied()).to_string())
        .with("authenticode_sha384", Sha384::of_parts(hashed.iter().copied()).to_string())
        .with("sections", sections.collect::<anyhow::Result<Vec<_>>>()?))
}

fn one(pe: &Pe<'_>, section: &Section) -> anyhow::Result<Fact> {
    let contents = pe.contents(section)?;
    let facts = Facts::default()
        .with("name", section.name.as_str())
        .with("size", contents.len())
        .with("sha256", Sha256::of(&contents).to_string());
    let text = TEXTS
        .contains(&section.name.as_str())
        .then(|| String::from_utf8_lossy(&contents).trim_end_matches(['\0', '\n']).to_string());
    let kernel = (section.name == ".linux").then(|| super::kernel::inspect(&contents).ok());
    Ok(facts.with_some("text", text).with_some("kernel", kernel.flatten()).into())
}
