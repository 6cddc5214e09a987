//! Names that the default CPU policy of CoCo trustee queries (`ear_default_policy_cpu.rego`, 0.17 to
//! 0.21), with the shape and the encoding of the claim that each is compared with.
//!
//! The policy fails silently on a wrong shape: a rule written `x in …` needs a list, one written
//! `x == …` a scalar. So the shapes stand here, once, for every form that is emitted and for the
//! check of values that a person supplies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Document, Emitted, Error, Event, Machine, Result, Settings};
use crate::digest::{base64, unhex};

/// Whether a policy compares with `in` or with `==`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any of a list.
    List,
    /// The one value.
    Scalar,
}

/// How the verifier writes the claim that a value is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal of so many bytes.
    Hex(usize),
    /// Standard base64 of so many bytes.
    Base64(usize),
    /// Standard base64 of any length.
    Blob,
    /// A JSON number without fraction.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A number or truth value as JSON text: `"3"`, `"true"`.
    Text,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
pub enum Origin {
    /// A build decides it: its value, hexadecimal, for one machine.
    Build(fn(&Machine) -> Option<&str>),
    /// The host decides it: whoever runs the verifier states it.
    Platform,
}

/// A name that the default policy queries.
pub struct Name {
    /// Key of the TEE in the claims that the policy sees: `snp`.
    pub tee: &'static str,
    /// The name.
    pub name: &'static str,
    /// How the policy compares.
    pub shape: Shape,
    /// How the claim is written.
    pub encoding: Encoding,
    /// Where the value comes from.
    pub origin: Origin,
}

const fn build(
    tee: &'static str,
    name: &'static str,
    shape: Shape,
    width: usize,
    of: fn(&Machine) -> Option<&str>,
) -> Name {
    Name { tee, name, shape, encoding: Encoding::Hex(width), origin: Origin::Build(of) }
}

const fn host(tee: &'static str, name: &'static str, shape: Shape, encoding: Encoding) -> Name {
    Name { tee, name, shape, encoding, origin: Origin::Platform }
}

/// Every name, in the order of the policy.
pub const NAMES: &[Name] = &[
    build("snp", "snp_launch_measurement", Shape::List, 48, |m| of(m, "sev-snp", "measurement")),
    host("snp", "snp_bootloader", Shape::List, Encoding::Integer),
    host("snp", "snp_microcode", Shape::List, Encoding::Integer),
    host("snp", "snp_snp_svn", Shape::List, Encoding::Integer),
    host("snp", "snp_tee_svn", Shape::List, Encoding::Integer),
    host("snp", "snp_smt_enabled", Shape::Scalar, Encoding::Boolean),
    host("snp", "snp_tsme_enabled", Shape::Scalar, Encoding::Boolean),
    host("snp", "snp_guest_abi_major", Shape::Scalar, Encoding::Integer),
    host("snp", "snp_guest_abi_minor", Shape::Scalar, Encoding::Integer),
    host("snp", "snp_single_socket", Shape::Scalar, Encoding::Boolean),
    host("snp", "snp_smt_allowed", Shape::Scalar, Encoding::Boolean),
    build("tdx", "mr_td", Shape::List, 48, |m| of(m, "tdx", "mrtd")),
    build("tdx", "rtmr_1", Shape::List, 48, |m| of(m, "tdx", "rtmr1")),
    build("tdx", "rtmr_2", Shape::List, 48, |m| of(m, "tdx", "rtmr2")),
    build("tdx", "tdvfkernel", Shape::Scalar, 48, kernel),
    build("tdx", "tdvfkernelparams", Shape::Scalar, 48, kernel_parameters),
    host("tdx", "xfam", Shape::List, Encoding::Hex(8)),
    host("tdx", "mr_seam", Shape::List, Encoding::Hex(48)),
    host("tdx", "tcb_svn", Shape::List, Encoding::Hex(16)),
    host("az-snp-vtpm", "measurement", Shape::List, Encoding::Base64(48)),
    build("az-snp-vtpm", "snp_pcr11", Shape::List, 32, |m| of(m, "vtpm", "pcr11")),
    host("az-snp-vtpm", "tcb_bootloader", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "tcb_microcode", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "tcb_snp", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "tcb_tee", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "smt_enabled", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "tsme_enabled", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "abi_major", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "abi_minor", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "single_socket", Shape::List, Encoding::Text),
    host("az-snp-vtpm", "smt_allowed", Shape::List, Encoding::Text),
    build("az-tdx-vtpm", "tdx_pcr11", Shape::List, 32, |m| of(m, "vtpm", "pcr11")),
    build("tpm", "tpm_pcr11", Shape::List, 32, |m| of(m, "vtpm", "pcr11")),
    host("tpm", "trusted_aks", Shape::List, Encoding::Blob),
];

