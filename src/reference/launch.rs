//! CoRIM in Microsoft's profile for launch measurements, `tag:microsoft.com,2026:launch-measurement/v1`
//! (crate igvm 0.5, `corim/launch_measurement/profile.rs`): one platform, one digest, one security
//! version number that is endorsed for it.

use ciborium::Value;

use super::cbor::{map, tag};
use super::corim::{digest, environment, measurement, wrap};
use super::uuid::uuid5;
use super::{Document, Emitted, Emitter, Error, Result, Settings};
use crate::digest::unhex;

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "corim-launch",
    about: "CoRIM in Microsoft's launch-measurement profile: one measurement; needs --svn",
    file: "launch-measurement.corim",
    media_type: "application/rim+cbor",
    make: emit,
};

const PROFILE: &str = "tag:microsoft.com,2026:launch-measurement/v1";

/// Name space of the profile's tag identities, 85f3f1c2-22a8-441e-a1b9-bccfb63ed5f7.
const NAMESPACE: [u8; 16] = [
    0x85, 0xf3, 0xf1, 0xc2, 0x22, 0xa8, 0x44, 0x1e, 0xa1, 0xb9, 0xbc, 0xcf, 0xb6, 0x3e, 0xd5, 0xf7,
];

/// Tag of an exact security version number (draft-ietf-rats-corim-10 section 5.1.4.5.2).
const EXACT_SVN: u64 = 552;

/// A platform of the profile.
struct Platform {
    tee: &'static str,
    register: &'static str,
    vendor: &'static str,
    model: &'static str,
    key: &'static str,
}

const PLATFORMS: &[Platform] = &[
    Platform { tee: "tdx", register: "mrtd", vendor: "Intel", model: "TDX", key: "MRTD" },
    Platform {
        tee: "sev-snp",
        register: "measurement",
        vendor: "AMD",
        model: "SEV-SNP",
        key: "MEASUREMENT",
    },
];

fn emit(document: &Document, settings: &Settings) -> Result<Emitted> {
    let (platform, value) = only_one(document)?;
    let svn = settings.svn.ok_or_else(|| Error::Empty {
        what: "security version number".to_string(),
        why: "the profile endorses one for the measurement: state it with --svn".to_string(),
    })?;
    let bytes = unhex(value).map_err(|error| Error::Text(error.to_string()))?;
    let digests = digest(bytes).ok_or_else(|| Error::Value {
        what: platform.register.to_string(),
        expected: "a SHA-384 digest".to_string(),
        found: value.to_string(),
    })?;
    let measured = measurement(platform.key, digests);
    let environment = environment(platform.vendor, platform.model);
    let reference = list([environment.clone(), list([measured.clone()])]);
    let addition = map([(1, map([(1, tag(EXACT_SVN, svn.into()))]))]);
    let condition = list([environment, list([])]);
    let series = list([condition, list([list([list([measured]), list([addition])])])]);
    let name = format!("{}/{}", platform.vendor, platform.model);
    let comid = map([
        (1, map([(0, uuid5(NAMESPACE, &name).into())])),
        (4, map([(0, list([reference])), (8, list([series]))])),
    ]);
    wrap(&format!("{name}/launch-measurement"), Some(PROFILE), &comid).map(Emitted::sure)
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.into())
}

/// The one launch measurement of the document.
fn only_one(document: &Document) -> Result<(&'static Platform, &str)> {
    let mut found = Vec::new();
    for platform in PLATFORMS {
        let values = document.of_tee(platform.tee);
        found.extend(values.filter_map(|m| Some((platform, m.registers.get(platform.register)?))));
    }
    found.dedup_by(|a, b| a.1 == b.1);
    match found.as_slice() {
        [(platform, value)] => Ok((platform, value)),
        [] => Err(Error::Empty {
            what: "launch measurement".to_string(),
            why: "the profile knows SEV-SNP and TDX".to_string(),
        }),
        [(_, first), (_, second), ..] => Err(Error::Conflict {
            what: "the launch measurement".to_string(),
            first: (*first).clone(),
            second: (*second).clone(),
            why: "the profile has room for one: measure one machine",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::document;
    use super::*;

    #[test]
    fn tag_identities_are_those_of_the_profile() {
        // igvm 0.5, builder.rs: the identity that its test expects of AMD/SEV-SNP.
        assert_eq!(uuid5(NAMESPACE, "AMD/SEV-SNP"), "77e8061e-4634-5e53-a848-d1d09e996843");
    }

    #[test]
    fn one_measurement_and_a_version_number_are_asked_for() {
        let mut document = document();
        let several = emit(&document, &Settings::default()).expect_err("three").to_string();
        assert!(several.contains("measure one machine"), "{several}");
        document.machines.truncate(1);
        let unversioned = emit(&document, &Settings::default()).expect_err("no SVN").to_string();
        assert!(unversioned.contains("--svn"), "{unversioned}");
        let settings = Settings { svn: Some(5), ..Settings::default() };
        let bytes = emit(&document, &settings).expect("a CoRIM").content;
        assert!(crate::digest::hex(&bytes).contains("d9022805"), "no exact SVN 5");
    }
}
