//! CPU models by the names of VMMs, and the signatures that guests see.

use alloc::format;
use alloc::string::{String, ToString as _};

use super::{Error, Result};

/// A CPU model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu {
    /// The name as given: `EPYC-Milan`.
    pub name: String,
    /// CPUID Fn0000_0001_EAX: family, model and stepping.
    pub signature: u32,
}

/// A row of [`MODELS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// QEMU's name: `EPYC-Milan`.
    pub name: &'static str,
    /// Family, model and stepping.
    pub signature: u32,
    /// First version of QEMU that knows the name, as far as versions were looked at: 7.2, 10.0,
    /// 10.2 and 11.1.
    pub since: &'static [u32],
}

const fn row(name: &'static str, signature: u32, since: &'static [u32]) -> Model {
    Model { name, signature, since }
}

const NAPLES: u32 = signature(23, 1, 2);
const ROME: u32 = signature(23, 49, 0);
const MILAN: u32 = signature(25, 1, 1);
const GENOA: u32 = signature(25, 17, 0);
const TURIN: u32 = signature(26, 0, 0);
const DHYANA: u32 = signature(24, 0, 1);

/// AMD and Hygon server models of QEMU 11.1.3 (`query-cpu-model-expansion`).
pub const MODELS: &[Model] = &[
    row("EPYC", NAPLES, &[]),
    row("EPYC-v1", NAPLES, &[]),
    row("EPYC-v2", NAPLES, &[]),
    row("EPYC-v3", NAPLES, &[]),
    row("EPYC-v4", NAPLES, &[10, 0]),
    row("EPYC-v5", NAPLES, &[10, 2]),
    row("EPYC-IBPB", NAPLES, &[]),
    row("EPYC-Rome", ROME, &[]),
    row("EPYC-Rome-v1", ROME, &[]),
    row("EPYC-Rome-v2", ROME, &[]),
    row("EPYC-Rome-v3", ROME, &[10, 0]),
    row("EPYC-Rome-v4", ROME, &[10, 0]),
    row("EPYC-Rome-v5", ROME, &[10, 2]),
    row("EPYC-Milan", MILAN, &[]),
    row("EPYC-Milan-v1", MILAN, &[]),
    row("EPYC-Milan-v2", MILAN, &[10, 0]),
    row("EPYC-Milan-v3", MILAN, &[10, 2]),
    row("EPYC-Milan-v4", MILAN, &[11, 1]),
    row("EPYC-Genoa", GENOA, &[10, 0]),
    row("EPYC-Genoa-v1", GENOA, &[10, 0]),
    row("EPYC-Genoa-v2", GENOA, &[10, 2]),
    row("EPYC-Genoa-v3", GENOA, &[11, 1]),
    row("EPYC-Turin", TURIN, &[10, 2]),
    row("EPYC-Turin-v1", TURIN, &[10, 2]),
    row("EPYC-Turin-v2", TURIN, &[11, 1]),
    row("Dhyana", DHYANA, &[]),
    row("Dhyana-v1", DHYANA, &[]),
    row("Dhyana-v2", DHYANA, &[]),
];

/// CPUID Fn0000_0001_EAX of a family, model and stepping (AMD 25481, CPUID Specification; APM
/// volume 3, appendix E.3.1): the family beyond 15 stands in bits 27:20, the model's upper half in
/// 19:16.
pub const fn signature(family: u32, model: u32, stepping: u32) -> u32 {
    let (base, extended) = if family > 15 { (15, family - 15) } else { (family, 0) };
    extended << 20 | (model >> 4) << 16 | base << 8 | (model & 15) << 4 | stepping
}

/// The row called `name`.
pub fn model(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

impl Cpu {
    /// The model that `text` names: `EPYC-Milan`, `0xa00f11`, `25/1/1`.
    ///
    /// # Errors
    /// None of the three forms, a name that QEMU does not have, or a number beyond its field.
    pub fn parse(text: &str) -> Result<Self> {
        let known = || model(text).map(|model| model.signature);
        let hexadecimal = || u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        match known().or_else(hexadecimal).or_else(|| numbers(text)) {
            Some(signature) => Ok(Self { name: text.to_string(), signature }),
            None => Err(unknown(text)),
        }
    }

    /// Family, model and stepping of the signature.
    pub fn numbers(&self) -> (u32, u32, u32) {
        let s = self.signature;
        let (base, extended) = (s >> 8 & 15, s >> 20 & 0xff);
        let family = if base == 15 { base + extended } else { base };
        (family, (s >> 16 & 15) << 4 | s >> 4 & 15, s & 15)
    }
}

fn numbers(text: &str) -> Option<u32> {
    let mut parts = text.split('/').map(|part| part.parse::<u32>().ok());
    let (family, model, stepping) = (parts.next()??, parts.next()??, parts.next()??);
    let fits = family <= 15 + 255 && model <= 255 && stepping <= 15 && parts.next().is_none();
    fits.then(|| signature(family, model, stepping))
}

fn unknown(text: &str) -> Error {
    let host = matches!(text, "host" | "max");
    let expected = match host {
        true => format!("a model: what `{text}` is depends on the host; give its signature"),
        false => "a model of QEMU, as EPYC-Milan, or a signature 0xa00f11, or 25/1/1".to_string(),
    };
    Error::Setting { name: "cpu".to_string(), found: text.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_signatures_and_numbers() {
        let signature = |text| Cpu::parse(text).map(|cpu| cpu.signature);
        for (text, expected) in [
            ("EPYC", 0x80_0f12),
            ("EPYC-v5", 0x80_0f12),
            ("EPYC-Rome-v4", 0x83_0f10),
            ("EPYC-Milan", 0xa0_0f11),
            ("EPYC-Genoa-v3", 0xa1_0f10),
            ("EPYC-Turin", 0xb0_0f00),
            ("Dhyana", 0x90_0f01),
            ("0xa00f11", 0xa0_0f11),
            ("25/17/0", 0xa1_0f10),
            ("14/1/2", 0xe12),
        ] {
            assert_eq!(signature(text), Ok(expected), "{text}");
        }
        for wrong in ["EPYC-Naples", "host", "25/1", "25/1/16", "25/1/1/1", "0x", "a00f11"] {
            assert!(signature(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_a_signature() {
        let numbers = |text| Cpu::parse(text).expect("a model").numbers();
        assert_eq!(numbers("EPYC-Rome"), (23, 49, 0));
        assert_eq!(numbers("0xe12"), (14, 1, 2));
    }
}
