//! IBM Secure Execution images: where header and components lie.
//!
//! A file offset is a guest address. Written from s390-tools (`rust/pvimg/src/se_img.rs` and
//! `se_img_comps/`): a short PSW at 0, metadata at 0xc000, the loader stage3a at 0x10000, the
//! header, the components, and at the end the IPL parameter block that lists them. Big-endian.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::se_header::Header;
use super::{Error, Reader, Result};

/// Place of the metadata.
pub const METADATA: usize = 0xc000;
/// Address at which stage3a is loaded.
pub const STAGE3A: usize = 0x1_0000;
/// Lowest address of the header: attestation tools look for it from here on.
pub const FIRST_HEADER: usize = 0x1_4000;
const MAGIC: [u8; 8] = *b"SeImgLnx";

/// Metadata by which tools find the parts.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Metadata {
    magic: [u8; 8],
    hdr_off: U64,
    version: U32,
    ipib_off: U64,
}
const _: () = assert!(size_of::<Metadata>() == 28);

/// IPL parameter block with its one sub-block for protected virtualisation (`ipl_pb0_pv`).
#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Ipib {
    len: U32,
    flags: u8,
    reserved1: [u8; 2],
    version: u8,
    pv_len: U32,
    pbt: u8,
    reserved2: [u8; 3],
    loadparm: [u8; 8],
    reserved3: [u8; 87],
    pv_version: u8,
    reserved4: [u8; 4],
    num_comp: U32,
    pv_hdr_addr: U64,
    pv_hdr_size: U64,
}
const _: () = assert!(size_of::<Ipib>() == 136);
/// `IPL_PBT_PV`.
const PBT_PV: u8 = 5;

/// `ipl_pb0_pv_comp`: one component.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Component {
    /// First half of the tweak of each of its pages; the other half counts bytes.
    pub tweak: U64,
    /// Address.
    pub address: U64,
    /// Bytes, whole pages.
    pub length: U64,
}

/// An image, as far as it lies open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// The header.
    pub header: Header,
    /// The components in the order of their addresses, each with its pages.
    pub components: Vec<(Component, &'a [u8])>,
}

/// True when `bytes` claim to be an image.
pub fn is_image(bytes: &[u8]) -> bool {
    bytes.get(METADATA..).is_some_and(|rest| rest.starts_with(&MAGIC))
}

impl<'a> Image<'a> {
    /// Reads an image.
    ///
    /// # Errors
    /// Not an image, or parts that lie outside of it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let metadata: &Metadata = Reader::at(bytes, METADATA).view("image metadata")?;
        let wrong = |what, offset, found: u64, expected: &str| {
            let (found, expected) = (format!("{found:#x}"), expected.to_string());
            Error::Value { what, offset, found, expected }
        };
        if metadata.magic != MAGIC || metadata.version != 1 {
            let found = u64::from_be_bytes(metadata.magic);
            let expected = "\"SeImgLnx\" and version 1: not a Secure Execution image";
            return Err(wrong("image metadata", METADATA, found, expected));
        }
        let header = bytes.get(place(metadata.hdr_off)..).unwrap_or_default();
        let ipib_at = place(metadata.ipib_off);
        let mut reader = Reader::at(bytes, ipib_at);
        let ipib: &Ipib = reader.view("IPL parameter block")?;
        if ipib.pbt != PBT_PV {
            let what = "type of the IPL parameter block";
            return Err(wrong(what, ipib_at.saturating_add(12), ipib.pbt.into(), "0x5"));
        }
        let count = ipib.num_comp.get();
        let components = (0..count).map(|_| component(bytes, &mut reader));
        Ok(Self { header: Header::parse(header)?, components: components.collect::<Result<_>>()? })
    }
}

fn component<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Result<(Component, &'a [u8])> {
    let at = reader.offset();
    let component: &Component = reader.view("component of the IPL parameter block")?;
    let length = place(component.length);
    if !length.is_multiple_of(4096) || !component.address.get().is_multiple_of(4096) {
        let found = format!("{:#x} bytes at {:#x}", length, component.address);
        let expected = "whole pages".to_string();
        return Err(Error::Value { what: "component", offset: at, found, expected });
    }
    let pages = Reader::at(bytes, place(component.address)).take(length, "component")?;
    Ok((component.clone(), pages))
}

fn place(value: U64) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}

/// Metadata for a header and an IPL parameter block at these addresses.
pub fn metadata(header: u64, ipib: u64) -> Vec<u8> {
    let metadata =
        Metadata { magic: MAGIC, hdr_off: header.into(), version: 1.into(), ipib_off: ipib.into() };
    metadata.as_bytes().to_vec()
}

/// The IPL parameter block for a header (address and bytes) and components.
pub fn ipib(header: (u64, u64), components: &[Component]) -> Vec<u8> {
    let word = |number: usize| U32::new(u32::try_from(number).unwrap_or(u32::MAX));
    let length = size_of::<Ipib>() + size_of_val(components);
    let head = Ipib {
        len: word(length),
        flags: 0,
        reserved1: [0; 2],
        version: 1,
        pv_len: word(length - 8),
        pbt: PBT_PV,
        reserved2: [0; 3],
        loadparm: [0; 8],
        reserved3: [0; 87],
        pv_version: 1,
        reserved4: [0; 4],
        num_comp: word(components.len()),
        pv_hdr_addr: header.0.into(),
        pv_hdr_size: header.1.into(),
    };
    [head.as_bytes(), components.as_bytes()].concat()
}
