//! Flattened device trees (Devicetree Specification v0.4, chapter 5). All numbers are big-endian.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Result};

/// First four bytes (section 5.2, `magic`).
pub const MAGIC: u32 = 0xd00d_feed;
/// Version that is written, and the oldest that a reader of it understands.
const VERSION: (u32, u32) = (17, 16);
/// Nodes within nodes that the reader follows.
const MAX_DEPTH: usize = 32;

/// Tokens of the structure block (section 5.4.1).
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// `struct fdt_header` (section 5.2).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: U32,
    totalsize: U32,
    off_dt_struct: U32,
    off_dt_strings: U32,
    off_mem_rsvmap: U32,
    version: U32,
    last_comp_version: U32,
    boot_cpuid_phys: U32,
    size_dt_strings: U32,
    size_dt_struct: U32,
}
const _: () = assert!(size_of::<Header>() == 40);
/// The empty memory reservation block: one entry of zeros (section 5.3).
const NO_RESERVATIONS: [u8; 16] = [0; 16];

/// A node with its properties and children, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Name with unit address: `memory@40000000`; empty for the root.
    pub name: String,
    /// Properties.
    pub properties: Vec<(String, Vec<u8>)>,
    /// Child nodes.
    pub children: Vec<Node>,
}

impl Node {
    /// A node called `name` without anything in it.
    pub fn new(name: impl ToString) -> Self {
        Self { name: name.to_string(), ..Self::default() }
    }

    /// With one more property.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.properties.push((name.to_string(), value.into()));
        self
    }

    /// With an empty property, whose presence is its value.
    #[must_use]
    pub fn flag(self, name: &str) -> Self {
        self.with(name, Vec::new())
    }

    /// With a property of 32-bit cells.
    #[must_use]
    pub fn cells(self, name: &str, cells: &[u32]) -> Self {
        self.with(name, cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<_>>())
    }

    /// With a property of 64-bit numbers, two cells each.
    #[must_use]
    pub fn wide(self, name: &str, numbers: &[u64]) -> Self {
        self.with(name, numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
    }

    /// With a property of texts, each with its terminator.
    #[must_use]
    pub fn texts(self, name: &str, texts: &[&str]) -> Self {
        let bytes = texts.iter().flat_map(|text| text.bytes().chain([0])).collect::<Vec<_>>();
        self.with(name, bytes)
    }

    /// With one more child.
    #[must_use]
    pub fn child(mut self, child: Node) -> Self {
        self.children.push(child);
        self
    }

    /// The value of the property `name`.
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// The child called `name`, with or without unit address.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name || c.name.split('@').next() == Some(name))
    }

    /// The tree below this root as a blob: header, no reservations, structure, strings in the order
    /// of their first use.
    pub fn write(&self) -> Vec<u8> {
        let (mut structure, mut strings) = (Vec::new(), Strings::default());
        self.put(&mut structure, &mut strings);
        structure.extend(END.to_be_bytes());
        let word = |length: usize| U32::new(u32::try_from(length).unwrap_or(u32::MAX));
        let off_mem_rsvmap = size_of::<Header>();
        let off_dt_struct = off_mem_rsvmap + NO_RESERVATIONS.len();
        let off_dt_strings = off_dt_struct + structure.len();
        let header = Header {
            magic: MAGIC.into(),
            totalsize: word(off_dt_strings + strings.bytes.len()),
            off_dt_struct: word(off_dt_struct),
            off_dt_strings: word(off_dt_strings),
            off_mem_rsvmap: word(off_mem_rsvmap),
            version: VERSION.0.into(),
            last_comp_version: VERSION.1.into(),
            boot_cpuid_phys: 0.into(),
            size_dt_strings: word(strings.bytes.len()),
            size_dt_struct: word(structure.len()),
        };
        [header.as_bytes(), &NO_RESERVATIONS, &structure, &strings.bytes].concat()
    }

    fn put(&self, structure: &mut Vec<u8>, strings: &mut Strings) {
        structure.extend(BEGIN_NODE.to_be_bytes());
        structure.extend(self.name.bytes().chain([0]));
        align(structure);
        for (name, value) in &self.properties {
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            let head = [PROP, length, strings.offset(name)];
            structure.extend(head.iter().flat_map(|word| word.to_be_bytes()));
            structure.extend(value);
            align(structure);
        }
        self.children.iter().for_each(|child| child.put(structure, strings));
        structure.extend(END_NODE.to_be_bytes());
    }

    /// Reads a blob: its header, and its tree to the end. Bytes behind `totalsize` are padding.
    ///
    /// # Errors
    /// Not a device tree, a version that this reader does not understand, a block outside of the
    /// blob, or a structure that is cut off or nested too deeply.
    pub fn parse(blob: &[u8]) -> Result<Self> {
        let header: &Header = Reader::new(blob).view("device tree header")?;
        let value = |what, offset, found: u32, expected: &str| {
            let (found, expected) = (format!("{found:#x}"), expected.to_string());
            Error::Value { what, offset, found, expected }
        };
        if header.magic.get() != MAGIC {
            return Err(value("device tree magic", 0, header.magic.get(), "0xd00dfeed"));
        }
        if header.last_comp_version > VERSION.0 || header.version < VERSION.1 {
            let expected = "one that version 17 can read";
            return Err(value("device tree version", 20, header.version.get(), expected));
        }
        let blob = Reader::new(blob).take(place(header.totalsize), "device tree")?;
        let strings = Reader::at(blob, place(header.off_dt_strings))
            .take(place(header.size_dt_strings), "device tree strings")?;
        let end = place(header.off_dt_struct).saturating_add(place(header.size_dt_struct));
        let structure = blob.get(..end).ok_or(Error::Truncated {
            what: "device tree structure",
            offset: place(header.off_dt_struct),
            needed: place(header.size_dt_struct),
            available: blob.len().saturating_sub(place(header.off_dt_struct)),
        })?;
        let mut parser =
            Parser { reader: Reader::at(structure, place(header.off_dt_struct)), strings };
        match parser.token()? {
            BEGIN_NODE => parser.node(MAX_DEPTH),
            other => Err(value("first device tree token", 56, other, "FDT_BEGIN_NODE (0x1)")),
        }
    }
}

