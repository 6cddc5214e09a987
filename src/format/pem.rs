//! PEM: base64 between `BEGIN` and `END` lines (RFC 7468), with text around it ignored.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, Result};

/// One block: its label and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<'a> {
    /// The label, as `CERTIFICATE`.
    pub label: &'a str,
    /// The decoded bytes, usually DER.
    pub bytes: Vec<u8>,
}

/// True when `input` holds a PEM block, and is not DER as it stands.
pub fn is_pem(input: &[u8]) -> bool {
    input.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Every block of `input`, in order.
///
/// # Errors
/// The input is no text, a block has no end, or its contents are not base64.
pub fn blocks(input: &[u8]) -> Result<Vec<Block<'_>>> {
    let text = core::str::from_utf8(input).map_err(|error| Error::Value {
        what: "PEM text",
        offset: error.valid_up_to(),
        found: "a byte that is not UTF-8".to_string(),
        expected: "text".to_string(),
    })?;
    let mut blocks = Vec::new();
    let mut offset = 0;
    while let Some(begin) = text.get(offset..).and_then(|rest| rest.find(BEGIN)) {
        let (block, end) = block(text, offset + begin)?;
        blocks.push(block);
        offset = end;
    }
    Ok(blocks)
}

/// The block that begins at `begin`, and the offset behind its `END`.
fn block(text: &str, begin: usize) -> Result<(Block<'_>, usize)> {
    let open = || Error::Missing {
        what: "end of the PEM block",
        why: format!("the block that begins at byte offset {begin:#x} has no `{END}` line"),
    };
    let rest = text.get(begin + BEGIN.len()..).ok_or_else(open)?;
    let (label, body) = rest.split_once(DASHES).ok_or_else(open)?;
    let (body, _) = body.split_once(END).ok_or_else(open)?;
    let end = begin + BEGIN.len() + label.len() + DASHES.len() + body.len() + END.len();
    let data: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(data).map_err(|error| Error::Value {
        what: "contents of a PEM block",
        offset: begin,
        found: error.to_string(),
        expected: "base64".to_string(),
    })?;
    Ok((Block { label, bytes }, end))
}

/// The first block with `label`.
///
/// # Errors
/// As [`blocks`], or no block has that label.
pub fn first(input: &[u8], label: &'static str) -> Result<Vec<u8>> {
    let found = blocks(input)?.into_iter().find(|block| block.label == label);
    let why = || "the PEM text has no block with that label".to_string();
    found.map(|block| block.bytes).ok_or_else(|| Error::Missing { what: label, why: why() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = b"note\n-----BEGIN A-----\naGVs\nbG8=\n-----END A-----\n-----BEGIN B-----\n-----END B-----\n";
        let blocks = blocks(text).expect("two blocks");
        assert_eq!(blocks[0], Block { label: "A", bytes: b"hello".to_vec() });
        assert_eq!(blocks[1], Block { label: "B", bytes: Vec::new() });
        assert_eq!(first(text, "A"), Ok(b"hello".to_vec()));
    }

    #[test]
    fn a_block_without_end_and_one_without_base64_are_refused() {
        let open = blocks(b"-----BEGIN A-----\naGVs").unwrap_err();
        assert!(open.to_string().contains("has no `-----END ` line"), "{open}");
        let other = blocks(b"-----BEGIN A-----\n!!\n-----END A-----").unwrap_err();
        assert!(other.to_string().contains("expected base64"), "{other}");
        assert!(first(b"", "CERTIFICATE").is_err());
    }
}
