//! The cache of the dynamic linker, `/etc/ld.so.cache`, in the form of glibc 2.33 and later
//! (glibc `sysdeps/generic/dl-cache.h` and `elf/cache.c`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
/// `cache_file_new_flags_endian_little`.
const LITTLE_ENDIAN: u32 = 2;
/// Size of the header: magic, number of libraries, length of the strings, flags, offset of the
/// extension, three unused words.
const HEADER: usize = 48;
/// `struct file_entry_new`: flags, key, value, an unused word, hardware capabilities.
const ENTRY: usize = 24;
/// `cache_extension_magic`, and the tag of the section that says what wrote the cache.
const EXTENSION: u32 = 0xeaa4_2174;
const GENERATOR: u32 = 0;

/// A library of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The name that programs ask for: `libc.so.6`.
    pub name: String,
    /// Where it is: `/lib/x86_64-linux-gnu/libc.so.6`.
    pub path: String,
    /// Kind and architecture (`FLAG_ELF_LIBC6` and one of `FLAG_X8664_LIB64`, …).
    pub flags: u32,
}

/// The cache of `libraries`, which are in the order in which their directories are searched, with
/// the name and version of what wrote it.
pub fn write(libraries: &[Library], generator: &str) -> Vec<u8> {
    let mut libraries: Vec<_> = libraries.iter().collect();
    // The greatest name comes first: the linker searches by halves.
    libraries.sort_by(|a, b| compare(&b.name, &a.name).then_with(|| b.flags.cmp(&a.flags)));
    let start = HEADER + libraries.len() * ENTRY;
    let (strings, offsets) = strings(&libraries);
    let place = |text: &str| number(start + offsets.get(text).copied().unwrap_or_default());
    let end = start + strings.len();
    let extension = end.next_multiple_of(4);
    let mut out = MAGIC.to_vec();
    let head = [number(libraries.len()), number(strings.len()), LITTLE_ENDIAN, number(extension)];
    put(&mut out, &head);
    put(&mut out, &[0; 3]);
    for library in &libraries {
        put(&mut out, &[library.flags, place(&library.name), place(&library.path), 0, 0, 0]);
    }
    out.extend(strings);
    out.resize(extension, 0);
    let text = extension + 8 + 16;
    put(&mut out, &[EXTENSION, 1, GENERATOR, 0, number(text), number(generator.len())]);
    out.extend_from_slice(generator.as_bytes());
    out
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// All names and paths, a text that ends another within it, and the offset of each (glibc
/// `elf/stringtable.c`).
fn strings<'a>(libraries: &[&'a Library]) -> (Vec<u8>, BTreeMap<&'a str, usize>) {
    let both = libraries.iter().flat_map(|library| [&*library.name, &*library.path]);
    let mut texts: Vec<&str> = both.collect();
    // The greatest last character first; of two that end alike the longer comes first.
    texts.sort_by(|a, b| {
        let differ = a.bytes().rev().zip(b.bytes().rev()).find(|(a, b)| a != b);
        differ.map_or_else(|| b.len().cmp(&a.len()), |(a, b)| b.cmp(&a))
    });
    texts.dedup();
    let (mut out, mut offsets) = (Vec::new(), BTreeMap::new());
    let mut previous = ("", 0);
    for text in texts {
        let (before, at) = previous;
        let offset = match before.ends_with(text) && !before.is_empty() {
            true => at + before.len() - text.len(),
            false => {
                let at = out.len();
                out.extend_from_slice(text.as_bytes());
                out.push(0);
                at
            }
        };
        offsets.insert(text, offset);
        previous = (text, offset);
    }
    (out, offsets)
}

/// The order of names: numbers in them by their value (glibc `_dl_cache_libcmp`).
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (x.is_ascii_digit(), y.is_ascii_digit()) {
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (true, true) => {
                    let order = leading(&mut a).cmp(&leading(&mut b));
                    if order.is_ne() {
                        return order;
                    }
                }
                (false, false) if x != y => return x.cmp(y),
                (false, false) => {
                    a = a.get(1..).unwrap_or_default();
                    b = b.get(1..).unwrap_or_default();
                }
            },
        }
    }
}

/// Takes the number that `text` begins with.
fn leading(text: &mut &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    number
        .iter()
        .fold(0, |value: u64, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_value() {
        for (less, more) in
            [("libx.so.9", "libx.so.10"), ("liba.so", "libb.so"), ("liba.so", "liba2.so")]
        {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more, less), Ordering::Greater, "{more} {less}");
        }
        assert_eq!(compare("liba.so.01", "liba.so.1"), Ordering::Equal);
    }

    #[test]
    fn a_name_stands_within_its_path() {
        let library = |name: &str| Library {
            name: name.into(),
            path: alloc::format!("/lib/{name}"),
            flags: 0x303,
        };
        let bytes = write(&[library("liba.so.1"), library("libb.so.2")], "ldconfig x");
        let strings = &b"/lib/libb.so.2\0/lib/liba.so.1\0"[..];
        assert_eq!(&bytes[96..96 + strings.len()], strings);
        // The greater name first: its path begins with the strings, its name five bytes later.
        assert_eq!(bytes[48..60], [3, 3, 0, 0, 101, 0, 0, 0, 96, 0, 0, 0]);
        assert!(bytes.ends_with(b"ldconfig x"));
    }
}
