//! Intel SGX: MRENCLAVE and MRSIGNER. `docs/measure/sgx.md`.
//!
//! MRENCLAVE is one SHA-256 over what ECREATE, EADD and EEXTEND hash, in the order in which the
//! loader issues them (Intel SDM volume 3D, sections 36.3 and 36.4). So each kind of enclave is a
//! sequence of those three; the files beside this one produce it.

mod build;
mod gramine;
mod sdk;

pub use build::build;
pub use gramine::Manifest;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use sha2::Digest as _;

use crate::digest::Sha256;
use crate::format::sgx::{CHUNK, Record, Sigstruct};
use crate::format::{self, Error, Reader};
use crate::measure::guest::IMAGE;
use crate::measure::initdata::{self, INITDATA};
use crate::measure::machine::Kind;
use crate::measure::page::PAGE_SIZE;
use crate::measure::{self, Confidence, File, Guest, Machine, Measurement, Register, Result};
use crate::measure::{Setting, Tee};

/// The row of Intel SGX.
pub const SGX: Tee = Tee {
    name: "sgx",
    about: "Intel SGX: SGXS streams, enclaves of the Intel SDK and Occlum, Gramine, SIGSTRUCTs",
    vmms: &[],
    takes: &[NSSA],
    reads: &[IMAGE, SIGSTRUCT, MANIFEST, LIBPAL, CODE, INITDATA],
    registers: &["mrenclave", "mrsigner", "configid"],
    expect,
};

/// A signature that lies beside its enclave.
const SIGSTRUCT: File = File {
    name: "sigstruct",
    about: "SIGSTRUCT (.sig) of the enclave, where it is a file of its own; it must fit",
};
/// What a Gramine enclave is described by.
const MANIFEST: File =
    File { name: "manifest", about: "Manifest of a Gramine enclave, rendered (.manifest.sgx)" };
/// What a Gramine enclave is loaded by.
const LIBPAL: File =
    File { name: "libpal", about: "Gramine's libpal.so, which loads the manifest" };

/// What a small enclave is made of.
const CODE: File = File {
    name: "code",
    about: "Machine code of a small enclave of one thread, entered at its first byte",
};
const NSSA: Setting = Setting {
    name: "nssa",
    about: "Frames of saved state of the thread that runs --code (default 2)",
    kind: Kind::Count,
};

/// Width of CONFIGID (SDM volume 3D, section 38.7, SECS), which the loader of the enclave states.
const CONFIG_ID: usize = 64;

/// The SGXS stream of the guest's code on `machine`.
///
/// # Errors
/// There is no code.
pub fn stream(guest: &Guest<'_>, machine: &Machine) -> Result<Vec<u8>> {
    let why = "it is what the enclave runs".to_string();
    let code = guest.file(CODE.name);
    let code = code.ok_or(measure::Error::Missing { tee: SGX.name, what: CODE.name, why })?;
    build(code, machine.number(NSSA.name).unwrap_or(2)).map_err(input("code"))
}

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    machines.iter().map(|machine| one(guest, machine)).collect()
}

fn one(guest: &Guest<'_>, machine: &Machine) -> Result<Measurement> {
    let mut identity = identity(guest, machine)?;
    if let Some(bytes) = guest.file(SIGSTRUCT.name) {
        identity = identity.signed_by(bytes).map_err(input("sigstruct"))?;
    }
    let mut registers = alloc::vec![Register::new("mrenclave", identity.mrenclave)];
    let mrsigner = identity.sigstruct.as_ref().map(Sigstruct::mrsigner);
    registers.extend(mrsigner.map(|value| Register::new("mrsigner", value)));
    registers.extend(initdata::field(guest, "configid", CONFIG_ID)?);
    let warnings = identity.warnings().collect();
    let confidence = Confidence::ToolsAgree;
    Ok(Measurement { registers, warnings, confidence, ..Measurement::default() })
}

fn identity(guest: &Guest<'_>, machine: &Machine) -> Result<Identity> {
    let [manifest, libpal, code] = [MANIFEST, LIBPAL, CODE].map(|file| guest.file(file.name));
    match (guest.image, manifest, libpal, code) {
        (Some(image), None, None, None) => Identity::of(image).map_err(input("image")),
        (None, Some(manifest), Some(libpal), None) => gramine_identity(manifest, libpal),
        (None, None, None, Some(_)) => {
            Identity::of(&stream(guest, machine)?).map_err(input("code"))
        }
        _ => {
            let why =
                "give one of --image (SGXS, .signed.so, .sig), --manifest with --libpal, or --code";
            let (tee, what, why) = (SGX.name, "an enclave", why.to_string());
            Err(measure::Error::Missing { tee, what, why })
        }
    }
}

