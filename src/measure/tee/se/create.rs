//! Making an image: the same inputs and seed always give the same bytes.
//!
//! Layout and per-page encryption follow s390-tools (`rust/pvimg/src/se_img.rs`,
//! `pv_utils/secured_comp.rs`, `se_hdr/builder.rs`); `docs/measure/se.md` has them in words.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use aes::Aes256;
use aes::cipher::KeyInit as _;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInPlace as _;
use xts_mode::Xts128;
use zerocopy::IntoBytes as _;

use super::digests::{self, Digests};
use super::flags::NO_ENCRYPTION;
use super::host_key::{HostKey, coordinates};
use super::secrets::Secrets;
use crate::digest::Sha512;
use crate::format::se_header::{self, Fixed, Header};
use crate::format::se_image::{self, Component, FIRST_HEADER, METADATA, STAGE3A};
use crate::format::{Error, Result};
use crate::measure::page::PAGE_SIZE;

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// The first loader, which asks the ultravisor to unpack the image.
    pub stage3a: &'a [u8],
    /// The second loader, which starts the kernel.
    pub stage3b: &'a [u8],
    /// Kernel image: raw, not ELF.
    pub kernel: &'a [u8],
    /// Initial RAM disk.
    pub ramdisk: Option<&'a [u8]>,
    /// Kernel command line, without terminator.
    pub cmdline: Option<&'a [u8]>,
    /// Hosts that may run the image.
    pub hosts: Vec<HostKey>,
    /// Plaintext control flags.
    pub pcf: u64,
    /// Secret control flags.
    pub scf: u64,
}

/// Where every kernel for this machine has the letters by which loaders know it.
const KERNEL_MARK: (usize, &[u8]) = (0x1_0008, b"S390EP");
/// Entry of an unpacked kernel.
const KERNEL_ENTRY: u64 = 0x1_0000;
/// PSW mask: 31-bit and 64-bit addressing mode.
const PSW_MASK: u64 = 0x1_8000_0000;
/// Prefix of each component's tweak (`CompTweakPrefV1`).
const TWEAKS: [(&str, u16); 4] =
    [("kernel", 40), ("ramdisk", 50), ("cmdline", 60), ("stage3b", 70)];

impl Parts<'_> {
    /// Hosts in the order of their key hashes, each once: files are given in any order.
    ///
    /// # Errors
    /// No host, more than a header holds, or a kernel that cannot be started.
    pub fn checked(mut self) -> Result<Self> {
        self.hosts.sort_by_key(|host| host.phkh);
        self.hosts.dedup_by_key(|host| host.phkh);
        let size = se_header::size(self.hosts.len());
        if self.hosts.is_empty() || size > se_header::MAX_SIZE {
            let (found, expected) = (self.hosts.len().to_string(), "1 to 95".to_string());
            return Err(Error::Value { what: "number of host keys", offset: 0, found, expected });
        }
        let (at, mark) = KERNEL_MARK;
        if !self.kernel.get(at..).is_some_and(|rest| rest.starts_with(mark)) {
            let elf = self.kernel.starts_with(&crate::format::elf::MAGIC);
            let found = if elf { "an ELF file" } else { "something else" }.to_string();
            let expected = "\"S390EP\", of a raw kernel image (bzImage)".to_string();
            return Err(Error::Value { what: "s390x kernel mark", offset: at, found, expected });
        }
        for (name, loader, least) in [("stage3a", self.stage3a, 24), ("stage3b", self.stage3b, 64)]
        {
            if loader.len() <= least {
                let (found, expected) =
                    (loader.len().to_string(), format!("more than {least} bytes"));
                return Err(Error::Value { what: name, offset: 0, found, expected });
            }
        }
        Ok(self)
    }

    /// Digest of all inputs, to which every secret is bound: each with its length before it.
    pub fn digest(&self) -> Sha512 {
        let wide = |number: u64| number.to_be_bytes().to_vec();
        let mut parts: Vec<Vec<u8>> = [self.stage3a, self.stage3b, self.kernel]
            .into_iter()
            .chain([self.ramdisk.unwrap_or_default(), self.cmdline.unwrap_or_default()])
            .map(|part| Sha512::of(part).0.to_vec())
            .collect();
        parts.push([u8::from(self.ramdisk.is_some()), u8::from(self.cmdline.is_some())].to_vec());
        parts.extend([wide(self.pcf), wide(self.scf)]);
        parts.extend(self.hosts.iter().map(|host| host.phkh.0.to_vec()));
        Sha512::of_parts(parts.iter().map(Vec::as_slice))
    }
}

