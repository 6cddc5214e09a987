//! The launch digest as it grows, page by page (AMD 56860, section 8.17.2, SNP_LAUNCH_UPDATE).

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use crate::digest::Sha384;
use crate::measure::page::{Action, Step};

/// PAGE_INFO (AMD 56860, section 8.17.2, table 67): what each launched page adds to the digest.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct PageInfo {
    digest_cur: [u8; 48],
    contents: [u8; 48],
    length: U16,
    page_type: u8,
    imi_page: u8,
    reserved: u8,
    vmpl_perms: [u8; 3],
    gpa: U64,
}

const _: () = assert!(size_of::<PageInfo>() == 0x70);

/// The launch digest as it grows. Equal pages are hashed once: more than half of an OVMF is 0xff.
#[derive(Debug, Clone)]
pub struct Chain<'a> {
    digest: Sha384,
    known: BTreeMap<Cow<'a, [u8]>, Sha384>,
}

impl<'a> Chain<'a> {
    /// A chain that holds `digest`: [`Sha384::ZERO`] for a new guest.
    pub fn new(digest: Sha384) -> Self {
        Self { digest, known: BTreeMap::new() }
    }

    /// The digest so far.
    pub fn digest(&self) -> Sha384 {
        self.digest
    }

    /// Launches the page of one step.
    pub fn launch(&mut self, step: Step<'a>) {
        let (page_type, contents) = match step.action {
            Action::Normal(page) => (1, self.contents(page)),
            Action::Vmsa(page) => (2, self.contents(page)),
            Action::Zero => (3, Sha384::ZERO),
            Action::Unmeasured | Action::Add => (4, Sha384::ZERO),
            Action::Secrets => (5, Sha384::ZERO),
            Action::Cpuid => (6, Sha384::ZERO),
            Action::Extend(_) => return, // a step of TDX alone
        };
        self.digest = next(self.digest, page_type, contents, step.gpa);
    }

    fn contents(&mut self, page: Cow<'a, [u8]>) -> Sha384 {
        if let Some(known) = self.known.get(&page) {
            return *known;
        }
        let digest = Sha384::of(&page);
        self.known.insert(page, digest);
        digest
    }
}

/// The digest after a page of `page_type` with the digest `contents` at `gpa`.
pub(super) fn next(digest: Sha384, page_type: u8, contents: Sha384, gpa: u64) -> Sha384 {
    let info = PageInfo {
        digest_cur: digest.0,
        contents: contents.0,
        length: 0x70.into(),
        page_type,
        imi_page: 0,
        reserved: 0,
        vmpl_perms: [0; 3],
        gpa: gpa.into(),
    };
    Sha384::of(info.as_bytes())
}
