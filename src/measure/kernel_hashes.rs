//! The table of hashes by which kernel, initrd and command line enter the digest of an encrypted AMD
//! guest.

use alloc::vec::Vec;

use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::Guest;
use crate::digest::Sha256;
use crate::format::guid::Guid;

/// The table of hashes that QEMU puts into the guest for SEV (QEMU `target/i386/sev.c`,
/// `SevHashTable`), in the order in which it writes them; edk2 `BlobVerifierLibSevHashes` reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub struct HashTable {
    guid: [u8; 16],
    length: [u8; 2],
    cmdline: Entry,
    initrd: Entry,
    kernel: Entry,
    /// Launch updates are multiples of 16 bytes.
    padding: [u8; 8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    guid: [u8; 16],
    length: [u8; 2],
    hash: [u8; 32],
}

const _: () = assert!(size_of::<HashTable>() == HashTable::SIZE);

const TABLE: Guid = Guid::of("9438d606-4f22-4cc9-b479-a793d411fd21");
const CMDLINE: Guid = Guid::of("97d02dd8-bd20-4c94-aa78-e7714d36ab2a");
const INITRD: Guid = Guid::of("44baf731-3a2f-4bd7-9af1-41e29169781d");
const KERNEL: Guid = Guid::of("4de79437-abd2-427f-b835-d5b172d2045b");

impl HashTable {
    /// Bytes with padding.
    pub const SIZE: usize = 176;

    /// The table for the kernel of `guest`, if it boots one: the command line with its terminator,
    /// an absent initrd as the empty file, the kernel as it is (QEMU patches no setup header of an
    /// encrypted guest).
    pub fn of(guest: &Guest<'_>) -> Option<Self> {
        let kernel = guest.sha256(guest.kernel?);
        let cmdline = Sha256::of_parts([guest.cmdline.unwrap_or_default().as_bytes(), b"\0"]);
        let initrd = guest.sha256(guest.initrd.unwrap_or_default());
        Some(Self::new(cmdline, initrd, kernel))
    }

    /// The table of these hashes.
    pub fn new(cmdline: Sha256, initrd: Sha256, kernel: Sha256) -> Self {
        Self {
            guid: TABLE.0,
            length: 168_u16.to_le_bytes(), // without padding
            cmdline: Entry::new(CMDLINE, cmdline),
            initrd: Entry::new(INITRD, initrd),
            kernel: Entry::new(KERNEL, kernel),
            padding: [0; 8],
        }
    }

    /// The table as it stands in memory, [`Self::SIZE`] bytes.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// A page with the table at `offset`, for SNP, which launches whole pages; none if the table
    /// would cross into the next one.
    pub fn page(&self, offset: usize) -> Option<Vec<u8>> {
        let mut page = alloc::vec![0; super::page::PAGE_SIZE];
        page.get_mut(offset..)?.get_mut(..Self::SIZE)?.copy_from_slice(self.as_bytes());
        Some(page)
    }
}

impl Entry {
    fn new(guid: Guid, hash: Sha256) -> Self {
        Self { guid: guid.0, length: 50_u16.to_le_bytes(), hash: hash.0 }
    }
}

/// GUIDs by which a firmware that compares the loaded kernel with the table can be told: a verifier
/// looks for the entries by them. (That of the table itself is compared in halves by the code that
/// compilers make, so it need not stand in a binary.)
pub const VERIFIER: [Guid; 3] = [CMDLINE, INITRD, KERNEL];
