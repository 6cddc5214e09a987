//! A small enclave out of one file of machine code, as `sgxs-build rx=CODE tcs=nssa:N` lays it out
//! (Fortanix, sgxs-tools): code, one thread, its frames for saved state.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::PAGE;
use crate::format::sgx::{
    CHUNK, Record, SECINFO_R, SECINFO_REG, SECINFO_TCS, SECINFO_W, SECINFO_X,
};
use crate::format::{Error, Result};
use crate::measure::page::PAGE_SIZE;

/// The SGXS stream of an enclave that runs `code` from its first byte, in one thread with `nssa`
/// frames of saved state.
///
/// # Errors
/// There is no code.
pub fn build(code: &[u8], nssa: u64) -> Result<Vec<u8>> {
    if code.is_empty() {
        let (found, expected) = ("nothing".to_string(), "machine code".to_string());
        return Err(Error::Value { what: "code", offset: 0, found, expected });
    }
    let pages = u64::try_from(code.len()).unwrap_or(u64::MAX).div_ceil(PAGE);
    let (tcs, frames) = (pages * PAGE, (pages + 1) * PAGE);
    let size = (frames + nssa * PAGE).next_power_of_two();
    let mut stream = Vec::new();
    put(&mut stream, Record::Create { ssa_frame_size: 1, size });
    for (offset, page) in (0..).step_by(PAGE_SIZE).zip(code.chunks(PAGE_SIZE)) {
        add(&mut stream, offset, SECINFO_R | SECINFO_X | SECINFO_REG, page);
    }
    add(&mut stream, tcs, SECINFO_TCS, &thread(frames, nssa));
    for frame in 0..nssa {
        add(&mut stream, frames + frame * PAGE, SECINFO_R | SECINFO_W | SECINFO_REG, &[]);
    }
    Ok(stream)
}

/// A thread control structure (SDM table 35-7): OSSA, NSSA, entry 0, limits of FS and GS.
fn thread(frames: u64, nssa: u64) -> Vec<u8> {
    let words = [0, 0, frames, nssa << 32, 0, 0, 0, 0, 0xfff_0000_0fff];
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn put(stream: &mut Vec<u8>, record: Record<'_>) {
    let (head, data) = record.measured();
    stream.extend_from_slice(&head);
    stream.extend_from_slice(data);
}

/// EADD of a page and EEXTEND of all of it: `contents`, then zeros.
fn add(stream: &mut Vec<u8>, offset: u64, flags: u64, contents: &[u8]) {
    put(stream, Record::Add { offset, flags });
    let mut page = [0; PAGE_SIZE];
    page.iter_mut().zip(contents).for_each(|(to, from)| *to = *from);
    for (at, data) in (offset..).step_by(CHUNK).zip(page.as_chunks().0) {
        put(stream, Record::Extend { offset: at, data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    // sgxs-build 0.10.0: `rx=code tcs=nssa:2` with the nine bytes «hello sgx».
    #[test]
    fn an_enclave_is_laid_out_as_the_reference_tool_does() {
        let stream = build(b"hello sgx", 2).expect("built");
        assert_eq!(
            Sha256::of(&stream).to_string(),
            "345f3573870f6eaac41a4cf44ff08bf8da4301ba134db8ae8f3d632022b4f370"
        );
        assert!(build(b"", 1).is_err());
    }
}
