//! Intel SGX on the wire: SIGSTRUCT and the records of an enclave's measurement.
//!
//! Intel SDM volume 3D, chapter 35 (enclave data structures, section 35.14 for SIGSTRUCT) and the
//! operations of ECREATE, EADD and EEXTEND in chapter 36, which say what each one hashes.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use num_bigint::BigUint;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Reader, Result};
use crate::digest::Sha256;

/// Bytes of an RSA-3072 number.
pub const KEY_SIZE: usize = 384;
/// The one public exponent that SIGSTRUCT allows.
const EXPONENT: u32 = 3;

/// `ATTRIBUTES.DEBUG`: the enclave's memory can be read from outside.
pub const ATTRIBUTE_DEBUG: u64 = 1 << 1;
/// `ATTRIBUTES.MODE64BIT`.
pub const ATTRIBUTE_MODE64BIT: u64 = 1 << 2;

/// `SECINFO.FLAGS`: readable.
pub const SECINFO_R: u64 = 1;
/// `SECINFO.FLAGS`: writable.
pub const SECINFO_W: u64 = 2;
/// `SECINFO.FLAGS`: executable.
pub const SECINFO_X: u64 = 4;
/// `SECINFO.FLAGS.PAGE_TYPE`: thread control structure.
pub const SECINFO_TCS: u64 = 0x100;
/// `SECINFO.FLAGS.PAGE_TYPE`: regular page.
pub const SECINFO_REG: u64 = 0x200;

/// SIGSTRUCT (SDM table 35-21). Numbers of the RSA key are little-endian.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sigstruct {
    header: [u8; 16],
    /// 0, or 0x8086 for Intel.
    pub vendor: U32,
    /// Date as hexadecimal digits `yyyymmdd`.
    pub date: U32,
    header2: [u8; 16],
    /// For the signer's use.
    pub swdefined: U32,
    reserved1: [u8; 84],
    /// Modulus of the signing key.
    pub modulus: [u8; KEY_SIZE],
    exponent: U32,
    /// PKCS #1 v1.5 signature with SHA-256 over [`Self::signed_data`].
    pub signature: [u8; KEY_SIZE],
    /// Bits of SSA frames that are extended.
    pub miscselect: U32,
    /// Which bits of [`Self::miscselect`] are enforced.
    pub miscmask: U32,
    reserved2: [u8; 4],
    isv_family_id: [u8; 16],
    /// `ATTRIBUTES.FLAGS`.
    pub attributes: U64,
    /// `ATTRIBUTES.XFRM`.
    pub xfrm: U64,
    /// Which bits of [`Self::attributes`] are enforced.
    pub attributes_mask: U64,
    /// Which bits of [`Self::xfrm`] are enforced.
    pub xfrm_mask: U64,
    /// MRENCLAVE.
    pub enclave_hash: [u8; 32],
    reserved3: [u8; 16],
    isv_ext_prod_id: [u8; 16],
    /// Product identifier.
    pub isv_prod_id: U16,
    /// Security version.
    pub isv_svn: U16,
    reserved4: [u8; 12],
    /// `floor(s^2 / n)`.
    pub q1: [u8; KEY_SIZE],
    /// `floor((s^3 - q1 * s * n) / n)`.
    pub q2: [u8; KEY_SIZE],
}
const _: () = assert!(size_of::<Sigstruct>() == 1808);

/// SDM table 35-21: HEADER and HEADER2 are these bytes (bit 31 of the first word that follows the
/// 12 fixed bytes of HEADER, «debug», is no longer checked).
const HEADER: [u8; 12] = [6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0];
const HEADER2: [u8; 16] = [1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0];

