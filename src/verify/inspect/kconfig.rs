//! The configuration that a kernel carries (`CONFIG_IKCONFIG`, Linux `kernel/configs.c`): compressed
//! between two marks, in an image that is itself compressed.

use std::io::Read as _;

use anyhow::{Context as _, Result};

use super::Facts;
use crate::build::packed::Packed;
use crate::format::bzimage;

/// What stands before the configuration.
const START: &[u8] = b"IKCFG_ST";

/// Bytes to which a kernel, and its configuration, are unpacked at most.
const MAX_KERNEL: u64 = 256 << 20;
const MAX_TEXT: u64 = 8 << 20;

/// The facts about a kernel, and every option in `bytes` with its value, where it tells them; where
/// it might and cannot be unpacked, why not.
pub(super) fn with_configuration(facts: Facts, bytes: &[u8]) -> Facts {
    let text = match text(bytes) {
        Some(text) => Ok(Some(text)),
        None => unpacked(bytes).map(|kernel| kernel.and_then(|kernel| text(&kernel))),
    };
    match text {
        Ok(None) => facts,
        Ok(Some(text)) => facts.with_some("configuration", options(&text)),
        Err(error) => facts.with("configuration_not_read", format!("{error:#}")),
    }
}

fn options(text: &str) -> Option<Facts> {
    let mut options: Vec<_> = text.lines().filter_map(option).collect();
    options.sort_unstable();
    let all = options.into_iter();
    (all.len() > 0).then(|| all.fold(Facts::default(), |all, (name, value)| all.with(name, value)))
}

fn text(kernel: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(kernel, START)?;
    let packed = kernel.get(at + START.len()..)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).take(MAX_TEXT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `CONFIG_X=y`, or the remark that X is not set.
fn option(line: &str) -> Option<(&str, &str)> {
    let unset = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"));
    let named = |name: &&str| name.starts_with("CONFIG_");
    match unset.filter(named) {
        Some(name) => Some((name, "n")),
        None => line.split_once('=').filter(|(name, _)| named(name)),
    }
}

/// The kernel without its own unpacker, if it has one. Behind all forms but gzip stands the unpacked
/// size, 4 bytes (Linux `scripts/Makefile.lib`, `size_append`).
fn unpacked(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(payload) = bzimage::payload(bytes).ok().flatten() else { return Ok(None) };
    let Some(form) = Packed::of(payload) else { return Ok(None) };
    let end = match form {
        Packed::Gzip => payload.len(),
        _ => payload.len().saturating_sub(4),
    };
    let kernel = form.unpack(payload.get(..end).unwrap_or_default(), MAX_KERNEL);
    kernel.map(Some).context("the kernel cannot be unpacked")
}
