//! YAML text → tree. The only module that knows the YAML crate.
//!
//! Strict: keys once, no merge keys, no tags, no booleans but `true` and `false`, and budgets that
//! a recipe never reaches but a bomb of aliases does at once.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Location, Spanned};

use super::error::{Origin, Problem, Source};
use super::node::{Entry, Node, Value};

/// Bytes of a recipe file at most. The largest that makes sense is a tenth of it.
pub const MAX_SIZE: usize = 1 << 20;

/// Values, of aliases too, in a recipe file at most.
const MAX_NODES: usize = 50_000;

/// Levels of nesting at most.
const MAX_DEPTH: usize = 24;

/// Aliases at most.
const MAX_ALIASES: usize = 1_000;

/// Anchors at most.
const MAX_ANCHORS: usize = 100;

/// The tree of a recipe file.
pub(super) fn parse(source: &Arc<Source>) -> Result<Node, Problem> {
    match serde_saphyr::from_str_with_options::<Located>(&source.text, options()) {
        Ok(located) => convert(located, source),
        Err(error) => Err(problem(error.without_snippet(), source)),
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_SIZE),
            max_events: 2 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ANCHORS,
            max_recorded_anchor_events: 10_000,
            max_recorded_anchor_bytes: MAX_SIZE,
            max_total_scalar_bytes: MAX_SIZE,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 1_000,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

/// A node as the YAML crate gives it.
struct Located(Spanned<Raw>);

enum Raw {
    Null,
    Bool(bool),
    Number(Option<u64>),
    Text(String),
    List(Vec<Located>),
    Map(Vec<(Spanned<String>, Located)>),
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(u64::try_from(value).ok()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(Some(value)))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(u64::try_from(value).ok()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(u64::try_from(value).ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number(None)) // no field holds a fraction; its spelling is taken from the text
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

fn convert(Located(spanned): Located, source: &Arc<Source>) -> Result<Node, Problem> {
    let origin = origin(spanned.referenced, source);
    let written = written(spanned.defined, source);
    let value = match spanned.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(whole) => Value::Number(whole, written.to_string()),
        Raw::Text(text) if written == text && is_old_boolean(&text) => {
            return Err(old_boolean(&text, origin));
        }
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => {
            Value::List(items.into_iter().map(|i| convert(i, source)).collect::<Result<_, _>>()?)
        }
        Raw::Map(entries) => {
            Value::Map(entries.into_iter().map(|e| entry(e, source)).collect::<Result<_, _>>()?)
        }
    };
    Ok(Node { origin, value })
}

fn entry((key, value): (Spanned<String>, Located), source: &Arc<Source>) -> Result<Entry, Problem> {
    let at = origin(key.referenced, source);
    Ok(Entry { key: key.value, origin: at, node: convert(value, source)? })
}

/// The text of a scalar as it is written.
fn written(location: Location, source: &Source) -> &str {
    let span = location.span();
    let range = || {
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        source.text.get(start..end)
    };
    range().unwrap_or("").trim_end()
}

fn origin(location: Location, source: &Arc<Source>) -> Origin {
    let number = |n: u64| usize::try_from(n).unwrap_or(1).max(1);
    let written = written(location, source);
    Origin {
        source: source.clone(),
        line: number(location.line()),
        column: number(location.column()),
        // A block runs over many lines: its first character is pointed at.
        width: if written.contains('\n') { 1 } else { written.chars().count().max(1) },
    }
}

/// Plain words that YAML 1.1 reads as booleans and YAML 1.2 as text.
fn is_old_boolean(text: &str) -> bool {
    ["yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str())
}

fn old_boolean(text: &str, at: Origin) -> Problem {
    let what = format!("`{text}` is a boolean for YAML 1.1 and text for YAML 1.2");
    let hint = format!("write \"{text}\" if you mean the text, else `true` or `false`");
    Problem { at, what, hint: Some(hint) }
}

/// An error of the YAML crate in our form.
fn problem(error: &serde_saphyr::Error, source: &Arc<Source>) -> Problem {
    use serde_saphyr::Error;
    let location = error.location().filter(|location| location.line() > 0);
    let at = location.map_or_else(|| Origin::start(source), |l| origin(l, source));
    let indented_by_tab = at.text().chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let one_document = || ("a recipe is one YAML document".to_string(), "remove all from `---` on");
    let cause = match error {
        Error::AliasError { error, .. } => error,
        other => other,
    };
    let (what, hint) = match cause {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("");
            (format!("the key `{key}` stands twice in one mapping"), "keep one of them")
        }
        Error::MergeKeyNotAllowed { .. } => (
            "merge keys (`<<`) are not used in recipes".to_string(),
            "share parts of recipes with `extends`",
        ),
        Error::MultipleDocuments { .. } => one_document(),
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => one_document(),
        Error::Budget { breach, .. } => (beyond(breach), BEYOND),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            ("the aliases multiply beyond what a recipe may hold".to_string(), BEYOND)
        }
        _ if indented_by_tab => ("a tab cannot indent in YAML".to_string(), "indent with spaces"),
        _ => return Problem { at, what: plain(error), hint: None },
    };
    Problem { at, what, hint: Some(hint.to_string()) }
}

const BEYOND: &str = "a recipe holds a few hundred values; is this one?";

/// Which of the limits in [`options`] the text goes beyond.
fn beyond(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("more than {MAX_NODES} values")
        }
        BudgetBreach::Depth { .. } => format!("more than {MAX_DEPTH} levels of nesting"),
        BudgetBreach::Aliases { .. } => format!("more than {MAX_ALIASES} aliases"),
        BudgetBreach::Anchors { .. } => format!("more than {MAX_ANCHORS} anchors"),
        BudgetBreach::RecordedAnchorEvents { .. } | BudgetBreach::RecordedAnchorBytes { .. } => {
            "the aliases multiply beyond what a recipe may hold".to_string()
        }
        _ => "more than a recipe may hold".to_string(),
    }
}

/// The crate's own words, without its positions.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").or_else(|| text.find("\n")).unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).to_string()
}
