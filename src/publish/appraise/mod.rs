//! What a verifier would say, before anything is published: an attestation policy evaluated with
//! claims made from our own registers.
//!
//! Trustee's policies fail silently: a missing name, a list where a scalar is wanted, hexadecimal
//! where base64 is. So every value is also changed, one at a time, and the verdict must break.

mod claims;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::Values;
use crate::reference::names::{self, NAMES, Name, Origin, Shape};
use crate::reference::{Document, Machine, Settings};

/// The trust claims of an EAR (draft-ietf-rats-ar4si) that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Appraisal {
    /// 3: only approved executables.
    pub executables: i64,
    /// 2: genuine, supported hardware.
    pub hardware: i64,
    /// 2: an approved configuration.
    pub configuration: i64,
}

/// Evaluates `policy` (Rego, package `policy`) on `claims`, with `values` as the store that
/// `query_reference_value` asks.
///
/// # Errors
/// The policy does not parse, or has no trust claims.
pub fn appraise(policy: &str, claims: &Value, values: &Values) -> Result<Appraisal> {
    let mut engine = regorus::Engine::new();
    let parsed = engine.add_policy("policy.rego".to_string(), policy.to_string());
    parsed.context("the policy does not parse")?;
    let store = values.clone();
    let query = move |arguments: Vec<regorus::Value>| {
        let name = arguments.first().and_then(|name| name.as_string().ok());
        let value = name.and_then(|name| store.get(name.as_ref()));
        Ok(value.map_or(regorus::Value::Null, |value| value.clone().into()))
    };
    let added = engine.add_extension("query_reference_value".to_string(), 1, Box::new(query));
    added.context("the policy engine takes no extension")?;
    engine.set_input(claims.clone().into());
    let found = engine.eval_rule("data.policy.trust_claims".to_string());
    let found = found.context("the policy has no `trust_claims`, or fails on these claims")?;
    let found: Value = serde_json::from_str(&found.to_json_str()?)?;
    let claim = |name: &str| {
        found.get(name).and_then(Value::as_i64).ok_or_else(|| anyhow!("no trust claim `{name}`"))
    };
    Ok(Appraisal {
        executables: claim("executables")?,
        hardware: claim("hardware")?,
        configuration: claim("configuration")?,
    })
}

/// What the policy says of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The machine.
    pub machine: String,
    /// Key of its TEE in the claims: `snp`.
    pub tee: &'static str,
    /// The verdict.
    pub appraisal: Appraisal,
    /// Whether it is what a verifier must say.
    pub affirming: bool,
    /// What is missing, of the wrong shape, or too loose.
    pub problems: Vec<String>,
}

/// Evaluates `policy` for every machine of `document` whose claims the policies know. The store holds
/// what would be published, or `held`: what somebody else has put there.
///
/// # Errors
/// The document does not check, a supplied value has the wrong shape, or the policy cannot be
/// evaluated.
pub fn check_policy(
    policy: &str,
    document: &Document,
    settings: &Settings,
    held: Option<&Values>,
) -> Result<Vec<Finding>> {
    let ours = names::values(document, settings)?.content;
    let ours: Values = ours.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let values = held.unwrap_or(&ours);
    let stated = without_comments(policy);
    let mut findings = Vec::new();
    for machine in &document.machines {
        for tee in tees(machine, values) {
            findings.push(Case { policy, stated: &stated, machine, tee, values }.finding()?);
        }
    }
    Ok(findings)
}

/// The claims under which a machine reports: a virtual TPM appears under the platform whose values
/// were supplied.
fn tees(machine: &Machine, values: &Values) -> Vec<&'static str> {
    let supplied = |name: &str| values.contains_key(name);
    match machine.tee.as_str() {
        "sev-snp" => vec!["snp"],
        "tdx" => vec!["tdx"],
        "vtpm" => [
            ("az-snp-vtpm", supplied("measurement")),
            ("az-tdx-vtpm", supplied("mr_td")),
            ("tpm", supplied("trusted_aks")),
        ]
        .into_iter()
        .filter_map(|(tee, given)| given.then_some(tee))
        .collect(),
        _ => Vec::new(),
    }
}

/// One machine under one policy.
struct Case<'a> {
    policy: &'a str,
    /// The policy without its comments.
    stated: &'a str,
    machine: &'a Machine,
    tee: &'static str,
    values: &'a Values,
}

