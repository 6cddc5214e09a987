//! The IBM Secure Execution header, version 1.
//!
//! Laid out as s390-tools writes it (`rust/pvimg/src/pv_utils/se_hdr/hdr_v1.rs`). All numbers are
//! big-endian. The header is authenticated as a whole and its last part is encrypted.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Result};

/// First bytes of every header.
pub const MAGIC: [u8; 8] = *b"IBMSecEx";
/// The one version: 0x100.
pub const VERSION: u32 = 0x100;
/// Bytes of the encrypted part: CCK, image key, PSW, secret control flags, padding.
pub const ENCRYPTED: usize = 128;
/// Bytes that a header takes at most.
pub const MAX_SIZE: usize = 2 * 4096;

/// What stands before the key slots.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Fixed {
    magic: [u8; 8],
    version: U32,
    sehs: U32,
    /// Initialisation vector of the header's encryption.
    pub iv: [u8; 12],
    reserved: U32,
    nks: U64,
    sea: U64,
    /// Pages that are encrypted, or would be.
    pub nep: U64,
    /// Plaintext control flags.
    pub pcf: U64,
    /// The customer's public key: X and Y, each filled to 80 bytes from the left.
    pub customer: [u8; 160],
    /// Page list digest: over contents.
    pub pld: [u8; 64],
    /// Address list digest.
    pub ald: [u8; 64],
    /// Tweak list digest.
    pub tld: [u8; 64],
}
const _: () = assert!(size_of::<Fixed>() == 416);

/// The header key, wrapped for one host.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Slot {
    /// SHA-256 of the host's public key.
    pub phkh: [u8; 32],
    /// The header key, encrypted.
    pub wrapped: [u8; 32],
    /// Authentication tag of the encryption.
    pub tag: [u8; 16],
}
const _: () = assert!(size_of::<Slot>() == 80);

/// A header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Everything before the key slots.
    pub fixed: Fixed,
    /// One slot per host.
    pub slots: Vec<Slot>,
    /// The encrypted part.
    pub encrypted: [u8; ENCRYPTED],
    /// Authentication tag over all before it: `se.tag`.
    pub tag: [u8; 16],
}

impl Fixed {
    /// The fixed part of a header with `slots` slots, to be filled by the caller.
    pub fn new(slots: usize) -> Self {
        let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            magic: MAGIC,
            version: VERSION.into(),
            sehs: u32::try_from(size(slots)).unwrap_or(u32::MAX).into(),
            iv: [0; 12],
            reserved: 0.into(),
            nks: wide(slots).into(),
            sea: wide(ENCRYPTED).into(),
            nep: 0.into(),
            pcf: 0.into(),
            customer: [0; 160],
            pld: [0; 64],
            ald: [0; 64],
            tld: [0; 64],
        }
    }
}

/// Bytes of a header with `slots` slots.
pub fn size(slots: usize) -> usize {
    let fixed = size_of::<Fixed>() + ENCRYPTED + 16;
    slots.saturating_mul(size_of::<Slot>()).saturating_add(fixed)
}

impl Header {
    /// Reads a header; bytes behind it are none of its.
    ///
    /// # Errors
    /// Not a header of version 1, or sizes that contradict each other.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let fixed: &Fixed = reader.view("Secure Execution header")?;
        let wrong = |what, offset, found: u64, expected: &str| {
            let (found, expected) = (format!("{found:#x}"), expected.to_string());
            Err(Error::Value { what, offset, found, expected })
        };
        if fixed.magic != MAGIC {
            let found = u64::from_be_bytes(fixed.magic);
            return wrong("Secure Execution header magic", 0, found, "\"IBMSecEx\"");
        }
        if fixed.version != VERSION {
            let found = fixed.version.get().into();
            return wrong("Secure Execution header version", 8, found, "0x100");
        }
        let (nks, sea) = (fixed.nks.get(), fixed.sea.get());
        if sea != 128 {
            return wrong("size of the encrypted area", 40, sea, "0x80");
        }
        let slots = usize::try_from(nks).ok().filter(|n| (1..=95).contains(n));
        let Some(slots) = slots else {
            return wrong("number of key slots", 32, nks, "1 to 95, as two pages hold");
        };
        if usize::try_from(fixed.sehs.get()).ok() != Some(size(slots)) {
            let expected = format!("{:#x}, for {slots} key slots", size(slots));
            return wrong("header size", 12, fixed.sehs.get().into(), &expected);
        }
        let slots = (0..slots).map(|_| reader.view::<Slot>("key slot").cloned());
        Ok(Self {
            fixed: fixed.clone(),
            slots: slots.collect::<Result<_>>()?,
            encrypted: reader.array("encrypted area")?,
            tag: reader.array("header tag")?,
        })
    }

    /// What the tag authenticates beside the encrypted part: everything before that.
    pub fn authenticated(&self) -> Vec<u8> {
        [self.fixed.as_bytes(), self.slots.as_bytes()].concat()
    }

    /// The header as bytes.
    pub fn write(&self) -> Vec<u8> {
        [&self.authenticated()[..], &self.encrypted, &self.tag].concat()
    }
}