/// Names that the policy asked for up to 0.18.
pub const FORMER: &[&str] = &["mr_seam", "tcb_svn"];

/// The row called `name`.
pub fn name(name: &str) -> Option<&'static Name> {
    NAMES.iter().find(|row| row.name == name)
}

fn of<'a>(machine: &'a Machine, tee: &str, register: &str) -> Option<&'a str> {
    machine.registers.get(register).filter(|_| machine.tee == tee).map(String::as_str)
}

/// Digest of the one kernel that the firmware starts with `-kernel`. The policy looks for the event
/// whose device path has `File(kernel)`; a second application means another way of booting.
fn kernel(machine: &Machine) -> Option<&str> {
    let mut started = tdx_events(machine, "rtmr1", "EV_EFI_BOOT_SERVICES_APPLICATION");
    started.next().filter(|_| started.next().is_none())
}

/// Digest of the command line, as the kernel's EFI stub measures it (`measure::linux` says `what`).
fn kernel_parameters(machine: &Machine) -> Option<&str> {
    let tagged = machine.events.iter().filter(|event| is(event, "rtmr2", "EV_EVENT_TAG"));
    let mut options = tagged.filter(|event| event.what.starts_with("load options"));
    options.next().filter(|_| machine.tee == "tdx").map(|event| event.digest.as_str())
}

fn tdx_events<'a>(
    machine: &'a Machine,
    register: &'a str,
    kind: &'a str,
) -> impl Iterator<Item = &'a str> {
    let events = machine.events.iter().filter(move |event| is(event, register, kind));
    events.filter(|_| machine.tee == "tdx").map(|event| event.digest.as_str())
}

fn is(event: &Event, register: &str, kind: &str) -> bool {
    event.register == register && event.kind == kind
}

/// Every value that the document and the settings give, by name, in the policy's shape; with the
/// doubts that go with it.
///
/// # Errors
/// The document does not check, or a supplied value has another shape or encoding than its name.
pub fn values(
    document: &Document,
    settings: &Settings,
) -> Result<Emitted<BTreeMap<&'static str, Value>>> {
    document.check()?;
    let (mut values, mut warnings) = (supplied(&settings.platform)?, Vec::new());
    for row in NAMES {
        let Origin::Build(of) = row.origin else { continue };
        let mut found: BTreeSet<_> = document.machines.iter().filter_map(of).collect();
        // Of another platform, as Azure's own firmware: beside ours.
        let supplied = settings.platform.get(row.name).and_then(Value::as_array);
        found.extend(supplied.into_iter().flatten().filter_map(Value::as_str));
        match (row.shape, found.len()) {
            (_, 0) => continue,
            (Shape::Scalar, 1) => values.insert(row.name, json!(found.first())),
            (Shape::List, _) => values.insert(row.name, json!(found)),
            (Shape::Scalar, count) => {
                warnings.push(one_only(row, count));
                continue;
            }
        };
    }
    Ok(Emitted { content: values, warnings })
}

/// Values that a person supplies, in the policy's shape.
///
/// # Errors
/// A name that no policy asks for, or a value of another shape or encoding than its name.
pub fn supplied(platform: &BTreeMap<String, Value>) -> Result<BTreeMap<&'static str, Value>> {
    let one = |(given, value): (&String, &Value)| {
        let row = name(given).ok_or_else(|| unknown(given))?;
        Ok((row.name, shaped(row, value)?))
    };
    platform.iter().map(one).collect()
}

fn one_only(row: &Name, count: usize) -> String {
    format!(
        "{} is left out: the machines have {count} values and the default policy compares with \
         one; it then appraises executables with 4 instead of 3 (measure one machine at a time, \
         or use the grouped policy)",
        row.name
    )
}

fn unknown(name: &str) -> Error {
    let known: Vec<_> = NAMES.iter().filter(|row| matches!(row.origin, Origin::Platform)).collect();
    let known: Vec<_> = known.iter().map(|row| row.name).collect();
    Error::Value {
        what: "a platform value's name".to_string(),
        expected: format!("one of {}", known.join(", ")),
        found: format!("`{name}`"),
    }
}