impl Case<'_> {
    fn finding(&self) -> Result<Finding> {
        let appraisal = self.appraise(None)?;
        let affirming = appraisal == self.wanted();
        let mut problems = Vec::new();
        for name in asked(self.tee, self.stated) {
            problems.extend(self.problem(name, affirming)?);
        }
        if !affirming && problems.is_empty() {
            problems.push("no value is at fault: the policy asks for more than values".to_string());
        }
        Ok(Finding { machine: self.machine.label(), tee: self.tee, appraisal, affirming, problems })
    }

    /// AR4SI: approved executables, genuine hardware, approved configuration; of which a TPM says
    /// nothing.
    fn wanted(&self) -> Appraisal {
        let configuration = if self.tee == "tpm" { 0 } else { 2 };
        Appraisal { executables: 3, hardware: 2, configuration }
    }

    /// The verdict on what the machine reports, with the claim of the name `changed` changed.
    fn appraise(&self, changed: Option<&Name>) -> Result<Appraisal> {
        // A guest reports something even where nobody said what: it must not equal an absent value.
        let whole = |name: &str| {
            let claim = names::name(name).and_then(|name| self.claim(name));
            claim.unwrap_or(json!("not supplied"))
        };
        let get = |name: &str| match changed.is_some_and(|changed| changed.name == name) {
            true => another(&whole(name)),
            false => whole(name),
        };
        appraise(self.policy, &claims::claims(self.tee, &get), self.values)
    }

    /// What the machine reports where `name` is compared, as the verifier writes it.
    fn claim(&self, name: &Name) -> Option<Value> {
        let built = match name.origin {
            Origin::Build(of) => of(self.machine).map(|value| json!(value)),
            Origin::Platform => None,
        };
        built.or_else(|| names::claim(name, first(self.values.get(name.name)?)))
    }

    /// What is wrong with the value called `name`.
    fn problem(&self, name: &Name, affirming: bool) -> Result<Option<String>> {
        let label = name.name;
        let Some(value) = self.values.get(label) else {
            return Ok(Some(format!("{label} is missing")));
        };
        let shape = compared(self.stated, label).unwrap_or(name.shape);
        if let Some(why) = names::fault(name, shape, value) {
            return Ok(Some(format!("{label} has {why}")));
        }
        if affirming {
            let passes = self.appraise(Some(name))? == self.wanted();
            let loose = || format!("{label} is too loose: the policy passes any value");
            return Ok(passes.then(loose));
        }
        let holds = |claim: &Value| value == claim || items(value).contains(claim);
        let lacks = self.claim(name).is_some_and(|claim| !holds(&claim));
        Ok(lacks.then(|| format!("{label} lacks what this machine reports")))
    }
}

/// The policy without its comments, in which trustee keeps rules of former releases. A `#` in a
/// string begins none.
fn without_comments(policy: &str) -> String {
    let code = |line: &str| {
        let (mut quote, mut escaped) = (None, false);
        let start = line.char_indices().find(|(_, c)| {
            match (quote, *c) {
                (None, '#') => return true,
                (None, '"' | '`') => quote = Some(*c),
                (Some(open), close) if open == close && !escaped => quote = None,
                _ => {}
            }
            escaped = *c == '\\' && quote == Some('"') && !escaped;
            false
        });
        start.and_then(|(at, _)| line.get(..at)).unwrap_or(line).to_string() + "\n"
    };
    policy.lines().map(code).collect()
}

/// How `policy` compares with the value called `name`, as far as its text tells.
fn compared(policy: &str, name: &str) -> Option<Shape> {
    let (before, after) = policy.split_once(&format!("query_reference_value(\"{name}\")"))?;
    let (before, after) = (before.trim_end(), after.trim_start());
    match () {
        () if before.ends_with(" in") => Some(Shape::List),
        () if before.ends_with("==") || after.starts_with("==") => Some(Shape::Scalar),
        () => None,
    }
}

/// Names that the default policy asks for in claims of `tee`; former ones where `policy` still does.
fn asked(tee: &'static str, policy: &str) -> impl Iterator<Item = &'static Name> {
    let shared = ["mr_td", "xfam", "mr_seam", "tcb_svn"];
    let of_tee =
        move |name: &&Name| name.tee == tee || tee == "az-tdx-vtpm" && shared.contains(&name.name);
    let current = move |name: &&Name| {
        !names::FORMER.contains(&name.name) || policy.contains(&format!("\"{}\"", name.name))
    };
    NAMES.iter().filter(of_tee).filter(current)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The one value, or the first of the list.
fn first(value: &Value) -> &Value {
    items(value).first().unwrap_or(value)
}

/// Another value of the same kind.
fn another(value: &Value) -> Value {
    match value {
        Value::Bool(truth) => json!(!truth),
        Value::Number(number) => json!(number.as_u64().unwrap_or_default() + 1),
        Value::String(text) => json!(format!("{text}0")),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_comments;

    #[test]
    fn comments_go_and_strings_stay() {
        let policy =
            "a # b\n\t# query_reference_value(\"mr_seam\")\nx == \"a#b\\\"#\" # c\n`#\"` # d\n";
        assert_eq!(without_comments(policy), "a \n\t\nx == \"a#b\\\"#\" \n`#\"` \n");
    }
}
