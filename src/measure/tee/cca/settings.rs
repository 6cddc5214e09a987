//! What a machine says of its realm, as `RmiRealmParams` has it.

use alloc::string::ToString;

use super::CCA;
use super::hash::{Hash, WIDTH, padded};
use super::rim::{FLAG_LPA2, FLAG_PMU, FLAG_SVE, Parameters};
use crate::digest::unhex;
use crate::measure::machine::Kind;
use crate::measure::{Error, Guest, Machine, Register, Result, Setting, initdata};

pub(super) const HASH: Setting = Setting {
    name: "hash",
    about: "Hash of the realm (default: sha512, under kvmtool sha256)",
    kind: Kind::Choice(&["sha256", "sha384", "sha512"]),
};
pub(super) const RMM: Setting = Setting {
    name: "rmm",
    about: "Interface of the Realm Management Monitor (default 1.0); 2.0 measures no RIPAS",
    kind: Kind::Choice(&["1.0", "2.0"]),
};
pub(super) const IPA_BITS: Setting = Setting {
    name: "ipa-bits",
    about: "Address bits that the host offers; a VMM that needs fewer asks for fewer",
    kind: Kind::Count,
};
pub(super) const NUM_BPS: Setting =
    Setting { name: "num-bps", about: "Breakpoints of a vCPU", kind: Kind::Count };
pub(super) const NUM_WPS: Setting =
    Setting { name: "num-wps", about: "Watchpoints of a vCPU", kind: Kind::Count };
pub(super) const SVE_VL: Setting = Setting {
    name: "sve-vl",
    about: "Vector length of SVE in bits; 0 for none (default)",
    kind: Kind::Number,
};
pub(super) const PMU: Setting =
    Setting { name: "pmu", about: "The realm has a performance monitor", kind: Kind::Flag };
pub(super) const PMU_NUM_CTRS: Setting = Setting {
    name: "pmu-num-ctrs",
    about: "Counters of the performance monitor",
    kind: Kind::Number,
};
pub(super) const LPA2: Setting =
    Setting { name: "lpa2", about: "The realm has large physical addresses", kind: Kind::Flag };
pub(super) const ITS: Setting = Setting {
    name: "its",
    about: "The interrupt controller of our device tree has an ITS (default true)",
    kind: Kind::Flag,
};
pub(super) const FLAGS: Setting = Setting {
    name: "realm-flags",
    about: "Further bits of the realm's flags (RMM 2.0: 8 device assignment, 0x80 MEC policy)",
    kind: Kind::Number,
};
pub(super) const RPV: Setting = Setting {
    name: "personalization-value",
    about: "Realm personalization value, up to 64 bytes in hexadecimal; not part of the RIM",
    kind: Kind::Text,
};

/// What of `machine` is measured, for a VMM that asks for `needed` address bits.
pub(super) fn parameters(machine: &Machine, needed: u8) -> Result<Parameters> {
    let wrong = |setting: &Setting, found: u64, expected: &str| Error::Setting {
        name: setting.name.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    };
    let counted = |setting: &'static Setting| {
        let why = alloc::format!("it is measured; give --{} as the host offers it", setting.name);
        let count = machine.number(setting.name);
        let count = count.ok_or(Error::Missing { tee: CCA.name, what: setting.name, why })?;
        let less = u8::try_from(count).ok().filter(|n| (2..=64).contains(n)).map(|n| n - 1);
        less.ok_or_else(|| wrong(setting, count, "2 to 64"))
    };
    let offered = machine.number(IPA_BITS.name);
    if let Some(offered) = offered.filter(|bits| *bits < u64::from(needed)) {
        return Err(wrong(
            &IPA_BITS,
            offered,
            &alloc::format!("{needed} or more, which the VMM needs"),
        ));
    }
    let sve = machine.number(SVE_VL.name).unwrap_or(0);
    if !(sve == 0 || (sve.is_multiple_of(128) && sve <= 2048)) {
        return Err(wrong(&SVE_VL, sve, "0, or a multiple of 128 up to 2048"));
    }
    let counters = match (machine.flag(PMU.name), machine.number(PMU_NUM_CTRS.name)) {
        (false, _) => 0,
        (true, Some(count)) => {
            u8::try_from(count).map_err(|_| wrong(&PMU_NUM_CTRS, count, "0 to 31"))?
        }
        (true, None) => {
            let why = "the realm has a performance monitor (--pmu)".to_string();
            return Err(Error::Missing { tee: CCA.name, what: PMU_NUM_CTRS.name, why });
        }
    };
    let flags = [
        (FLAG_LPA2, machine.flag(LPA2.name)),
        (FLAG_SVE, sve > 0),
        (FLAG_PMU, machine.flag(PMU.name)),
    ];
    let set = flags.iter().filter(|(_, on)| *on).fold(0, |flags, (flag, _)| flags | flag);
    let hash = match (machine.text(HASH.name), machine.vmm.name.as_str()) {
        (Some("sha256"), _) | (None, "kvmtool") => Hash::Sha256,
        (Some("sha384"), _) => Hash::Sha384,
        _ => Hash::Sha512,
    };
    Ok(Parameters {
        flags: set | machine.number(FLAGS.name).unwrap_or(0),
        ipa_bits: needed,
        sve_vl: u8::try_from((sve / 128).saturating_sub(1)).unwrap_or(0),
        num_bps: counted(&NUM_BPS)?,
        num_wps: counted(&NUM_WPS)?,
        pmu_num_ctrs: counters,
        hash,
    })
}

/// The realm personalization value: what the machine states, or what initdata binds it to.
pub(super) fn personalization(guest: &Guest<'_>, machine: &Machine) -> Result<Option<Register>> {
    let bound = initdata::field(guest, RPV.name, WIDTH)?;
    let Some(text) = machine.text(RPV.name) else { return Ok(bound) };
    if bound.is_some() {
        let what = "rpv beside initdata".to_string();
        let why = "initdata is what the value is bound to: give one of them".to_string();
        return Err(Error::Unsupported { what, why });
    }
    let bytes = unhex(text).ok().filter(|bytes| bytes.len() <= WIDTH);
    let bytes = bytes.ok_or_else(|| Error::Setting {
        name: RPV.name.to_string(),
        found: text.to_string(),
        expected: "up to 64 bytes in hexadecimal".to_string(),
    })?;
    Ok(Some(Register::new(RPV.name, padded(&bytes))))
}
