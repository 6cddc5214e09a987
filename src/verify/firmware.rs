//! Firmware images that lie in a store: what may have been used instead of the expected one.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::format::ovmf;
use crate::store::Store;

/// Sizes of flash images, in bytes.
const SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=16 << 20;

/// Images that are kept at most.
const MOST: usize = 32;

/// Every OVMF among the entries of the store under `root`, named by the start of its SHA-256.
///
/// # Errors
/// The store cannot be read.
pub fn in_store(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for path in Store::entries(root)? {
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if !SIZES.contains(&size) || !size.is_multiple_of(4096) || found.len() == MOST {
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        if ovmf::has_table(&bytes) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let short = name.get(..12).unwrap_or(&name);
            found.push((format!("the store's firmware sha256:{short}…"), bytes));
        }
    }
    Ok(found)
}