fn input(input: &'static str) -> impl Fn(Error) -> measure::Error {
    move |error| measure::Error::Input { input, error }
}

fn gramine_identity(manifest: &[u8], libpal: &[u8]) -> Result<Identity> {
    let manifest = Manifest::parse(manifest).map_err(input("manifest"))?;
    let mrenclave = manifest.mrenclave(libpal).map_err(input("libpal"))?;
    Ok(Identity { mrenclave, sigstruct: None })
}

/// [`PAGE_SIZE`] as a number of enclave offsets.
const PAGE: u64 = 4096;

/// The measurement of an enclave that is being built.
#[derive(Clone)]
pub struct Mrenclave {
    hasher: sha2::Sha256,
    size: u64,
    pages: BTreeSet<u64>,
}

impl Mrenclave {
    /// ECREATE: an enclave of `size` bytes whose SSA frames have `ssa_frame_size` pages.
    ///
    /// # Errors
    /// A size that is not a power of two from two pages to 128 GiB, the most that the SDK loads.
    pub fn create(ssa_frame_size: u32, size: u64) -> format::Result<Self> {
        if !size.is_power_of_two() || !(2 * PAGE..=1 << 37).contains(&size) {
            let expected = "a power of two, 0x2000 to 0x2000000000";
            return Err(bad("ECREATE: SECS.SIZE", 0, size, expected));
        }
        let mut new = Self { hasher: sha2::Sha256::new(), size, pages: BTreeSet::new() };
        new.hash(Record::Create { ssa_frame_size, size });
        Ok(new)
    }

    fn hash(&mut self, record: Record<'_>) {
        let (head, data) = record.measured();
        self.hasher.update(head);
        self.hasher.update(data);
    }

    /// EADD: a page, by its offset in the enclave and its `SECINFO.FLAGS`.
    ///
    /// # Errors
    /// The page is unaligned, outside of the enclave, or there already.
    pub fn add(&mut self, offset: u64, flags: u64) -> format::Result<()> {
        if !offset.is_multiple_of(PAGE) {
            return Err(bad("EADD: offset", offset, offset, "a multiple of 0x1000"));
        }
        if offset >= self.size {
            return Err(bad(
                "EADD: offset",
                offset,
                offset,
                &format!("below {:#x}, the enclave's size", self.size),
            ));
        }
        if !self.pages.insert(offset) {
            return Err(bad(
                "EADD: page",
                offset,
                offset,
                "a page that no EADD added before: pages overlap",
            ));
        }
        self.hash(Record::Add { offset, flags });
        Ok(())
    }

    /// EEXTEND: a chunk of a page that was added.
    ///
    /// # Errors
    /// The chunk is unaligned, or its page was not added.
    pub fn extend(&mut self, offset: u64, data: &[u8; CHUNK]) -> format::Result<()> {
        if !offset.is_multiple_of(CHUNK as u64) {
            return Err(bad("EEXTEND: offset", offset, offset, "a multiple of 0x100"));
        }
        if !self.pages.contains(&(offset / PAGE * PAGE)) {
            return Err(bad("EEXTEND: page", offset, offset, "a page that an EADD added before"));
        }
        self.hash(Record::Extend { offset, data });
        Ok(())
    }

    /// EADD of a page and EEXTEND of all of it: `contents`, then zeros.
    ///
    /// # Errors
    /// As [`Self::add`], or more contents than a page holds.
    pub fn page(&mut self, offset: u64, flags: u64, contents: &[u8]) -> format::Result<()> {
        let mut page = [0; PAGE_SIZE];
        let expected = "at most 0x1000 bytes of contents";
        let room = page.get_mut(..contents.len());
        let room = room.ok_or_else(|| bad("enclave page", offset, PAGE, expected))?;
        room.copy_from_slice(contents);
        self.add(offset, flags)?;
        let chunks = (offset..).step_by(CHUNK).zip(page.as_chunks().0);
        chunks.into_iter().try_for_each(|(at, chunk)| self.extend(at, chunk))
    }

    /// EINIT: the measurement is final.
    pub fn finish(self) -> Sha256 {
        Sha256(self.hasher.finalize().into())
    }
}

