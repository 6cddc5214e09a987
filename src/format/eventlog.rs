//! Event logs of measured boot: TCG2 (TPM) and CCEL (confidential computing), the same bytes.
//!
//! TCG PC Client Platform Firmware Profile 1.06, sections 10.2 (records) and 10.4 (events); UEFI
//! 2.10 section 38.4.1 for what the register index means in a CCEL.

mod kind;

pub use kind::*;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::{Error, Reader, Result};
use crate::digest::{Sha1, Sha256, Sha384, Sha512, Sm3};

/// Signature of the first event of a crypto-agile log (`TCG_EfiSpecIdEvent`), with its NUL.
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";

/// Signature of the event that tells from which locality the TPM was started (section 10.4.5.3).
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// More algorithms than this in a header are a broken header; the registry has fewer hashes.
const MAX_ALGORITHMS: u32 = 32;

/// A hash algorithm of the TCG Algorithm Registry (revision 1.34, table 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `TPM_ALG_SHA1`.
    Sha1,
    /// `TPM_ALG_SHA256`.
    Sha256,
    /// `TPM_ALG_SHA384`.
    Sha384,
    /// `TPM_ALG_SHA512`.
    Sha512,
    /// `TPM_ALG_SM3_256`.
    Sm3,
}

impl Algorithm {
    /// Every algorithm, by its identifier.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sm3];

    /// Identifier in logs.
    pub fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x4,
            Self::Sha256 => 0xb,
            Self::Sha384 => 0xc,
            Self::Sha512 => 0xd,
            Self::Sm3 => 0x12,
        }
    }

    /// Name on the command line and in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => Sha1::ALGORITHM,
            Self::Sha256 => Sha256::ALGORITHM,
            Self::Sha384 => Sha384::ALGORITHM,
            Self::Sha512 => Sha512::ALGORITHM,
            Self::Sm3 => Sm3::ALGORITHM,
        }
    }

    /// Width of a digest in bytes.
    pub fn width(self) -> usize {
        match self {
            Self::Sha1 => Sha1::WIDTH,
            Self::Sha256 => Sha256::WIDTH,
            Self::Sha384 => Sha384::WIDTH,
            Self::Sha512 => Sha512::WIDTH,
            Self::Sm3 => Sm3::WIDTH,
        }
    }

    /// The algorithm with identifier `id`.
    pub fn of_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.id() == id)
    }

    /// The algorithm called `name`.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Digest of the concatenation of `parts`.
    pub fn digest<'a>(self, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::of_parts(parts).0.to_vec(),
            Self::Sha256 => Sha256::of_parts(parts).0.to_vec(),
            Self::Sha384 => Sha384::of_parts(parts).0.to_vec(),
            Self::Sha512 => Sha512::of_parts(parts).0.to_vec(),
            Self::Sm3 => Sm3::of_parts(parts).0.to_vec(),
        }
    }

    /// A register that holds `value`, extended by `digest`.
    pub fn extend(self, value: &[u8], digest: &[u8]) -> Vec<u8> {
        self.digest([value, digest])
    }
}

/// A parsed log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Algorithms of the header, in its order: identifier and width of the digest.
    pub algorithms: Vec<(u16, u16)>,
    /// Platform class, version minor and major, errata and size of `UINTN`, as in the header.
    pub platform: [u8; 8],
    /// Vendor information at the end of the header.
    pub vendor: Vec<u8>,
    /// Events in order, without the header.
    pub records: Vec<Record>,
    /// What follows the last record.
    pub tail: Tail,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Register: a PCR, or in a CCEL a measurement register of the TEE ([`Registers`]).
    pub index: u32,
    /// Type ([`kind_name`]).
    pub kind: u32,
    /// Digests by identifier of the algorithm, in the order of the record.
    pub digests: Vec<(u16, Vec<u8>)>,
    /// Event data: a description, seldom what was hashed.
    pub data: Vec<u8>,
}

impl Record {
    /// Digest by `algorithm`.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&[u8]> {
        let (_, digest) = self.digests.iter().find(|(id, _)| *id == algorithm.id())?;
        Some(digest)
    }
}

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// With the last record.
    End,
    /// With so many bytes of padding, all bits set or all clear.
    Padding(usize),
    /// In the middle of a record: firmware ran out of space, or the file was cut.
    Cut(Error),
}

