//! Secure Execution images and headers.

use anyhow::Context as _;

use super::{Fact, Facts};
use crate::digest::hex;
use crate::format::se_header::{Header, MAGIC, Slot};
use crate::format::se_image::{Component, Image};
use crate::measure::tee::se;

pub(super) fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

pub(super) fn inspect_header(bytes: &[u8]) -> anyhow::Result<Facts> {
    Ok(header(&Header::parse(bytes)?))
}

pub(super) fn inspect_image(bytes: &[u8]) -> anyhow::Result<Facts> {
    let image = Image::parse(bytes)?;
    let components: Vec<_> = image.components.iter().map(|(part, _)| component(part)).collect();
    Ok(header(&image.header).with("components", components))
}

/// What the encrypted part of an image's header, or of a header, says under its key.
///
/// # Errors
/// It is neither, or the key is another one.
pub fn open(bytes: &[u8], key: &[u8]) -> anyhow::Result<Facts> {
    let key = key.try_into().with_context(|| {
        format!("a header key has 32 bytes, this one {}; is it the right file?", key.len())
    })?;
    let opened = match is_header(bytes) {
        true => se::open::open(&Header::parse(bytes)?, key),
        false => se::open::open(&Image::parse(bytes)?.header, key),
    }?;
    let (mask, address) = opened.psw;
    Ok(Facts::default()
        .with("psw", format!("{mask:#018x} {address:#018x}"))
        .with("scf", format!("{:#018x}", opened.scf)))
}

fn component(component: &Component) -> Fact {
    Facts::default()
        .with("address", format!("{:#x}", component.address))
        .with("size", component.length.get())
        .with("tweak", format!("{:016x}", component.tweak))
        .into()
}

fn header(header: &Header) -> Facts {
    let fixed = &header.fixed;
    let key = |slot: &Slot| -> Fact { hex(&slot.phkh).into() };
    Facts::default()
        .with("version", 0x100_u32)
        .with_bytes("tag", &header.tag)
        .with("host_keys", header.slots.iter().map(key).collect::<Vec<_>>())
        .with("pages", fixed.nep.get())
        .with("pcf", format!("{:#018x}", fixed.pcf))
        .with_bytes("pld", &fixed.pld)
        .with_bytes("ald", &fixed.ald)
        .with_bytes("tld", &fixed.tld)
        .with_bytes("iv", &fixed.iv)
}
