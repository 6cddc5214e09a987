//! The three lists of an image's pages and their digests.

use sha2::{Digest as _, Sha512 as Hasher};

use crate::digest::Sha512;
use crate::measure::page::PAGE_SIZE;

/// A component as it lies in memory: whole pages, encrypted unless the image says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Component<'a> {
    /// Address of the first page.
    pub address: u64,
    /// First half of each page's tweak.
    pub tweak: u64,
    /// The pages.
    pub pages: &'a [u8],
}

/// What the header says of the components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// Page list digest: contents.
    pub pld: Sha512,
    /// Address list digest.
    pub ald: Sha512,
    /// Tweak list digest.
    pub tld: Sha512,
    /// Number of pages.
    pub pages: u64,
}

impl Digests {
    /// The digests over `components`, in the order of their addresses.
    pub fn of<'a>(components: impl IntoIterator<Item = Component<'a>>) -> Self {
        let [mut pld, mut ald, mut tld] = [(); 3].map(|()| Hasher::new());
        let mut pages = 0;
        for component in components {
            for (offset, page) in
                (0_u64..).step_by(PAGE_SIZE).zip(component.pages.chunks(PAGE_SIZE))
            {
                pld.update(page);
                ald.update(component.address.wrapping_add(offset).to_be_bytes());
                tld.update(tweak(component.tweak, offset));
                pages += 1;
            }
        }
        let [pld, ald, tld] = [pld, ald, tld].map(|hasher| Sha512(hasher.finalize().into()));
        Self { pld, ald, tld, pages }
    }
}

/// The tweak of the page at `offset` of a component.
pub(super) fn tweak(prefix: u64, offset: u64) -> [u8; 16] {
    let mut tweak = [0; 16];
    tweak[..8].copy_from_slice(&prefix.to_be_bytes());
    tweak[8..].copy_from_slice(&offset.to_be_bytes());
    tweak
}
