//! UEFI's own compression (UEFI 2.10 section 19.3: LZ77 and Huffman codes, bits from the top), in which
//! drivers in the ROMs of PCI devices are packed.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{Error, Reader, Result};

/// Number of symbols of literals and lengths, and the width of its field.
const CHARACTERS: (usize, u32) = (510, 9);

/// Number of symbols of positions, and the width of its field.
const POSITIONS: (usize, u32) = (14, 4);

/// Number of symbols that lengths of codes are packed by, and the width of its field. The third is
/// followed by a count of zeros.
const EXTRA: (usize, u32) = (19, 5);
const EXTRA_ZEROS_BEHIND: usize = 3;

/// The first symbol of a length, and the length that it stands for.
const LENGTH: (usize, usize) = (256, 3);

/// Longest code in bits.
const LONGEST: usize = 16;

/// Most bytes that come out: far more than a ROM has.
const LIMIT: usize = 64 << 20;

/// Name of the whole in messages.
const WHAT: &str = "UEFI compression";

/// What `packed` holds.
///
/// # Errors
/// The stream ends early or contradicts itself, or more than 64 MiB come out.
pub fn decompress(packed: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader::new(packed);
    let mut number = || reader.array(WHAT).map(u32::from_le_bytes);
    let (size, original) = (number()?, number()?);
    let original = usize::try_from(original).unwrap_or(usize::MAX);
    if original > LIMIT {
        let (found, expected) = (original.to_string(), format!("at most {LIMIT} bytes"));
        return Err(Error::Value { what: WHAT, offset: 4, found, expected });
    }
    let stream = reader.take(usize::try_from(size).unwrap_or(usize::MAX), WHAT)?;
    let mut bits = Bits { stream, position: 0 };
    let mut out = Vec::new();
    while out.len() < original {
        let block = Block::read(&mut bits)?;
        block.unpack(&mut bits, &mut out, original)?;
    }
    Ok(out)
}

/// A block: a number of symbols, and their codes.
struct Block {
    symbols: usize,
    characters: Code,
    positions: Code,
}

impl Block {
    fn read(bits: &mut Bits<'_>) -> Result<Self> {
        let symbols = bits.take(16)?;
        let extra = lengths(bits, EXTRA, EXTRA_ZEROS_BEHIND)?;
        let extra = Code::new(bits, extra)?;
        let characters = packed_lengths(bits, &extra)?;
        let characters = Code::new(bits, characters)?;
        let positions = lengths(bits, POSITIONS, usize::MAX)?;
        Ok(Self { symbols, characters, positions: Code::new(bits, positions)? })
    }

    fn unpack(&self, bits: &mut Bits<'_>, out: &mut Vec<u8>, original: usize) -> Result<()> {
        // A block of no symbols is one of 65,536: the reference decoder counts down first.
        for _ in 0..if self.symbols == 0 { 1 << 16 } else { self.symbols } {
            if out.len() >= original {
                break;
            }
            let symbol = self.characters.next(bits)?;
            let Some(length) = symbol.checked_sub(LENGTH.0) else {
                out.extend(u8::try_from(symbol));
                continue;
            };
            let position = match self.positions.next(bits)? {
                wide @ 2.. => {
                    (1 << (wide - 1)) + bits.take(u32::try_from(wide).unwrap_or(0) - 1)?
                }
                narrow => narrow,
            };
            let start = out.len().checked_sub(position + 1);
            let start = start.ok_or_else(|| bits.error("a position within what was unpacked"))?;
            for from in start..start + length + LENGTH.1 {
                out.extend(out.get(from).copied());
            }
        }
        out.truncate(original);
        Ok(())
    }
}

/// Lengths of the codes of some symbols, or the only symbol.
type Lengths = core::result::Result<Vec<usize>, usize>;

/// Lengths as they stand: three bits each, and one more for each that is set in a row. Behind that
/// number `behind` two bits count zeros.
fn lengths(bits: &mut Bits<'_>, (most, width): (usize, u32), behind: usize) -> Result<Lengths> {
    let count = bits.take(width)?;
    if count == 0 {
        return Ok(Err(bits.take(width)?));
    }
    let mut found = Vec::new();
    while found.len() < count {
        let mut length = bits.take(3)?;
        while length >= 7 && bits.take(1)? == 1 {
            length += 1;
        }
        found.push(length);
        if found.len() == behind {
            found.resize(behind + bits.take(2)?, 0);
        }
    }
    match found.len() <= most {
        true => Ok(Ok(found)),
        false => Err(bits.error("fewer lengths of codes")),
    }
}

/// Lengths of the codes of characters, which are packed by a code themselves.
fn packed_lengths(bits: &mut Bits<'_>, code: &Code) -> Result<Lengths> {
    let (most, width) = CHARACTERS;
    let count = bits.take(width)?;
    if count == 0 {
        return Ok(Err(bits.take(width)?));
    }
    let mut found = Vec::new();
    while found.len() < count {
        let zeros = match code.next(bits)? {
            0 => 1,
            1 => bits.take(4)? + 3,
            2 => bits.take(9)? + 20,
            length => {
                found.push(length - 2);
                continue;
            }
        };
        found.resize(found.len() + zeros, 0);
    }
    match found.len() <= most {
        true => Ok(Ok(found)),
        false => Err(bits.error("fewer lengths of codes")),
    }
}