fn place(value: U32) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

fn align(structure: &mut Vec<u8>) {
    structure.resize(structure.len().next_multiple_of(4), 0);
}

/// The strings block: each name once.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    known: Vec<(String, u32)>,
}

impl Strings {
    fn offset(&mut self, name: &str) -> u32 {
        if let Some((_, offset)) = self.known.iter().find(|(known, _)| known == name) {
            return *offset;
        }
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend(name.bytes().chain([0]));
        self.known.push((name.to_string(), offset));
        offset
    }
}

struct Parser<'a> {
    reader: Reader<'a>,
    strings: &'a [u8],
}

impl Parser<'_> {
    fn word(&mut self, what: &'static str) -> Result<u32> {
        self.reader.array(what).map(u32::from_be_bytes)
    }

    fn token(&mut self) -> Result<u32> {
        loop {
            match self.word("device tree token")? {
                NOP => {}
                token => return Ok(token),
            }
        }
    }

    fn aligned(&mut self) -> Result<()> {
        let padding = self.reader.offset().next_multiple_of(4) - self.reader.offset();
        self.reader.take(padding, "device tree padding").map(|_| ())
    }

    /// What follows the token of a node's beginning.
    fn node(&mut self, depth: usize) -> Result<Node> {
        let start = self.reader.offset();
        let mut node = Node::default();
        let mut name = Vec::new();
        while let Some(byte) = Some(self.reader.u8("device tree node name")?).filter(|b| *b != 0) {
            name.push(byte);
        }
        node.name = String::from_utf8_lossy(&name).into_owned();
        self.aligned()?;
        loop {
            let at = self.reader.offset();
            match (self.token()?, depth) {
                (BEGIN_NODE, 0) => {
                    return Err(unexpected(start, "a deeper node", "at most 32 levels"));
                }
                (BEGIN_NODE, _) => node.children.push(self.node(depth - 1)?),
                (PROP, _) => node.properties.push(self.property()?),
                (END_NODE, _) => return Ok(node),
                (other, _) => {
                    let expected = "FDT_BEGIN_NODE, FDT_PROP or FDT_END_NODE";
                    return Err(unexpected(at, &format!("{other:#x}"), expected));
                }
            }
        }
    }

    fn property(&mut self) -> Result<(String, Vec<u8>)> {
        let at = self.reader.offset();
        let length = self.word("device tree property")?;
        let name = usize::try_from(self.word("device tree property")?).unwrap_or(usize::MAX);
        let name = self.strings.get(name..).and_then(|rest| rest.split(|byte| *byte == 0).next());
        let name =
            name.ok_or_else(|| unexpected(at + 4, "an offset outside", "one in the strings"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let value = self.reader.take(length, "device tree property")?.to_vec();
        self.aligned()?;
        Ok((String::from_utf8_lossy(name).into_owned(), value))
    }
}

fn unexpected(offset: usize, found: &str, expected: &str) -> Error {
    let (found, expected) = (found.to_string(), expected.to_string());
    Error::Value { what: "device tree structure", offset, found, expected }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree() -> Node {
        let chosen =
            Node::new("chosen").texts("bootargs", &["console=hvc0"]).wide("start", &[1 << 40]);
        let memory = Node::new("memory@40000000").cells("reg", &[0, 1, 2]).flag("reg2");
        Node::new("").cells("#size-cells", &[2]).child(chosen).child(memory)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let blob = tree().write();
        assert_eq!(Node::parse(&blob), Ok(tree()));
        assert_eq!(Node::parse(&[&blob[..], &[0; 100]].concat()), Ok(tree()), "padding is no part");
        let memory = tree().node("memory").cloned().expect("by its name without address");
        assert_eq!(memory.property("reg"), Some(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..]));
    }

    // By the device tree compiler: `dtc -I dts -O dtb` of the same tree gives this digest.
    #[test]
    fn the_blob_is_that_of_the_specification() {
        let digest = crate::digest::Sha256::of(&tree().write()).to_string();
        assert_eq!(digest, "d8df95fae3ac31ccdb5394bc6f03e022568d6ffae3b11291178b893f6921c146");
    }

    #[test]
    fn what_is_no_device_tree_is_refused_with_the_reason() {
        let broken = |offset: usize, byte: u8| {
            let mut blob = tree().write();
            blob[offset] = byte;
            Node::parse(&blob).expect_err("a broken tree").to_string()
        };
        assert!(broken(0, 0).starts_with("device tree magic at byte offset 0x0"));
        assert!(broken(27, 18).starts_with("device tree version at byte offset 0x14"));
        assert!(broken(5, 1).starts_with("device tree at byte offset 0x0 needs"));
        assert!(broken(13, 1).starts_with("device tree strings at"));
        assert!(broken(37, 1).starts_with("device tree structure at"));
        assert!(broken(67, 7).contains("expected FDT_BEGIN_NODE, FDT_PROP or FDT_END_NODE"));
        let deep = (0..40).fold(Node::new("leaf"), |inner, _| Node::new("n").child(inner)).write();
        assert!(Node::parse(&deep).unwrap_err().to_string().contains("at most 32 levels"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, at in 0_usize..200) {
            let _ = Node::parse(&bytes);
            let mut blob = tree().write();
            blob.splice(at..(at + 1), bytes);
            let _ = Node::parse(&blob);
        }
    }
}
