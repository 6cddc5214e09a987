//! The canonical document as text, and what must hold before anybody relies on it.

use super::{Document, Emitted, Emitter, Error, Machine, Result, VERSION, replay};
use crate::digest::unhex;

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "json",
    about: "the canonical document",
    file: "reference-values.json",
    media_type: "application/vnd.guestsmith.reference-values+json",
    make: |document, _| Ok(Emitted::sure(document.to_text()?.into_bytes())),
};

/// JSON Schema of the canonical document, as in `docs/reference-values.schema.json`.
///
/// # Errors
/// The schema has no JSON form.
pub fn schema() -> Result<String> {
    let text = serde_json::to_string_pretty(&schemars::schema_for!(Document));
    text.map(|text| text + "\n").map_err(|error| Error::Text(error.to_string()))
}

/// Widths of registers in bytes: TEE, start of the register's name, width. Where a TEE is not
/// listed, the width depends on the guest (CCA's hash algorithm) or differs by register (SE).
const WIDTHS: &[(&str, &str, usize)] = &[
    ("sev", "launch_digest", 32),    // AMD 55766 (SEV API), LAUNCH_MEASURE
    ("sev-es", "launch_digest", 32), // the same
    ("sev-snp", "measurement", 48),  // AMD 56860, table 23 (ATTESTATION_REPORT)
    ("tdx", "", 48),                 // Intel TDX module ABI, TDREPORT_STRUCT: MRTD, RTMR
    ("sgx", "mrenclave", 32),        // Intel SDM 3D, 39.1 (MRENCLAVE, MRSIGNER)
    ("sgx", "mrsigner", 32),
    ("csv", "measure", 32), // SM3
    ("nitro", "pcr", 48),   // AWS Nitro Enclaves: SHA-384
];

impl Document {
    /// Reads a document and checks it.
    ///
    /// # Errors
    /// The text is no document, comes from a later guestsmith, or does not [`Document::check`].
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |error: serde_json::Error| Error::Text(error.to_string());
        let Versioned { version } = serde_json::from_str(text).map_err(malformed)?;
        if version == 0 || version > VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        let document: Self = serde_json::from_str(text).map_err(malformed)?;
        document.check()?;
        Ok(document)
    }

    /// The canonical text: sorted, two spaces of indent, a line end. Equal documents give equal
    /// bytes, whatever order their parts came in.
    ///
    /// # Errors
    /// The document does not [`Document::check`].
    pub fn to_text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(&self.canonical()?);
        text.map(|text| text + "\n").map_err(|error| Error::Text(error.to_string()))
    }

    /// The same document, checked, every part in its order.
    pub(super) fn canonical(&self) -> Result<Self> {
        self.check()?;
        let mut sorted = self.clone();
        sorted.artifacts.sort();
        sorted.materials.sort();
        sorted.materials.dedup();
        sorted.machines.sort_by(|a, b| a.key().cmp(&b.key()));
        Ok(sorted)
    }

    /// Refuses what would mislead a verifier: an empty set, a register of the wrong width or of other
    /// events than its own, one machine or artifact with two values.
    ///
    /// # Errors
    /// The first such place.
    pub fn check(&self) -> Result<()> {
        if self.machines.is_empty() {
            let why = "a document without a machine allows nothing".to_string();
            return Err(Error::Empty { what: "machines".to_string(), why });
        }
        self.machines.iter().try_for_each(check_machine)?;
        let mut recipe = self.recipe.iter().flat_map(|recipe| {
            [("the recipe's sha256", &recipe.sha256), ("the lock's sha256", &recipe.lock_sha256)]
        });
        recipe.try_for_each(|(what, digest)| check_hex(what, digest, Some(32)))?;
        self.artifacts.iter().try_for_each(|a| check_hex(&a.name, &a.sha256, Some(32)))?;
        self.materials.iter().try_for_each(|m| check_hex(&m.name, &m.sha256, Some(32)))?;
        self.check_single()
    }

    /// One value for one thing.
    fn check_single(&self) -> Result<()> {
        const WHY: &str = "a document is of one build";
        let mut machines: Vec<_> = self.machines.iter().collect();
        machines.sort_by(|a, b| a.key().cmp(&b.key()));
        for pair in machines.windows(2) {
            if pair[0].key() == pair[1].key() {
                let [first, second] = [pair[0], pair[1]].map(|m| format!("{:?}", m.registers));
                return Err(Error::Conflict { what: pair[0].label(), first, second, why: WHY });
            }
        }
        let mut artifacts: Vec<_> = self.artifacts.iter().collect();
        artifacts.sort();
        for pair in artifacts.windows(2) {
            if pair[0].name == pair[1].name {
                let (first, second) = (pair[0].sha256.clone(), pair[1].sha256.clone());
                let what = format!("artifact {}", pair[0].name);
                return Err(Error::Conflict { what, first, second, why: WHY });
            }
        }
        Ok(())
    }
}

