//! Firmware images: volumes and the files in them.

use super::{Fact, Facts};
use crate::digest::{Sha256, Sha384};
use crate::format::fv::{self, File, Volume};
use crate::measure::uefi::Firmware;

/// Type of a file that only fills space (UEFI PI 1.8, volume 3, section 3.2.3.1).
const PADDING: u8 = 0xf0;

/// Signature of a firmware volume, 40 bytes from its start (UEFI PI 1.8, volume 3, section 3.2.1).
pub(super) fn is_firmware(bytes: &[u8]) -> bool {
    let at_start = bytes.get(40..44) == Some(b"_FVH");
    at_start || bytes.chunks(4096).any(|page| page.get(40..44) == Some(b"_FVH"))
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let volumes = fv::unpack(bytes)?;
    Ok(Facts::default()
        .with("sha384", Sha384::of(bytes).to_string())
        .with_some("edk2", Firmware::read(bytes, None, None).ok().map(|f| f.epoch_name()))
        .with("volumes", volumes.iter().map(volume).collect::<Vec<_>>()))
}

fn volume(volume: &Volume<'_>) -> Fact {
    let place = match volume.offset {
        Some(offset) => format!("at {offset:#x} of the image"),
        None => "inside another volume".to_string(),
    };
    let files =
        volume.files.iter().filter(|file| file.kind != PADDING).map(|file| module(volume, file));
    Facts::default()
        .with("place", place)
        .with_some("name", volume.name.map(|name| name.to_string()))
        .with("size", volume.bytes.len())
        .with("files", files.collect::<Vec<_>>())
        .into()
}

/// A file of a volume: who it is, and what is in it.
fn module(volume: &Volume<'_>, file: &File) -> Facts {
    let name = match volume.label(file) {
        Some(label) => format!("{label} {}", file.name),
        None => file.name.to_string(),
    };
    let contents = volume.bytes.get(file.contents.clone()).unwrap_or_default();
    let digest = Sha256::of(contents);
    let is = format!("type {:#04x}, {} bytes, sha256:{digest}", file.kind, contents.len());
    Facts::default().with("name", name).with("is", is)
}
