//! The machines that a guest is launched on. Which settings a machine has stands in the row of its
//! TEE; recipes, command line, schema and docs all read it there.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::{Cpu, Error, Result, Tee};

/// The machine that a guest is launched on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The VMM, as `qemu` or `qemu@10.1`.
    pub vmm: Vmm,
    /// Number of vCPUs.
    pub vcpus: Option<u32>,
    /// CPU model, by the VMM's name or by signature.
    pub cpu: Option<Cpu>,
    /// Guest memory in bytes.
    pub memory: Option<u64>,
    /// Settings of its TEE alone, by the names in the TEE's row.
    pub settings: BTreeMap<String, Value>,
}

/// A VMM by name, with its version where one was stated.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vmm {
    /// Name of a row of [`super::VMMS`].
    pub name: String,
    /// Version as numbers, most significant first: `[10, 1]`.
    pub version: Option<Vec<u32>>,
}

/// One setting of a machine, as a TEE's row lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Name in a recipe, and `--NAME` on the command line: `guest-features`.
    pub name: &'static str,
    /// One line for help and docs.
    pub about: &'static str,
    /// How its text is read.
    pub kind: Kind,
}

/// How the text of a setting is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number from 1 to 4096: `4`.
    Count,
    /// A number, decimal or hexadecimal: `33`, `0x21`.
    Number,
    /// Bytes with a unit: `2GiB`, `512MiB`.
    Size,
    /// A version: `6.10`.
    Version,
    /// A CPU model by name (`EPYC-Milan`), signature (`0xa00f11`) or family/model/stepping
    /// (`25/1/1`).
    Cpu,
    /// `true` or `false`; the bare flag on a command line is `true`.
    Flag,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Count`], [`Kind::Number`] and [`Kind::Size`].
    Number(u64),
    /// Of [`Kind::Version`].
    Version(Vec<u32>),
    /// Of [`Kind::Cpu`].
    Cpu(Cpu),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Text`] and [`Kind::Choice`].
    Text(String),
}

/// [`Machine::vcpus`].
pub const VCPUS: Setting = Setting { name: "vcpus", about: "Numbers of vCPUs", kind: Kind::Count };
/// [`Machine::cpu`].
pub const CPU: Setting = Setting {
    name: "cpu",
    about: "CPU models: a name of the VMM, a signature, or family/model/stepping",
    kind: Kind::Cpu,
};
/// [`Machine::cpu`] by its signature alone.
pub const CPU_SIGNATURE: Setting = Setting {
    name: "cpu-signature",
    about: "CPU models by CPUID Fn0000_0001_EAX",
    kind: Kind::Cpu,
};
/// [`Machine::memory`].
pub const MEMORY: Setting =
    Setting { name: "memory", about: "Guest memory, with a unit: 2GiB", kind: Kind::Size };

impl Setting {
    /// The value that `text` stands for.
    ///
    /// # Errors
    /// The text is not of the setting's kind.
    pub fn parse(&self, text: &str) -> Result<Value> {
        let value = match self.kind {
            Kind::Count => text.parse().ok().filter(|n| (1..=4096).contains(n)).map(Value::Number),
            Kind::Number => number(text).map(Value::Number),
            Kind::Size => size(text).map(Value::Number),
            Kind::Version => version(text).map(Value::Version),
            Kind::Cpu => return Cpu::parse(text).map(Value::Cpu),
            Kind::Flag => text.parse().ok().map(Value::Flag),
            Kind::Text => Some(Value::Text(text.to_string())),
            Kind::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_string())),
        };
        value.ok_or_else(|| Error::Setting {
            name: self.name.to_string(),
            found: text.to_string(),
            expected: self.kind.to_string(),
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Version(version) => write!(f, "{}", Dotted(version)),
            Self::Cpu(cpu) => f.write_str(&cpu.name),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A version as text: `10.1`.
struct Dotted<'a>(&'a [u32]);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Vmm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{}", Dotted(version)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("a number from 1 to 4096"),
            Self::Number => f.write_str("a number, as 33 or 0x21"),
            Self::Size => {
                f.write_str("a size with its unit, as 2GiB or 512MiB, of at most 4096TiB")
            }
            Self::Version => f.write_str("a version, as 6.10"),
            Self::Cpu => f.write_str("a CPU model, as EPYC-Milan, 0xa00f11 or 25/1/1"),
            Self::Flag => f.write_str("true or false"),
            Self::Text => f.write_str("a text"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn size(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    let number = digits.trim_end().parse::<u64>().ok().filter(|n| *n > 0)?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= MAX_SIZE)
}

/// What 52 bits can address, the most that x86 and Arm have: 4 PiB.
const MAX_SIZE: u64 = 1 << 52;

fn version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

impl Vmm {
    /// The VMM that `text` names: `qemu`, `qemu@10.1`.
    ///
    /// # Errors
    /// What follows the `@` is not a version of numbers.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((name, number)) = text.split_once('@') else {
            return Ok(Self { name: text.to_string(), version: None });
        };
        let version = version(number).ok_or_else(|| Error::Setting {
            name: "vmm".to_string(),
            found: text.to_string(),
            expected: "a name, perhaps with a version of numbers, as qemu@10.1".to_string(),
        })?;
        Ok(Self { name: name.to_string(), version: Some(version) })
    }

    /// True when a version is stated and it is earlier than `version`.
    pub fn before(&self, version: &[u32]) -> bool {
        self.version.as_deref().is_some_and(|stated| stated < version)
    }
}