/// An image with all that is published of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The image, to be booted.
    pub image: Vec<u8>,
    /// Its header: `hdr.bin`, which verifiers are given.
    pub header: Header,
}

/// A component on its way: its place, tweak and pages.
struct Placed {
    at: usize,
    tweak: u64,
    pages: Vec<u8>,
}

/// Makes the image of `parts` with `secrets`.
///
/// # Errors
/// Parts that [`Parts::checked`] refuses.
pub fn create(parts: Parts<'_>, secrets: &Secrets) -> Result<Made> {
    let parts = parts.checked()?;
    let header_size = se_header::size(parts.hosts.len());
    let header_at = (STAGE3A + parts.stage3a.len()).next_multiple_of(PAGE_SIZE).max(FIRST_HEADER);
    let first = (header_at + header_size).next_multiple_of(PAGE_SIZE);
    let placed = place(&parts, secrets, first);
    let header = header(&parts, secrets, &placed);
    let ipib_at = placed.last().map_or(first, |last| last.at + last.pages.len());
    let components: Vec<Component> = placed.iter().map(Placed::listed).collect();
    let ipib = se_image::ipib((wide(header_at), wide(header_size)), &components);
    let mut image = alloc::vec![0; ipib_at];
    put(&mut image, 0, &SHORT_PSW);
    put(&mut image, METADATA, &se_image::metadata(wide(header_at), wide(ipib_at)));
    put(&mut image, STAGE3A, parts.stage3a);
    let end = STAGE3A + parts.stage3a.len() - 24;
    let arguments = [header_at - end, header_size, ipib_at - end];
    let arguments: Vec<u8> = arguments.iter().flat_map(|n| wide(*n).to_be_bytes()).collect();
    put(&mut image, end, &arguments);
    put(&mut image, header_at, &header.write());
    placed.iter().for_each(|component| put(&mut image, component.at, &component.pages));
    image.extend_from_slice(&ipib);
    Ok(Made { image, header })
}

/// The PSW at address 0 in its short form: start stage3a at 0x11000.
const SHORT_PSW: [u8; 8] = [0, 8, 0, 1, 0x80, 1, 0x10, 0];

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX) // usize has at most 64 bits
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    let room = image.iter_mut().skip(at).zip(bytes);
    room.for_each(|(to, from)| *to = *from);
}

impl Placed {
    fn listed(&self) -> Component {
        let (address, length) = (wide(self.at).into(), wide(self.pages.len()).into());
        Component { tweak: self.tweak.into(), address, length }
    }
}