fn check_machine(machine: &Machine) -> Result<()> {
    let label = machine.label();
    if machine.registers.is_empty() {
        let why = "a machine without a register says nothing".to_string();
        return Err(Error::Empty { what: format!("registers of {label}"), why });
    }
    for (name, value) in &machine.registers {
        check_hex(&format!("{label}: {name}"), value, width(&machine.tee, name))?;
    }
    for event in &machine.events {
        check_hex(&format!("{label}: event {}", event.what), &event.digest, None)?;
    }
    for candidate in &machine.candidates {
        let (what, register) = (format!("{label}: candidate for"), &candidate.register);
        let width = width(&machine.tee, register);
        check_hex(&format!("{what} {register}"), &candidate.value, width)?;
        if let Some(value) = machine.registers.get(register) {
            let (what, first) = (format!("{label}: {register}"), value.clone());
            let (second, why) =
                (candidate.value.clone(), "a register with a value has no candidates");
            return Err(Error::Conflict { what, first, second, why });
        }
    }
    replay::check(machine)
}

/// Bytes that the register `name` of `tee` has, where that is fixed.
fn width(tee: &str, name: &str) -> Option<usize> {
    let row = WIDTHS.iter().find(|(t, start, _)| *t == tee && name.starts_with(start));
    row.map(|(_, _, width)| *width)
}

/// Lower-case hexadecimal of `width` bytes; of any but zero bytes where there is none.
fn check_hex(what: &str, text: &str, width: Option<usize>) -> Result<()> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let bytes = unhex(text).ok().filter(|bytes| lower && !bytes.is_empty());
    if bytes.is_some_and(|bytes| width.is_none_or(|width| bytes.len() == width)) {
        return Ok(());
    }
    let size = width.map_or_else(|| "an even number of".into(), |width| (2 * width).to_string());
    let expected = format!("{size} lower-case hexadecimal digits");
    Err(Error::Value { what: what.to_string(), expected, found: format!("`{text}`") })
}

impl Document {
    /// One document of several of the same build, as when machines were measured one by one.
    ///
    /// # Errors
    /// There is none, they are of different builds, or they contradict each other.
    pub fn join(documents: Vec<Self>) -> Result<Self> {
        let mut documents = documents.into_iter();
        let mut joined = documents.next().ok_or_else(|| Error::Empty {
            what: "document".to_string(),
            why: "nothing was given".to_string(),
        })?;
        for document in documents {
            if document.recipe != joined.recipe || document.artifacts != joined.artifacts {
                let lock = |document: &Self| {
                    let recipe = document.recipe.as_ref();
                    recipe.map_or("no recipe".to_string(), |r| format!("lock {}", r.lock_sha256))
                };
                return Err(Error::Conflict {
                    what: "the build of these documents".to_string(),
                    first: lock(&joined),
                    second: lock(&document),
                    why: "values of two builds, mixed, would pass a guest made of parts of both",
                });
            }
            joined.machines.extend(document.machines);
        }
        joined.machines.dedup();
        joined.canonical()
    }
}