impl Machine {
    /// The number that the setting `name` holds.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.settings.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The text that the setting `name` holds.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.settings.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// True when the setting `name` is on.
    pub fn flag(&self, name: &str) -> bool {
        self.settings.get(name) == Some(&Value::Flag(true))
    }

    /// The version that the setting `name` holds.
    pub fn version(&self, name: &str) -> Option<&[u32]> {
        match self.settings.get(name) {
            Some(Value::Version(version)) => Some(version),
            _ => None,
        }
    }

    fn with(&self, name: &str, value: &Value) -> Self {
        let mut machine = self.clone();
        match (name, value) {
            ("vcpus", Value::Number(count)) => machine.vcpus = u32::try_from(*count).ok(),
            ("memory", Value::Number(bytes)) => machine.memory = Some(*bytes),
            ("cpu" | "cpu-signature", Value::Cpu(cpu)) => machine.cpu = Some(cpu.clone()),
            _ => drop(machine.settings.insert(name.to_string(), value.clone())),
        }
        machine
    }
}

/// The machines of `tee` that the lists in `given` (texts by setting) multiply to. The order is
/// that of the settings in the TEE's row, the first varying slowest; `vmm` before all.
///
/// # Errors
/// A setting that the TEE does not take, a text that is not of its kind, a VMM that the TEE is not
/// known under.
pub fn machines(tee: &Tee, given: &BTreeMap<String, Vec<String>>) -> Result<Vec<Machine>> {
    let unknown = |name: &&String| *name != "vmm" && tee.setting(name).is_none();
    if let Some(name) = given.keys().find(unknown) {
        return Err(Error::NotTaken { tee: tee.name, what: name.clone(), known: tee.settings() });
    }
    let mut machines = vmms(tee, given.get("vmm"))?;
    for setting in tee.takes.iter().filter(|setting| **setting != CPU_SIGNATURE) {
        let values = values(tee, setting, given)?;
        if !values.is_empty() {
            let product = |machine: &Machine| {
                values.iter().map(|value| machine.with(setting.name, value)).collect::<Vec<_>>()
            };
            machines = machines.iter().flat_map(product).collect();
        }
    }
    Ok(machines)
}

/// Values of one setting; models by name and by signature are one list.
fn values(
    tee: &Tee,
    setting: &Setting,
    given: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Value>> {
    let signatures = *setting == CPU && tee.takes.contains(&CPU_SIGNATURE);
    let names = [Some(setting.name), signatures.then_some(CPU_SIGNATURE.name)];
    let texts = names.into_iter().flatten().filter_map(|name| given.get(name)).flatten();
    texts.map(|text| setting.parse(text)).collect()
}

fn vmms(tee: &Tee, given: Option<&Vec<String>>) -> Result<Vec<Machine>> {
    let default = || tee.vmms.first().map(|name| name.to_string()).into_iter().collect();
    let names = given.filter(|names| !names.is_empty()).cloned().unwrap_or_else(default);
    let mut machines = vec![];
    for name in names {
        let vmm = Vmm::parse(&name)?;
        if !tee.vmms.contains(&vmm.name.as_str()) {
            return Err(Error::Unsupported {
                what: format!("{} under the VMM `{}`", tee.name, vmm.name),
                why: format!("known are {}", tee.vmms.join(", ")),
            });
        }
        machines.push(Machine { vmm, ..Machine::default() });
    }
    // A TEE without a VMM (an enclave) is launched by hardware alone.
    Ok(if machines.is_empty() { vec![Machine::default()] } else { machines })
}