/// A supplied value in the shape of its name: a single value becomes a list where the policy wants
/// one, and numbers or truth values become text where the claim is text.
fn shaped(row: &Name, value: &Value) -> Result<Value> {
    if !matches!(row.origin, Origin::Platform) && !matches!(value, Value::Array(_)) {
        return Err(wrong(
            row,
            "a list of further values, or nothing: the build decides this one",
            value,
        ));
    }
    match (row.shape, value) {
        (Shape::List, Value::Array(items)) if items.is_empty() => {
            Err(wrong(row, "at least one value", value))
        }
        (Shape::List, Value::Array(items)) => {
            items.iter().map(|item| encoded(row, item)).collect::<Result<_>>().map(Value::Array)
        }
        (Shape::List, single) => Ok(json!([encoded(row, single)?])),
        (Shape::Scalar, single) => encoded(row, single),
    }
}

fn encoded(row: &Name, value: &Value) -> Result<Value> {
    let text = value.as_str();
    match (row.encoding, value) {
        (Encoding::Integer, Value::Number(n)) if n.is_u64() => Ok(value.clone()),
        (Encoding::Boolean, Value::Bool(_)) => Ok(value.clone()),
        (Encoding::Text, Value::Number(n)) if n.is_u64() => Ok(json!(n.to_string())),
        (Encoding::Text, Value::Bool(truth)) => Ok(json!(truth.to_string())),
        (Encoding::Text, Value::String(text)) if is_claim_text(text) => Ok(value.clone()),
        (Encoding::Hex(width), _) => {
            let lower = text.filter(|text| *text == text.to_lowercase());
            let bytes = lower.and_then(|text| unhex(text).ok());
            let fits = bytes.is_some_and(|bytes| bytes.len() == width);
            fits.then(|| value.clone()).ok_or_else(|| wrong_encoding(row, value))
        }
        (Encoding::Base64(width), _) => {
            // A measurement is at hand as hexadecimal far more often than as base64.
            let hex = text.and_then(|text| unhex(text).ok()).filter(|bytes| bytes.len() == width);
            let bytes = hex.or_else(|| text.and_then(from_base64));
            let fits = bytes.filter(|bytes| bytes.len() == width);
            fits.map(|bytes| json!(base64(&bytes))).ok_or_else(|| wrong_encoding(row, value))
        }
        (Encoding::Blob, _) => {
            let bytes = text.and_then(from_base64).filter(|bytes| !bytes.is_empty());
            bytes.map(|_| value.clone()).ok_or_else(|| wrong_encoding(row, value))
        }
        _ => Err(wrong_encoding(row, value)),
    }
}

/// The claim that is compared with the value `value` of `row`, as the verifier writes it; nothing
/// where the value is none of that kind.
pub fn claim(row: &Name, value: &Value) -> Option<Value> {
    encoded(row, value).ok()
}

/// What makes a comparison with `value` fail silently: another shape than `shape`, or an item that is
/// written otherwise than the claim.
pub fn fault(row: &Name, shape: Shape, value: &Value) -> Option<String> {
    let items = match (shape, value) {
        (Shape::List, Value::Array(items)) if items.is_empty() => {
            return Some("an empty list: nothing passes".to_string());
        }
        (Shape::List, Value::Array(items)) => items.as_slice(),
        (Shape::List, _) => {
            return Some(
                "the wrong shape: the policy wants a list, one value is there".to_string(),
            );
        }
        (Shape::Scalar, Value::Array(_)) => {
            return Some(
                "the wrong shape: the policy wants one value, a list is there".to_string(),
            );
        }
        (Shape::Scalar, _) => core::slice::from_ref(value),
    };
    let wrong = items.iter().find(|item| claim(row, item).as_ref() != Some(item))?;
    Some(format!("the wrong encoding: the claim is {}, found {wrong}", written(row.encoding)))
}

fn is_claim_text(text: &str) -> bool {
    matches!(text, "true" | "false") || text.parse::<u64>().is_ok()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn wrong_encoding(row: &Name, value: &Value) -> Error {
    let expected = match row.encoding {
        Encoding::Base64(width) => format!("base64 or hexadecimal of {width} bytes"),
        Encoding::Text => "a number, or true or false".to_string(),
        other => written(other),
    };
    wrong(row, &expected, value)
}

/// How a claim is written, in words.
fn written(encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex(width) => format!("{} lower-case hexadecimal digits", 2 * width),
        Encoding::Base64(width) => format!("standard base64 of {width} bytes"),
        Encoding::Blob => "standard base64".to_string(),
        Encoding::Integer => "a number without fraction or sign".to_string(),
        Encoding::Boolean => "true or false".to_string(),
        Encoding::Text => "a number or truth value as text".to_string(),
    }
}

fn wrong(row: &Name, expected: &str, found: &Value) -> Error {
    let what = format!("platform value {}", row.name);
    Error::Value { what, expected: expected.to_string(), found: found.to_string() }
}