fn bad(what: &'static str, offset: u64, found: u64, expected: &str) -> Error {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    Error::Value { what, offset, found: format!("{found:#x}"), expected: expected.to_string() }
}

/// An enclave's identity, as far as its file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// MRENCLAVE.
    pub mrenclave: Sha256,
    /// The signature, if the file carries one.
    pub sigstruct: Option<Sigstruct>,
}

impl Identity {
    /// The identity of the enclave in `image`: an SGXS stream, an enclave of the Intel SDK or
    /// Occlum (`.signed.so`), or a SIGSTRUCT, which states it.
    ///
    /// # Errors
    /// None of these, or one that is damaged.
    pub fn of(image: &[u8]) -> format::Result<Self> {
        if image.starts_with(b"ECREATE\0") {
            return Ok(Self { mrenclave: sgxs(image)?, sigstruct: None });
        }
        if image.starts_with(&format::elf::MAGIC) {
            return sdk::identity(image);
        }
        if image.len() == size_of::<Sigstruct>() {
            let sigstruct = Sigstruct::parse(image)?;
            sigstruct.check()?;
            let mrenclave = Sha256(sigstruct.enclave_hash);
            return Ok(Self { mrenclave, sigstruct: Some(sigstruct) });
        }
        let found = format!("{:02x?}", image.get(..8).unwrap_or(image));
        let expected =
            "an SGXS stream (`ECREATE`), an ELF file or a SIGSTRUCT (1808 bytes)".to_string();
        Err(Error::Value { what: "enclave", offset: 0, found, expected })
    }

    /// The identity with the signature in `bytes`, which must be valid and for this enclave.
    fn signed_by(self, bytes: &[u8]) -> format::Result<Self> {
        let sigstruct = Sigstruct::parse(bytes)?;
        sigstruct.check()?;
        if sigstruct.enclave_hash != self.mrenclave.0 {
            let found = crate::digest::hex(&sigstruct.enclave_hash);
            let expected = format!("{}, of the enclave", self.mrenclave);
            return Err(Error::Value { what: "ENCLAVEHASH", offset: 960, found, expected });
        }
        Ok(Self { sigstruct: Some(sigstruct), ..self })
    }

    /// What a person should know before trusting the identity.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.sigstruct.iter().flat_map(warnings)
    }
}

/// MRENCLAVE of an SGXS stream.
fn sgxs(stream: &[u8]) -> format::Result<Sha256> {
    let mut reader = Reader::new(stream);
    let Record::Create { ssa_frame_size, size } = Record::read(&mut reader)? else {
        return Err(bad("SGXS stream", 0, 0, "ECREATE first"));
    };
    let mut mrenclave = Mrenclave::create(ssa_frame_size, size)?;
    while reader.remaining() > 0 {
        let at = u64::try_from(reader.offset()).unwrap_or(u64::MAX);
        match Record::read(&mut reader)? {
            Record::Create { size, .. } => return Err(bad("SGXS stream", at, size, "one ECREATE")),
            Record::Add { offset, flags } => mrenclave.add(offset, flags)?,
            Record::Extend { offset, data } => mrenclave.extend(offset, data)?,
            Record::Unmeasured { .. } => {}
        }
    }
    Ok(mrenclave.finish())
}

/// Signing keys whose private half is published: whoever has the project's sources can sign as
/// this MRSIGNER, so that it says nothing about who made the enclave.
const PUBLIC_SIGNERS: &[(&str, &str)] = &[(
    "83d719e77deaca1470f6baf62a4d774303c899db69020f9c70ee1dfc08c7ce9e",
    "Occlum's default key (etc/template/Enclave.pem)",
)];

fn warnings(sigstruct: &Sigstruct) -> impl Iterator<Item = String> + use<> {
    let mrsigner = sigstruct.mrsigner().to_string();
    let public = PUBLIC_SIGNERS.iter().find(|(signer, _)| *signer == mrsigner).map(|(_, whose)| {
        format!("the signing key is public: {whose}; anyone can sign as this MRSIGNER")
    });
    let debug = sigstruct.attributes.get() & format::sgx::ATTRIBUTE_DEBUG != 0;
    let debug = debug.then(|| {
        "ATTRIBUTES.DEBUG is set: the host can read the enclave's memory; compare the attributes too"
            .to_string()
    });
    public.into_iter().chain(debug)
}

#[cfg(test)]
mod tests;