/// A Huffman code: symbols by length, and then by number.
enum Code {
    One(usize),
    Many { counts: [usize; LONGEST + 1], symbols: Vec<usize> },
}

impl Code {
    fn new(bits: &Bits<'_>, lengths: Lengths) -> Result<Self> {
        let lengths = match lengths {
            Ok(lengths) => lengths,
            Err(symbol) => return Ok(Self::One(symbol)),
        };
        let mut counts = [0; LONGEST + 1];
        for length in lengths.iter().filter(|length| **length > 0) {
            *counts.get_mut(*length).ok_or_else(|| bits.error("codes of at most 16 bits"))? += 1;
        }
        let used: usize = counts.iter().enumerate().map(|(n, count)| count << (LONGEST - n)).sum();
        if used != 1 << LONGEST {
            return Err(bits.error("a complete code"));
        }
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|n| lengths[*n] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Ok(Self::Many { counts, symbols })
    }

    fn next(&self, bits: &mut Bits<'_>) -> Result<usize> {
        let (counts, symbols) = match self {
            Self::One(symbol) => return Ok(*symbol),
            Self::Many { counts, symbols } => (counts, symbols),
        };
        // `code` counts from the first code of its length, which is symbol number `index`.
        let (mut code, mut index) = (0, 0);
        for count in &counts[1..] {
            code = code << 1 | bits.take(1)?;
            if code < *count {
                return Ok(symbols[index + code]);
            }
            code -= count;
            index += count;
        }
        Err(bits.error("a code that is in use"))
    }
}

/// A stream of bits, the top one of each byte first.
struct Bits<'a> {
    stream: &'a [u8],
    /// In bits from the start.
    position: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Result<usize> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.stream.get(self.position / 8);
            let byte = byte.ok_or_else(|| self.error("more bytes"))?;
            value = value << 1 | usize::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Ok(value)
    }

    fn error(&self, expected: &str) -> Error {
        let offset = 8 + self.position / 8;
        Error::Value { what: WHAT, offset, found: "another".into(), expected: expected.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of `fields`, each a value and its width.
    fn stream(original: u32, fields: &[(u32, u32)]) -> Vec<u8> {
        let bits = fields.iter().flat_map(|(value, width)| {
            (0..*width).rev().map(move |bit| u8::from(value >> bit & 1 == 1))
        });
        let bits: Vec<_> = bits.collect();
        let byte =
            |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (n, bit)| byte | bit << (7 - n));
        let bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
        let size = u32::try_from(bytes.len()).expect("short");
        [&size.to_le_bytes()[..], &original.to_le_bytes(), &bytes].concat()
    }

    #[test]
    fn one_character_needs_no_code() {
        let only = [(7, 16), (0, 5), (0, 5), (0, 9), (b'x'.into(), 9), (0, 4), (0, 4)];
        assert_eq!(decompress(&stream(7, &only)).expect("unpacked"), b"xxxxxxx");
        assert_eq!(decompress(&stream(0, &[])).expect("nothing"), b"");
    }

    /// Three symbols for lengths (1: zeros by four bits, 2: zeros by nine, 3: codes of one bit) give
    /// two characters, `a` and a match of four bytes.
    #[test]
    fn a_match_repeats_what_came() {
        let extra = [(4, 5), (0, 3), (2, 3), (2, 3), (0, 2), (1, 3)];
        // 77 and 20 zeros, `a`; 138 + 20 zeros, and one more by four bits, then the match.
        let characters = [(258, 9), (0b11, 2), (77, 9), (0, 1), (0b11, 2), (139, 9), (0, 1)];
        let start = [&[(3, 16)][..], &extra, &characters, &[(0, 4), (0, 4)]].concat();
        let fields = [&start[..], &[(0, 1), (1, 1), (1, 1)]].concat();
        let packed = stream(9, &fields);
        assert_eq!(decompress(&packed).expect("unpacked"), b"aaaaaaaaa");
        for end in 0..packed.len() {
            assert!(decompress(&packed[..end]).is_err(), "cut at {end}");
        }
        let far = [&start[..], &[(1, 1)]].concat();
        let error = decompress(&stream(9, &far)).expect_err("nothing came").to_string();
        assert!(error.contains("a position within what was unpacked"), "{error}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let incomplete = [(1, 16), (1, 5), (1, 3)];
        let error = decompress(&stream(1, &incomplete)).expect_err("incomplete").to_string();
        assert!(error.contains("expected a complete code"), "{error}");
        let long = [(1, 16), (1, 5), (0x7fff, 15), (0, 1)];
        assert!(decompress(&stream(1, &long)).is_err());
        let huge = [&4_u32.to_le_bytes()[..], &[0xff; 8]].concat();
        assert!(decompress(&huge).expect_err("huge").to_string().contains("at most 67108864"));
    }
}
