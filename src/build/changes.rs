//! Why a step runs: what differs from its last run.

use std::collections::BTreeMap;

use anyhow::Result;

use super::step::Step;
use crate::digest::Sha256;
use crate::store::{Expected, Store};

/// All that shapes a step, by a name that a person knows it by.
type Parts = BTreeMap<String, String>;

/// What differs between `step` and its last run under the name `owner`; notes this one as the last.
///
/// # Errors
/// The store cannot be read or written.
pub(super) fn since_last(
    store: &Store,
    owner: &str,
    step: &Step<'_>,
    inputs: &BTreeMap<String, Expected>,
) -> Result<Vec<String>> {
    let key = Sha256::of(format!("last run of {} for {owner}", step.name).as_bytes());
    let parts = parts(step, inputs);
    let before = store.result(&key)?.map(|bytes| decode(&bytes));
    store.put_result(&key, &encode(&parts))?;
    Ok(before.map_or_else(|| vec!["it has not run before".into()], |before| diff(&before, &parts)))
}

fn parts(step: &Step<'_>, inputs: &BTreeMap<String, Expected>) -> Parts {
    let packages = step.root.packages().iter();
    let packages = packages.map(|p| (format!("package {}", p.name), p.version.clone()));
    let inputs = inputs.iter().map(|(path, input)| (format!("input {path}"), short(input)));
    let env = step.env.iter().map(|(name, value)| (format!("variable {name}"), value.clone()));
    let outputs = [("outputs".to_string(), step.outputs.join(" "))];
    packages.chain(inputs).chain(env).chain(outputs).collect()
}

fn short(input: &Expected) -> String {
    input.sha256.to_string()[..12].to_string()
}

fn diff(before: &Parts, now: &Parts) -> Vec<String> {
    let mut names: Vec<_> = before.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &&String| match (before.get(*name), now.get(*name)) {
        (Some(old), Some(new)) if old != new => Some(format!("{name}: {old} became {new}")),
        (Some(old), None) => Some(format!("{name}: {old} is gone")),
        (None, Some(new)) => Some(format!("{name}: {new} is new")),
        _ => None,
    };
    let changes: Vec<_> = names.iter().filter_map(change).collect();
    match changes.is_empty() {
        true => vec!["its outputs are no longer in the store".into()],
        false => changes,
    }
}

fn encode(parts: &Parts) -> Vec<u8> {
    let line =
        |(name, value): (&String, &String)| format!("{name}\t{}\n", value.replace('\n', " "));
    parts.iter().map(line).collect::<String>().into_bytes()
}

fn decode(bytes: &[u8]) -> Parts {
    let text = String::from_utf8_lossy(bytes);
    let part = |line: &str| line.split_once('\t').map(|(name, value)| (name.into(), value.into()));
    text.lines().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Parts {
        decode(text.as_bytes())
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let before = parts("input a\t1\ninput b\t2\npackage gcc\t14.1\n");
        let now = parts("input a\t1\ninput c\t3\npackage gcc\t14.2\n");
        assert_eq!(
            diff(&before, &now),
            ["input b: 2 is gone", "input c: 3 is new", "package gcc: 14.1 became 14.2"]
        );
        assert_eq!(decode(&encode(&now)), now);
        assert_eq!(diff(&now, &now), ["its outputs are no longer in the store"]);
    }
}
