//! Tests of `tar`.

use super::*;
use proptest::prelude::*;

/// Writes archives for tests; every field can be broken.
pub(crate) struct Builder(Vec<u8>);

impl Builder {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// An entry of type `flag` with mode 0644, or 0755 for a directory.
    pub(crate) fn entry(self, flag: u8, path: &str, link: &str, data: &[u8]) -> Self {
        let mode = if flag == b'5' { 0o755 } else { 0o644 };
        self.raw(flag, (path.as_bytes(), link.as_bytes()), mode, data)
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(b'0', path, "", data)
    }

    pub(crate) fn raw(mut self, flag: u8, names: (&[u8], &[u8]), mode: u32, data: &[u8]) -> Self {
        let mut block = [0u8; BLOCK];
        block[..names.0.len()].copy_from_slice(names.0);
        block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = flag;
        block[157..157 + names.1.len()].copy_from_slice(names.1);
        block[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut block);
        self.0.extend(block);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let text: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.entry(b'x', "PaxHeaders/0", "", text.as_bytes())
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}

fn seal(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn pax_record(key: &str, value: &str) -> String {
    let body = key.len() + value.len() + 3;
    let digits = (1..).find(|d| (body + d).to_string().len() == *d).unwrap();
    format!("{} {key}={value}\n", body + digits)
}

fn one(archive: Vec<u8>) -> Entry {
    let mut entries = parse(&archive).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn error(archive: Vec<u8>) -> String {
    parse(&archive).unwrap_err().to_string()
}

#[test]
fn kinds_and_contents() {
    let archive = Builder::new()
        .entry(b'5', "./", "", b"")
        .file("./a", b"hello")
        .entry(b'1', "./b", "./a", b"")
        .entry(b'2', "./c", "a", b"")
        .entry(b'6', "./p", "", b"")
        .end();
    let entries = parse(&archive).unwrap();
    assert_eq!(entries[0].kind, Kind::Directory);
    let Kind::File(range) = &entries[1].kind else { panic!("{:?}", entries[1]) };
    assert_eq!(&archive[range.clone()], b"hello");
    assert_eq!(entries[2].kind, Kind::Hardlink("./a".into()));
    assert_eq!(entries[3].kind, Kind::Symlink("a".into()));
    assert_eq!(entries[4].kind, Kind::Fifo);
    assert_eq!((entries[1].mode, entries[1].offset), (0o644, BLOCK));
}

#[test]
fn long_names_of_gnu_and_pax() {
    let long = "d/".repeat(120) + "f";
    let gnu = Builder::new()
        .entry(b'K', "././@LongLink", "", format!("{long}\0").as_bytes())
        .entry(b'L', "././@LongLink", "", format!("{long}\0").as_bytes())
        .entry(b'2', "cut", "cut", b"")
        .end();
    let entry = one(gnu);
    assert_eq!((entry.path.as_str(), entry.kind), (long.as_str(), Kind::Symlink(long.clone())));
    let pax = Builder::new()
        .pax(&[("path", &long), ("uid", "70000"), ("mtime", "1.5"), ("SCHILY.xattr.user.x", "v")])
        .file("cut", b"")
        .end();
    let entry = one(pax);
    assert_eq!((entry.path.as_str(), entry.uid), (long.as_str(), 70000));
    assert_eq!(entry.xattrs["user.x"], b"v");
}

#[test]
fn extended_headers_serve_one_entry_only() {
    let archive = Builder::new().pax(&[("path", "x")]).file("a", b"").file("b", b"").end();
    let paths: Vec<_> = parse(&archive).unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["x", "b"]);
}

#[test]
fn what_packages_have_no_reason_to_hold_is_refused() {
    assert!(error(Builder::new().entry(b'S', "s", "", b"").end()).contains("a sparse file (S)"));
    assert!(error(Builder::new().entry(b'M', "s", "", b"").end()).contains("another volume"));
    let sparse = Builder::new().pax(&[("GNU.sparse.major", "1")]).file("s", b"").end();
    assert!(error(sparse).contains("found `GNU.sparse.major`"));
    let global = Builder::new().entry(b'g', "g", "", pax_record("path", "x").as_bytes()).end();
    assert!(error(global).contains("found `path`"));
    let latin = Builder::new().raw(b'0', (b"caf\xe9", b""), 0o644, b"").end();
    assert!(error(latin).contains("expected UTF-8 without NUL, found caf\\xe9"));
}

#[test]
fn broken_headers_say_where() {
    let mut archive = Builder::new().file("a", b"1").file("b", b"2").end();
    archive[2 * BLOCK] = b'c';
    let expected = "checksum of tar header at byte offset 0x400: expected";
    assert!(error(archive.clone()).starts_with(expected), "{}", error(archive));
    let mut behind = Builder::new().end();
    behind[700] = 1;
    assert!(error(behind).contains("offset 0x2bc: expected only zeros"));
}

#[test]
fn every_cut_is_refused() {
    let archive = Builder::new().file("a", b"1").entry(b'5', "d", "", b"").end();
    let whole = archive.len() - BLOCK; // one block of zeros is an end, too
    for cut in 0..whole {
        assert!(parse(&archive[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn binary_numbers_of_gnu() {
    let mut archive = Builder::new().file("a", b"").end();
    let block: &mut [u8; BLOCK] = (&mut archive[..BLOCK]).try_into().unwrap();
    block[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
    block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    seal(block);
    assert_eq!(one(archive.clone()).uid, 0x1234_5678);
    let block: &mut [u8; BLOCK] = (&mut archive[..BLOCK]).try_into().unwrap();
    block[124..136].fill(0xff); // minus one
    seal(block);
    assert!(error(archive).contains("number in tar header"));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        mut archive in Just(Builder::new().pax(&[("size", "3")]).file("a", b"abc").end()),
        edits in prop::collection::vec((0usize..2048, any::<u8>(), any::<bool>()), 0..6),
    ) {
        for (at, byte, sealed) in edits {
            archive[at] = byte;
            let start = at / BLOCK * BLOCK;
            if sealed {
                seal((&mut archive[start..start + BLOCK]).try_into().unwrap());
            }
        }
        for entry in parse(&archive).unwrap_or_default() {
            if let Kind::File(range) = entry.kind {
                prop_assert!(range.start <= range.end && range.end <= archive.len());
            }
        }
    }
}
