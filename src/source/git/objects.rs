//! Objects of a repository by name, each hashed before it is believed.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::Decompress;
use flate2::read::ZlibDecoder;

use crate::digest::Sha1;
use crate::format::git::pack::{self, Form};
use crate::format::git::{Kind, Object, delta};
use crate::store::http::Client;
use crate::store::location::Location;

/// Most bytes of one object.
const MAX_OBJECT: usize = 1 << 30;
/// Most deltas between an object and one that is whole; Git makes no more than 4095.
const MAX_CHAIN: usize = 4096;

/// Where a repository keeps its objects.
pub(super) struct Objects<'w> {
    /// Its packs.
    pub(super) packs: Vec<Pack>,
    /// Directory of those that stand alone, if there is one.
    pub(super) loose: Option<(&'w Client, Location)>,
}

impl Objects<'_> {
    /// The object of that name.
    pub(super) fn get(&self, name: &Sha1) -> Result<Object> {
        let packed = self.packs.iter().find_map(|pack| Some((pack, *pack.index.get(name)?)));
        let object = match packed {
            Some((pack, offset)) => pack.object(offset),
            None => self.alone(name),
        };
        let object = object.with_context(|| format!("the object {name}"))?;
        let found = object.name();
        ensure!(found == *name, "the object {name} is broken: its contents have the name {found}");
        Ok(object)
    }

    fn alone(&self, name: &Sha1) -> Result<Object> {
        let (client, base) = self.loose.as_ref().context("it is in no pack")?;
        let hex = name.to_string();
        let place = base.join(&format!("{}/{}", &hex[..2], &hex[2..]));
        let bytes = client.read(&place, MAX_OBJECT as u64)?;
        let bytes = bytes.context("the repository does not have it")?;
        Ok(Object::of_loose(&inflate(&bytes, MAX_OBJECT)?)?)
    }

    /// The commit that `name` is or that the tag `name` stands for, and its tree.
    pub(super) fn commit(&self, name: &Sha1) -> Result<(Sha1, Sha1)> {
        let mut name = *name;
        for _ in 0..8 {
            let object = self.get(&name)?;
            match object.kind {
                Kind::Commit => return Ok((name, object.target()?)),
                Kind::Tag => name = object.target()?,
                other => bail!("{name} is a {}, not a commit", other.word()),
            }
        }
        bail!("{name} is a tag of a tag of a tag")
    }
}

/// A pack with its index.
pub(super) struct Pack {
    bytes: Vec<u8>,
    index: BTreeMap<Sha1, usize>,
}

impl Pack {
    /// A pack with the index that came with it.
    pub(super) fn indexed(bytes: Vec<u8>, index: &[u8]) -> Result<Self> {
        let index = pack::index(index)?.into_iter();
        let index = index.map(|(name, offset)| Ok((name, usize::try_from(offset)?)));
        Ok(Self { bytes, index: index.collect::<Result<_>>()? })
    }

    /// A pack that came alone: its index is made.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self> {
        let mut pack = Self { index: BTreeMap::new(), bytes };
        let mut open = pack.offsets()?;
        while !open.is_empty() {
            let mut left = Vec::new();
            let before = open.len();
            for offset in open {
                // A delta may stand before the object that it names: another round finds it.
                match pack.object(offset) {
                    Ok(object) => drop(pack.index.insert(object.name(), offset)),
                    Err(_) => left.push(offset),
                }
            }
            if left.len() == before {
                let first = left[0];
                let error = pack.object(first).err().context("the pack is broken")?;
                return Err(error.context(format!("the entry of the pack at {first:#x}")));
            }
            open = left;
        }
        Ok(pack)
    }

    /// Where the entries begin.
    fn offsets(&self) -> Result<Vec<usize>> {
        let count = pack::count(&self.bytes)?;
        let mut offset = pack::HEADER;
        let mut offsets = Vec::new();
        for _ in 0..count {
            offsets.push(offset);
            let head = pack::head(&self.bytes, offset)?;
            offset = head.data + deflated(self.data(head.data), head.size)?;
        }
        Ok(offsets)
    }

    fn data(&self, from: usize) -> &[u8] {
        self.bytes.get(from..).unwrap_or_default()
    }

    /// The object at `offset`, with all deltas between it and one that is whole.
    fn object(&self, offset: usize) -> Result<Object> {
        let (mut offset, mut deltas) = (offset, Vec::new());
        loop {
            let head = pack::head(&self.bytes, offset)?;
            ensure!(head.size <= MAX_OBJECT, "an object of {} bytes", head.size);
            let contents = inflate(self.data(head.data), head.size)?;
            ensure!(contents.len() == head.size, "an entry is shorter than it states");
            offset = match head.form {
                Form::Whole(kind) => {
                    let apply = |base: Vec<u8>, delta: &Vec<u8>| delta::apply(&base, delta);
                    let data = deltas.iter().rev().try_fold(contents, apply)?;
                    return Ok(Object { kind, data });
                }
                Form::DeltaAt(base) => base,
                Form::DeltaOf(name) => {
                    *self.index.get(&name).with_context(|| format!("{name} is in no pack"))?
                }
            };
            deltas.push(contents);
            ensure!(deltas.len() <= MAX_CHAIN, "more than {MAX_CHAIN} deltas in a row");
        }
    }
}

/// At most `most` bytes of what `bytes` begin with; more is an error.
fn inflate(bytes: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut inflated = Vec::new();
    let limit = most as u64 + 1;
    ZlibDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut inflated)
        .context("inflating an object")?;
    ensure!(inflated.len() <= most, "an object is longer than {most} bytes");
    Ok(inflated)
}

/// How many bytes what inflates to `size` bytes takes.
fn deflated(bytes: &[u8], size: usize) -> Result<usize> {
    let mut inflater = Decompress::new(true);
    let mut buffer = [0; 1 << 15];
    loop {
        let (read, made) = (inflater.total_in(), inflater.total_out());
        let rest = bytes.get(usize::try_from(read)?..).unwrap_or_default();
        let status = inflater.decompress(rest, &mut buffer, flate2::FlushDecompress::None);
        let ended = status.context("inflating an object")? == flate2::Status::StreamEnd;
        ensure!(inflater.total_out() <= size as u64, "an entry is longer than it states");
        if ended {
            return Ok(usize::try_from(inflater.total_in())?);
        }
        let moved = (inflater.total_in(), inflater.total_out()) != (read, made);
        ensure!(moved, "the pack ends within an entry");
    }
}
