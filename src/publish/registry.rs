//! Registering values with a service that keeps them by name, the same for RVPS and KBS: look first,
//! write what differs, read everything back.
//!
//! A service stores the values of a message one by one and in no order; after a refusal some of them
//! may be in. So a refused message is sent once more, value by value, which tells the culprit, and
//! the report is what the service holds at the end.

use anyhow::Result;
use serde_json::Value;

use super::{Content, Entry, Report, State, Values, messages};
use crate::reference::rvps::Message;

/// A service that keeps values by name.
pub(super) trait Registry {
    /// The value of that name, if there is one.
    fn get(&mut self, name: &str) -> Result<Option<Value>>;
    /// Registers a message; says why if the service refuses it.
    fn register(&mut self, message: &[u8]) -> Result<Result<(), String>>;
    /// The requests that [`Registry::register`] would send, for people.
    fn plan(&self, message: &[u8]) -> String;
}

/// Publishes every form of `content`.
pub(super) fn publish(
    registry: &mut impl Registry,
    content: &Content,
    dry_run: bool,
) -> Result<Report> {
    let mut report = Report::default();
    for (values, message) in messages(content, &mut report)? {
        let entries = match dry_run {
            true => vec![Entry {
                name: values.keys().cloned().collect::<Vec<_>>().join(" "),
                state: State::Planned(registry.plan(&message)),
            }],
            false => register(registry, &values, &message)?,
        };
        report.entries.extend(entries);
    }
    report.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(report)
}

fn register(registry: &mut impl Registry, values: &Values, message: &[u8]) -> Result<Vec<Entry>> {
    let mut before = Vec::new();
    for (name, value) in values {
        before.push(registry.get(name)?.as_ref() == Some(value));
    }
    let mut refusals = Vec::new();
    if !before.iter().all(|same| *same)
        && let Err(whole) = registry.register(message)?
    {
        refusals = one_by_one(registry, values, &whole)?;
    }
    let mut entries = Vec::new();
    for (((name, value), same), place) in values.iter().zip(before).zip(0..) {
        let refusal = refusals.get(place).cloned().flatten();
        let state = match (registry.get(name)?, refusal) {
            (Some(found), None) if found == *value && same => State::Unchanged,
            (Some(found), None) if found == *value => State::Written,
            (Some(found), None) => State::Refused(format!("the service holds {found} instead")),
            (None, None) => State::Refused("the service took it and does not hold it".to_string()),
            (_, Some(why)) => State::Refused(why),
        };
        entries.push(Entry { name: name.clone(), state });
    }
    Ok(entries)
}

/// Registers each value by itself; why it was refused, for each in order. The whole message's
/// refusal stands where values cannot be sent alone.
fn one_by_one(
    registry: &mut impl Registry,
    values: &Values,
    whole: &str,
) -> Result<Vec<Option<String>>> {
    let mut refusals = Vec::new();
    for (name, value) in values {
        let single = Values::from([(name.clone(), value.clone())]);
        let message = serde_json::to_vec(&Message::sample(&single)?)?;
        let refused = registry.register(&message)?.err();
        refusals.push(refused.map(|why| match why == whole {
            true => format!("{why}; {}", hint(name)),
            false => why,
        }));
    }
    Ok(refusals)
}

/// Why a service that says only «refused» probably refuses that name.
fn hint(name: &str) -> &'static str {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    match name.chars().all(safe) {
        true => "the service does not say why; its log may",
        false => {
            "trustee's LocalFs, Postgres and Redis storages refuse names with other characters \
                  than letters, digits, `-`, `_`, `.` and `/`"
        }
    }
}