impl Sigstruct {
    /// Reads a SIGSTRUCT; its signature is checked by [`Self::check`].
    ///
    /// # Errors
    /// Fewer than 1808 bytes, or fixed bytes that differ.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let read: &Self = Reader::new(bytes).view("SIGSTRUCT")?;
        fixed("SIGSTRUCT HEADER", 0, read.header.get(..12).unwrap_or_default(), &HEADER)?;
        fixed("SIGSTRUCT HEADER2", 24, &read.header2, &HEADER2)?;
        fixed("SIGSTRUCT EXPONENT", 512, read.exponent.as_bytes(), &EXPONENT.to_le_bytes())?;
        Ok(read.clone())
    }

    /// A SIGSTRUCT for `mrenclave`, not yet signed: date 0, all attribute bits enforced but DEBUG's,
    /// which a verifier sees anyway. Fields are set by the caller, then it is signed by
    /// [`Self::sign_with`].
    pub fn new(mrenclave: &Sha256) -> Self {
        let mut new = Self::new_zeroed();
        if let Some(header) = new.header.get_mut(..HEADER.len()) {
            header.copy_from_slice(&HEADER);
        }
        new.header2 = HEADER2;
        new.exponent = EXPONENT.into();
        new.attributes = ATTRIBUTE_MODE64BIT.into();
        new.attributes_mask = (!ATTRIBUTE_DEBUG).into();
        new.xfrm = 3.into();
        new.xfrm_mask = (!0x00e4_u64).into();
        new.miscmask = U32::MAX_VALUE;
        new.enclave_hash = mrenclave.0;
        new
    }

    /// What the signature covers: bytes 0 to 127 and 900 to 1027.
    pub fn signed_data(&self) -> Vec<u8> {
        let bytes = self.as_bytes();
        let part = |range| bytes.get(range).unwrap_or_default();
        [part(0..128), part(900..1028)].concat()
    }

    /// MRSIGNER: SHA-256 of the modulus as it stands here.
    pub fn mrsigner(&self) -> Sha256 {
        Sha256::of(&self.modulus)
    }

    /// Puts modulus and signature (both big-endian) in, and computes Q1 and Q2 for the processor.
    ///
    /// # Errors
    /// The signature is not one of the key over [`Self::signed_data`].
    pub fn sign_with(&mut self, modulus: [u8; KEY_SIZE], signature: [u8; KEY_SIZE]) -> Result<()> {
        (self.modulus, self.signature) = (modulus, signature);
        self.modulus.reverse();
        self.signature.reverse();
        (self.q1, self.q2) = self.quotients()?;
        self.check()
    }

    /// Checks the signature (RSASSA-PKCS1-v1_5, RFC 8017 section 8.2.2) and both quotients.
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn check(&self) -> Result<()> {
        let (q1, q2) = self.quotients()?;
        let (s, n) = (number(&self.signature), number(&self.modulus));
        let opened = bytes(&s.modpow(&EXPONENT.into(), &n));
        let expected = padded(&Sha256::of(&self.signed_data()));
        fixed("SIGSTRUCT SIGNATURE, opened by its MODULUS,", 516, &opened, &expected)?;
        fixed("SIGSTRUCT Q1", 1040, &self.q1, &q1)?;
        fixed("SIGSTRUCT Q2", 1424, &self.q2, &q2)
    }

    /// Q1 and Q2 for the signature (SDM table 35-21), which spare the processor two divisions.
    fn quotients(&self) -> Result<([u8; KEY_SIZE], [u8; KEY_SIZE])> {
        let (s, n) = (number(&self.signature), number(&self.modulus));
        if s >= n {
            let (found, expected) = ("not below MODULUS".to_string(), "below MODULUS".to_string());
            return Err(Error::Value { what: "SIGSTRUCT SIGNATURE", offset: 516, found, expected });
        }
        let square = &s * &s;
        let q1 = &square / &n;
        let q2 = (square * &s - &q1 * &s * &n) / &n;
        Ok((bytes(&q1), bytes(&q2)))
    }
}

fn fixed(what: &'static str, offset: usize, found: &[u8], expected: &[u8]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let (found, expected) = (found.get(at..), expected.get(at..));
    let start = |bytes: Option<&[u8]>| {
        crate::digest::hex(bytes.and_then(|b| b.get(..b.len().min(8))).unwrap_or_default())
    };
    Err(Error::Value { what, offset: offset + at, found: start(found), expected: start(expected) })
}

fn number(little_endian: &[u8]) -> BigUint {
    BigUint::from_bytes_le(little_endian)
}

/// `number`, which is below 2^3072, as little-endian bytes.
fn bytes(number: &BigUint) -> [u8; KEY_SIZE] {
    let mut bytes = [0; KEY_SIZE];
    bytes.iter_mut().zip(number.to_bytes_le()).for_each(|(to, from)| *to = from);
    bytes
}