/// What the register index of the records means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registers {
    /// PCRs of a TPM.
    Pcr,
    /// UEFI 2.10 section 38.4.1 on Intel TDX: 0 is MRTD, 1 to 4 are RTMR0 to RTMR3.
    Tdx,
}

impl Registers {
    /// Name of the register with `index`.
    pub fn name(self, index: u32) -> String {
        match (self, index.checked_sub(1)) {
            (Self::Pcr, _) => format!("pcr{index}"),
            (Self::Tdx, None) => "mrtd".to_string(),
            (Self::Tdx, Some(rtmr)) => format!("rtmr{rtmr}"),
        }
    }
}

impl Log {
    /// Parses a log; padding and a record cut at the end are told apart in [`Log::tail`].
    ///
    /// # Errors
    /// The header is not that of a crypto-agile log, or a record contradicts it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut log = header(&mut reader)?;
        while reader.remaining() > 0 {
            let rest = bytes.get(reader.offset()..).unwrap_or_default();
            if is_padding(rest) {
                log.tail = Tail::Padding(rest.len());
                break;
            }
            match record(&mut reader, &log.algorithms) {
                Ok(record) => log.records.push(record),
                Err(error @ Error::Truncated { .. }) => {
                    log.tail = Tail::Cut(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(log)
    }

    /// The log's bytes. A cut tail is left out; padding has all bits set.
    pub fn write(&self) -> Vec<u8> {
        let mut spec = [&SPEC_ID[..], &self.platform, &length(self.algorithms.len())].concat();
        for (id, width) in &self.algorithms {
            spec.extend(id.to_le_bytes());
            spec.extend(width.to_le_bytes());
        }
        spec.push(u8::try_from(self.vendor.len()).unwrap_or(u8::MAX));
        spec.extend(self.vendor.iter().take(usize::from(u8::MAX)));
        let mut bytes = [&[0; 4][..], &EV_NO_ACTION.to_le_bytes(), &[0; 20]].concat();
        bytes.extend(length(spec.len()));
        bytes.extend(spec);
        self.records.iter().for_each(|record| write_record(record, &mut bytes));
        if let Tail::Padding(padding) = self.tail {
            bytes.resize(bytes.len() + padding, 0xff);
        }
        bytes
    }

    /// Algorithms of the header that are known.
    pub fn banks(&self) -> Vec<Algorithm> {
        self.algorithms.iter().filter_map(|(id, _)| Algorithm::of_id(*id)).collect()
    }

    /// What the register indices mean. A TPM log has events of PCR 0 and of several above 4; a
    /// TDX log has one bank, SHA-384, indices up to 4, and index 0 is never extended.
    pub fn registers(&self) -> Registers {
        let extended = self.records.iter().filter(|record| record.kind != EV_NO_ACTION);
        let indices: BTreeSet<_> = extended.map(|record| record.index).collect();
        let within = indices.iter().all(|index| (1..=4).contains(index));
        match self.banks()[..] == [Algorithm::Sha384] && within && !indices.is_empty() {
            true => Registers::Tdx,
            false => Registers::Pcr,
        }
    }

    /// Values of all registers that the log extends, after the last event.
    ///
    /// # Errors
    /// A record has no digest by `algorithm`.
    pub fn replay(&self, algorithm: Algorithm) -> Result<BTreeMap<u32, Vec<u8>>> {
        let mut registers = BTreeMap::new();
        for (number, record) in self.records.iter().enumerate() {
            if record.kind == EV_NO_ACTION {
                if let Some(start) = startup_locality(record, algorithm) {
                    registers.insert(0, start);
                }
                continue;
            }
            let digest = record.digest(algorithm).ok_or_else(|| Error::Missing {
                what: "digest of the bank",
                why: format!("event {number} has none by {}", algorithm.name()),
            })?;
            let value = registers.entry(record.index).or_insert_with(|| vec![0; algorithm.width()]);
            *value = algorithm.extend(value, digest);
        }
        Ok(registers)
    }
}

/// Start value of PCR 0, if `record` says that the TPM was started from another locality than 0.
fn startup_locality(record: &Record, algorithm: Algorithm) -> Option<Vec<u8>> {
    let locality = record.data.strip_prefix(STARTUP_LOCALITY)?.first()?;
    let mut start = vec![0; algorithm.width()];
    *start.last_mut()? = *locality;
    Some(start)
}

/// The header: an old-style record (SHA-1, one digest) that carries `TCG_EfiSpecIdEvent`.
fn header(reader: &mut Reader<'_>) -> Result<Log> {
    let what = "event log header";
    reader.take(28, what)?; // index, type, digest
    reader.u32(what)?; // length, which the contents say again
    let offset = reader.offset();
    let signature: [u8; 16] = reader.array(what)?;
    if &signature != SPEC_ID {
        return Err(Error::Value {
            what: "signature of the event log header",
            offset,
            found: format!("{:?}", String::from_utf8_lossy(&signature)),
            expected: "`Spec ID Event03`: a crypto-agile log (TCG2 or CCEL)".to_string(),
        });
    }
    let platform = reader.array(what)?;
    let offset = reader.offset();
    let count = reader.u32(what)?;
    if !(1..=MAX_ALGORITHMS).contains(&count) {
        let (found, expected) = (count.to_string(), format!("1 to {MAX_ALGORITHMS}"));
        return Err(Error::Value { what: "number of algorithms", offset, found, expected });
    }
    let mut algorithms = Vec::new();
    for _ in 0..count {
        algorithms.push(algorithm(reader)?);
    }
    let vendor = reader.u8(what)?;
    let vendor = reader.take(usize::from(vendor), what)?.to_vec();
    Ok(Log { algorithms, platform, vendor, records: Vec::new(), tail: Tail::End })
}

/// One algorithm of the header, with the width of its digests.
fn algorithm(reader: &mut Reader<'_>) -> Result<(u16, u16)> {
    let offset = reader.offset();
    let id = reader.u16("algorithm in the event log header")?;
    let width = reader.u16("algorithm in the event log header")?;
    let known = Algorithm::of_id(id);
    if known.is_some_and(|known| known.width() != usize::from(width)) {
        let expected = known.map_or(0, Algorithm::width).to_string();
        let found = format!("{width} for algorithm {id:#06x}");
        return Err(Error::Value { what: "width of a digest", offset, found, expected });
    }
    Ok((id, width))
}

/// One record (`TCG_PCR_EVENT2`).
fn record(reader: &mut Reader<'_>, algorithms: &[(u16, u16)]) -> Result<Record> {
    let index = reader.u32("event")?;
    let kind = reader.u32("event")?;
    let offset = reader.offset();
    let count = reader.u32("event")?;
    let most = u32::try_from(algorithms.len()).unwrap_or(u32::MAX);
    // None would extend nothing, and a record of zeros would be padding.
    if !(1..=most).contains(&count) {
        let expected = format!("1 to {most}, as the header has algorithms");
        let what = "number of digests of an event";
        return Err(Error::Value { what, offset, found: count.to_string(), expected });
    }
    let mut digests = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let id = reader.u16("digest of an event")?;
        let known = algorithms.iter().find(|(known, _)| *known == id);
        let (_, width) = known.ok_or_else(|| Error::Value {
            what: "algorithm of an event's digest",
            offset,
            found: format!("{id:#06x}"),
            expected: "one of the header's".to_string(),
        })?;
        digests.push((id, reader.take(usize::from(*width), "digest of an event")?.to_vec()));
    }
    let size = usize::try_from(reader.u32("event")?).unwrap_or(usize::MAX);
    let data = reader.take(size, "event data")?.to_vec();
    Ok(Record { index, kind, digests, data })
}

/// True for padding: an index with all bits set, or nothing but zeros.
fn is_padding(rest: &[u8]) -> bool {
    let set = rest.iter().take(8).all(|byte| *byte == 0xff);
    set || rest.iter().all(|byte| *byte == 0)
}

fn write_record(record: &Record, bytes: &mut Vec<u8>) {
    bytes.extend(record.index.to_le_bytes());
    bytes.extend(record.kind.to_le_bytes());
    bytes.extend(length(record.digests.len()));
    for (id, digest) in &record.digests {
        bytes.extend(id.to_le_bytes());
        bytes.extend(digest);
    }
    bytes.extend(length(record.data.len()));
    bytes.extend(&record.data);
}

/// A length as records carry it; nothing that fits in memory here is longer than 4 GiB.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests;