/// Kernel, RAM disk, command line and, last, the loader that is told where they are.
fn place(parts: &Parts<'_>, secrets: &Secrets, first: usize) -> Vec<Placed> {
    let cmdline = parts.cmdline.map(|cmdline| match cmdline.last() {
        Some(0) => Cow::Borrowed(cmdline),
        _ => Cow::Owned([cmdline, &[0]].concat()),
    });
    let blobs = [Some(Cow::Borrowed(parts.kernel)), parts.ramdisk.map(Cow::Borrowed), cmdline];
    let (mut at, mut placed, mut places) = (first, Vec::new(), [(0_u64, 0_u64); 3]);
    for (index, blob) in blobs.iter().enumerate() {
        if let Some(blob) = blob {
            places[index] = (wide(at), wide(blob.len()));
            placed.push(component(parts, secrets, (index, at), blob.to_vec()));
            at += blob.len().next_multiple_of(PAGE_SIZE);
        }
    }
    let [kernel, ramdisk, cmdline] = places;
    let told = [kernel.0, kernel.1, cmdline.0, cmdline.1, ramdisk.0, ramdisk.1];
    let told: Vec<u8> =
        told.iter().chain(&[PSW_MASK, KERNEL_ENTRY]).flat_map(|n| n.to_be_bytes()).collect();
    let mut loader = parts.stage3b.to_vec();
    loader.truncate(loader.len() - told.len());
    loader.extend(told);
    placed.push(component(parts, secrets, (3, at), loader));
    placed
}

fn component(parts: &Parts<'_>, secrets: &Secrets, place: (usize, usize), blob: Vec<u8>) -> Placed {
    let (index, at) = place;
    let [a, b, c, d, e, f] = secrets.tweaks[index];
    let [high, low] = TWEAKS[index].1.to_be_bytes();
    let tweak = u64::from_be_bytes([high, low, a, b, c, d, e, f]);
    let mut pages = blob;
    pages.resize(pages.len().next_multiple_of(PAGE_SIZE), 0);
    if parts.pcf & NO_ENCRYPTION == 0 {
        encrypt(&secrets.image_key, tweak, &mut pages);
    }
    Placed { at, tweak, pages }
}

/// AES-256-XTS, each page a data unit of its own.
pub(super) fn encrypt(key: &[u8; 64], tweak: u64, pages: &mut [u8]) {
    let (first, second) = key.split_at(32);
    let xts = Xts128::new(Aes256::new(first.into()), Aes256::new(second.into()));
    for (offset, page) in (0_u64..).step_by(PAGE_SIZE).zip(pages.chunks_mut(PAGE_SIZE)) {
        xts.encrypt_sector(page, digests::tweak(tweak, offset));
    }
}

fn header(parts: &Parts<'_>, secrets: &Secrets, placed: &[Placed]) -> Header {
    let components = placed.iter().map(|component| digests::Component {
        address: wide(component.at),
        tweak: component.tweak,
        pages: &component.pages,
    });
    let digests = Digests::of(components);
    let entry = placed.last().map_or(0, |loader| wide(loader.at));
    sealed(parts, secrets, &digests, (PSW_MASK, entry))
}

/// The header over `digests`, whose guest starts with the PSW (mask, address).
pub(super) fn sealed(
    parts: &Parts<'_>,
    secrets: &Secrets,
    digests: &Digests,
    psw: (u64, u64),
) -> Header {
    let mut fixed = Fixed::new(parts.hosts.len());
    fixed.iv = secrets.iv;
    fixed.nep = digests.pages.into();
    fixed.pcf = parts.pcf.into();
    fixed.customer = coordinates(&secrets.customer.public_key());
    (fixed.pld, fixed.ald, fixed.tld) = (digests.pld.0, digests.ald.0, digests.tld.0);
    let slot = |host: &HostKey| host.slot(&secrets.customer, &secrets.header_key);
    let slots = parts.hosts.iter().map(slot).collect();
    let numbers = [psw.0, psw.1, parts.scf, 0].map(u64::to_be_bytes);
    let open = [&secrets.cck[..], &secrets.image_key, numbers.as_bytes()].concat();
    let mut encrypted = [0; se_header::ENCRYPTED];
    put(&mut encrypted, 0, &open);
    let mut header = Header { fixed, slots, encrypted, tag: [0; 16] };
    let authenticated = header.authenticated();
    let tag = Aes256Gcm::new(&secrets.header_key.into()).encrypt_in_place_detached(
        &secrets.iv.into(),
        &authenticated,
        &mut header.encrypted,
    );
    header.tag = tag.map(Into::into).unwrap_or_default(); // 128 bytes are below GCM's limit
    header
}