/// DER of the `DigestInfo` of SHA-256 before the digest (RFC 8017 section 9.2, note 1).
pub const DIGEST_INFO: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// EMSA-PKCS1-v1_5 of `digest` (RFC 8017 section 9.2), little-endian.
fn padded(digest: &Sha256) -> [u8; KEY_SIZE] {
    let mut padded = [0xff; KEY_SIZE];
    let tail = [&[0], DIGEST_INFO, &digest.0].concat();
    padded.iter_mut().zip(tail.iter().rev()).for_each(|(to, from)| *to = *from);
    if let Some(last) = padded.last_chunk_mut::<2>() {
        *last = [1, 0];
    }
    padded
}

/// One record of an SGXS stream: the 64 bytes that an instruction hashes, and its data.
///
/// The SGXS format (Fortanix, `sgxs` crate) is just this stream, so that its SHA-256 is MRENCLAVE;
/// `UNSIZED` and `UNMEASRD` records are for the loader and are not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// ECREATE.
    Create {
        /// `SECS.SSAFRAMESIZE`, pages.
        ssa_frame_size: u32,
        /// `SECS.SIZE`, bytes.
        size: u64,
    },
    /// EADD.
    Add {
        /// Offset of the page in the enclave.
        offset: u64,
        /// `SECINFO.FLAGS`.
        flags: u64,
    },
    /// EEXTEND.
    Extend {
        /// Offset of the chunk in the enclave.
        offset: u64,
        /// The chunk.
        data: &'a [u8; CHUNK],
    },
    /// A chunk that is loaded and not measured.
    Unmeasured {
        /// Offset of the chunk in the enclave.
        offset: u64,
    },
}

/// Bytes that one EEXTEND measures.
pub const CHUNK: usize = 256;
/// Bytes of a record without its data.
const RECORD: usize = 64;

impl<'a> Record<'a> {
    /// Reads the next record of a stream.
    ///
    /// # Errors
    /// An unknown tag, or a record that is cut off.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let at = reader.offset();
        let mut head = Reader::new(reader.take(RECORD, "SGXS record")?);
        let tag: [u8; 8] = head.array("SGXS tag")?;
        if &tag == b"ECREATE\0" {
            let (ssa_frame_size, size) = (head.u32("SSAFRAMESIZE")?, head.u64("SIZE")?);
            return Ok(Self::Create { ssa_frame_size, size });
        }
        let offset = head.u64("SGXS offset")?;
        match &tag {
            b"EADD\0\0\0\0" => Ok(Self::Add { offset, flags: head.u64("SECINFO.FLAGS")? }),
            b"EEXTEND\0" => Ok(Self::Extend { offset, data: chunk(reader)? }),
            b"UNMEASRD" => chunk(reader).map(|_| Self::Unmeasured { offset }),
            _ => {
                let expected = "ECREATE, EADD, EEXTEND or UNMEASRD".to_string();
                let found = format!("{:?}", alloc::string::String::from_utf8_lossy(&tag));
                Err(Error::Value { what: "SGXS tag", offset: at, found, expected })
            }
        }
    }

    /// What the instruction hashes: its 64-byte record and the data; nothing for
    /// [`Record::Unmeasured`].
    pub fn measured(&self) -> ([u8; RECORD], &'a [u8]) {
        match *self {
            Self::Create { ssa_frame_size, size } => {
                (record(b"ECREATE", &[&ssa_frame_size.to_le_bytes(), &size.to_le_bytes()]), &[])
            }
            Self::Add { offset, flags } => {
                (record(b"EADD", &[&offset.to_le_bytes(), &flags.to_le_bytes()]), &[])
            }
            Self::Extend { offset, data } => (record(b"EEXTEND", &[&offset.to_le_bytes()]), data),
            Self::Unmeasured { offset } => (record(b"UNMEASRD", &[&offset.to_le_bytes()]), &[]),
        }
    }
}

fn chunk<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; CHUNK]> {
    let offset = reader.offset();
    let taken = reader.take(CHUNK, "SGXS data")?;
    let error = Error::Truncated { what: "SGXS data", offset, needed: CHUNK, available: 0 };
    taken.try_into().map_err(|_| error)
}

/// The eight-byte tag, `fields` behind it, zeros to the end.
fn record(tag: &[u8], fields: &[&[u8]]) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let tagged = tag.iter().copied().chain(core::iter::repeat(0)).take(8);
    let all = tagged.chain(fields.iter().flat_map(|field| field.iter().copied()));
    record.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    record
}
