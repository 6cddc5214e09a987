//! ID block and ID authentication information: what an SNP guest is to be, signed by its owner (AMD
//! 56860, SNP_LAUNCH_FINISH, tables 75 and 76; keys and signatures: chapter 10).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// ID block: the digest a guest must have, and who it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IdBlock {
    /// The launch digest that the guest must have.
    pub ld: [u8; 48],
    /// Family of the guest, any bytes.
    pub family_id: [u8; 16],
    /// Image of the guest, any bytes.
    pub image_id: [u8; 16],
    /// Version of this structure: 1.
    pub version: U32,
    /// Security version of the guest.
    pub guest_svn: U32,
    /// Policy of the guest; that of the launch must equal it.
    pub policy: U64,
}

const _: () = assert!(size_of::<IdBlock>() == 0x60);

/// A public key.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PublicKey {
    /// Curve: 2 for P-384, 0 for no key.
    pub curve: U32,
    /// X, little-endian.
    pub qx: [u8; 72],
    /// Y, little-endian.
    pub qy: [u8; 72],
    /// Zeros.
    pub reserved: [u8; 880],
}

const _: () = assert!(size_of::<PublicKey>() == 0x404);

/// A signature.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Signature {
    /// R, little-endian, of fixed width.
    pub r: [u8; 72],
    /// S, likewise.
    pub s: [u8; 72],
    /// Zeros.
    pub reserved: [u8; 368],
}

const _: () = assert!(size_of::<Signature>() == 0x200);

/// ID authentication information: signatures and keys beside the [`IdBlock`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IdAuth {
    /// Algorithm of the ID key: 1, ECDSA P-384 with SHA-384.
    pub id_key_algo: U32,
    /// Algorithm of the author key, likewise; 0 without one.
    pub auth_key_algo: U32,
    /// Zeros.
    pub reserved_008: [u8; 56],
    /// Signature of the ID block by the ID key.
    pub id_block_sig: Signature,
    /// The ID key.
    pub id_key: PublicKey,
    /// Zeros.
    pub reserved_644: [u8; 60],
    /// Signature of the ID key by the author key; zeros without one.
    pub id_key_sig: Signature,
    /// The author key; zeros without one.
    pub author_key: PublicKey,
    /// Zeros.
    pub reserved_c84: [u8; 892],
}

const _: () = assert!(size_of::<IdAuth>() == 0x1000);
const _: () = assert!(core::mem::offset_of!(IdAuth, id_block_sig) == 0x40);
const _: () = assert!(core::mem::offset_of!(IdAuth, id_key) == 0x240);
const _: () = assert!(core::mem::offset_of!(IdAuth, id_key_sig) == 0x680);
const _: () = assert!(core::mem::offset_of!(IdAuth, author_key) == 0x880);
