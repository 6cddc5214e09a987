//! Index files of kmod, as `modules.dep.bin`: a trie of keys with their values, by which `modprobe`
//! finds what it wants (kmod `libkmod/libkmod-index.c`), laid out as `depmod` of kmod 34 does.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;

/// What a node has, in the upper bits of the offset that leads to it.
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// An index in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    keys: BTreeMap<Vec<u8>, Vec<(u32, String)>>,
}

impl Index {
    /// Adds a value to `key`. Values are in the order of their priority, of equal ones the later
    /// comes first.
    pub fn insert(&mut self, key: &str, value: &str, priority: u32) {
        let values = self.keys.entry(key.as_bytes().to_vec()).or_default();
        let position = values.iter().take_while(|(known, _)| *known < priority).count();
        values.insert(position, (priority, value.to_string()));
    }

    /// The index as a file.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC.to_be_bytes());
        out.extend(VERSION.to_be_bytes());
        out.extend([0; 4]);
        let keys: Vec<_> = self.keys.iter().map(|(key, values)| (&key[..], &values[..])).collect();
        let root = node(&[], &keys, &mut out); // the root never has a prefix
        out.splice(8..12, root.to_be_bytes());
        out
    }
}

/// The rest of a key below some node, and its values.
type Key<'a> = (&'a [u8], &'a [(u32, String)]);

/// Writes the node for `keys`, which are sorted and begin with `prefix`, then those below it; gives
/// the offset that leads to it.
fn node(prefix: &[u8], keys: &[Key<'_>], out: &mut Vec<u8>) -> u32 {
    let mut offset = u32::try_from(out.len()).unwrap_or(u32::MAX) & !(7 << 29);
    let mut values = None;
    let mut children: BTreeMap<u8, Vec<Key<'_>>> = BTreeMap::new();
    for (key, own) in keys {
        match key.get(prefix.len()..).and_then(<[u8]>::split_first) {
            None => values = Some(*own),
            Some((first, below)) => children.entry(*first).or_default().push((below, own)),
        }
    }
    if !prefix.is_empty() {
        out.extend_from_slice(prefix);
        out.push(0);
        offset |= HAS_PREFIX;
    }
    let mut places = 0..=0;
    if let (Some((first, _)), Some((last, _))) =
        (children.first_key_value(), children.last_key_value())
    {
        places = *first..=*last;
        out.extend([*first, *last]);
        offset |= HAS_CHILDREN;
    }
    let table = out.len();
    out.resize(table + if children.is_empty() { 0 } else { 4 * places.len() }, 0);
    if let Some(values) = values {
        put_values(values, out);
        offset |= HAS_VALUES;
    }
    for (place, byte) in (table..).step_by(4).zip(places) {
        if let Some(keys) = children.get(&byte) {
            let child = node(common_prefix(keys), keys, out).to_be_bytes();
            out.splice(place..place + 4, child);
        }
    }
    offset
}

fn put_values(values: &[(u32, String)], out: &mut Vec<u8>) {
    out.extend(u32::try_from(values.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (priority, value) in values {
        out.extend(priority.to_be_bytes());
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
}

/// What all keys begin with. They are sorted: what the first and the last share, all do.
fn common_prefix<'a>(keys: &[Key<'a>]) -> &'a [u8] {
    let (Some((first, _)), Some((last, _))) = (keys.first(), keys.last()) else { return &[] };
    let length = first.iter().zip(*last).take_while(|(a, b)| a == b).count();
    first.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_share_what_they_begin_with() {
        let mut index = Index::default();
        index.insert("abc", "one", 2);
        index.insert("abd", "two", 1);
        index.insert("abd", "three", 0);
        let nodes = [
            &b"aa\xa0\0\0\x12"[..],                      // the root, at 12
            b"b\0cd\x40\0\0\x1e\x40\0\0\x2a",            // `ab`, at 18
            b"\0\0\0\x01\0\0\0\x02one\0",                // `abc`, at 30
            b"\0\0\0\x02\0\0\0\0three\0\0\0\0\x01two\0", // `abd`, at 42
        ];
        let head = b"\xb0\x07\xf4\x57\0\x02\0\x01\x20\0\0\x0c";
        assert_eq!(index.write(), [&head[..], &nodes.concat()].concat());
        assert_eq!(Index::default().write()[8..], [0, 0, 0, 12]);
    }
}
