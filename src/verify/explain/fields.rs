//! Fields beside the digest that somebody stated an expectation of: the guest policy bit by bit, and
//! initdata, with what people get wrong about either.

use serde::Serialize;

use super::deviation::{Deviation, cost};
use crate::digest::{hex, unhex};
use crate::format::eventlog::Algorithm;
use crate::measure::id_block::policy_names;
use crate::measure::initdata;
use crate::verify::evidence::Evidence;
use crate::verify::inspect::{Fact, Facts};

/// What was expected of the fields beside the digest.
#[derive(Debug, Clone, Default)]
pub struct Stated {
    /// The guest policy of SEV-SNP.
    pub policy: Option<u64>,
    /// Initdata, the whole text.
    pub initdata: Option<Vec<u8>>,
}

/// A field that is otherwise than stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub field: &'static str,
    /// What was stated, in words or hexadecimal.
    pub expected: String,
    /// What the evidence has.
    pub found: String,
    /// What gives just that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Deviation>,
}

/// The fields of `evidence` that are otherwise than stated.
///
/// # Errors
/// The initdata is none, or the evidence has no such field.
pub(super) fn compare(evidence: &Evidence, stated: &Stated) -> anyhow::Result<Vec<Field>> {
    let mut fields = Vec::new();
    if let Some(expected) = stated.policy {
        let found = text(&evidence.facts, &["policy", "value"])
            .and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        let found = found.ok_or_else(|| anyhow::anyhow!("the evidence has no guest policy"))?;
        fields.extend((found != expected).then(|| policy(expected, found)));
    }
    if let Some(text) = &stated.initdata {
        fields.extend(bound(evidence, text)?);
    }
    Ok(fields)
}

fn text(facts: &Facts, path: &[&str]) -> Option<String> {
    match (facts.get(path.first()?)?, path) {
        (Fact::Text(text), [_]) => Some(text.clone()),
        (Fact::Facts(inner), [_, rest @ ..]) => text(inner, rest),
        _ => None,
    }
}

/// Which bits of the policy are otherwise, by name.
fn policy(expected: u64, found: u64) -> Field {
    let (before, after) = (policy_names(expected), policy_names(found));
    let only = |of: &[String], other: &[String]| {
        of.iter().filter(|name| !other.contains(name)).cloned().collect::<Vec<_>>().join(", ")
    };
    let parts = [("with", only(&after, &before)), ("without", only(&before, &after))];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let what = parts.map(|(word, names)| format!("{word} {names}")).collect::<Vec<_>>().join(", ");
    Field {
        field: "policy",
        expected: format!("{expected:#x}"),
        found: format!("{found:#x}"),
        cause: Some(Deviation::new("policy", cost::SETTING, format!("policy {what}"))),
    }
}

/// The field that a host binds initdata to: HOST_DATA of SNP, MRCONFIGID of TDX.
fn bound(evidence: &Evidence, stated: &[u8]) -> anyhow::Result<Option<Field>> {
    let (field, width) = if evidence.tee == "tdx" { ("mrconfigid", 48) } else { ("host_data", 32) };
    let told = || text(&evidence.facts, &[field]).and_then(|text| unhex(&text).ok());
    let found = evidence.registers.get(field).cloned().or_else(told);
    let found = found.ok_or_else(|| anyhow::anyhow!("the evidence has no {field}"))?;
    let expected = initdata::fitted(initdata::digest(stated)?, width);
    Ok((found != expected).then(|| Field {
        field,
        expected: hex(&expected),
        cause: slips(stated, width).into_iter().find(|(value, _)| *value == found).map(|(_, d)| d),
        found: hex(&found),
    }))
}

/// What a field holds after one of the usual slips, with the slip.
fn slips(text: &[u8], width: usize) -> Vec<(Vec<u8>, Deviation)> {
    let new = |what: &str, cost| Deviation::new("initdata", cost, format!("initdata {what}"));
    let mut found = vec![(vec![0; width], new("is not bound to the launch: the field is zero", 1))];
    let trimmed = text.trim_ascii_end().to_vec();
    let lines = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let texts = [
        (text.to_vec(), ""),
        ([&trimmed[..], b"\n"].concat(), " with one line end"),
        (trimmed, " without the line end"),
        (lines.replace('\n', "\r\n").into_bytes(), " with DOS line ends"),
        (lines.into_bytes(), " with Unix line ends"),
        (crate::digest::base64(text).into_bytes(), " in base64"),
    ];
    for (text, form) in texts {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let digest = algorithm.digest([&text[..]]);
            let name = algorithm.name();
            let what = new(format!("{form} by {name}").trim_start(), cost::LINE_END);
            found.push((initdata::fitted(digest, width), what));
        }
    }
    found
}
