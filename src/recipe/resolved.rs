//! A resolved recipe as YAML again, every line with where its value came from.

use super::Resolved;
use super::node::{Entry, Node, Value};

/// Column in which the places stand, where the line is shorter.
const MARGIN: usize = 60;

impl Resolved {
    /// The recipe with all that it extends as one YAML text; comments name file and line of every
    /// value. It parses to the same recipe.
    pub fn explained(&self) -> String {
        let mut text = String::new();
        let own = |entry: &&Entry| entry.key != "extends";
        for entry in self.tree.entries().iter().filter(own) {
            write_entry(&mut text, 0, "", entry);
        }
        text
    }
}

/// `key: value`, after `lead` (the dash of a list item that starts with this entry).
fn write_entry(out: &mut String, depth: usize, lead: &str, entry: &Entry) {
    let key = scalar_text(&entry.key);
    write_node(out, depth, &format!("{lead}{key}:"), &entry.node);
}

/// A node that belongs behind `head`: on its line if it is a scalar, below it if not.
fn write_node(out: &mut String, depth: usize, head: &str, node: &Node) {
    let indent = "  ".repeat(depth);
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push_str(&format!("{indent}{head}\n"));
            entries.iter().for_each(|entry| write_entry(out, depth + 1, "", entry));
        }
        Value::List(items) if !items.is_empty() => {
            out.push_str(&format!("{indent}{head}\n"));
            items.iter().for_each(|item| write_item(out, depth + 1, item));
        }
        value => {
            let line = format!("{indent}{head} {}", scalar(value));
            out.push_str(&format!("{line:MARGIN$} # {}\n", node.origin));
        }
    }
}

/// An item of a list; a mapping's first key stands on the line of the dash.
fn write_item(out: &mut String, depth: usize, item: &Node) {
    match item.entries() {
        [] => write_node(out, depth, "-", item),
        [first, rest @ ..] => {
            let mut inner = String::new();
            write_entry(&mut inner, depth + 1, "", first);
            rest.iter().for_each(|entry| write_entry(&mut inner, depth + 1, "", entry));
            inner.replace_range(2 * depth..2 * depth + 1, "-");
            out.push_str(&inner);
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Number(_, text) => text.clone(),
        Value::Text(text) => scalar_text(text),
        Value::List(_) => "[]".to_string(),
        Value::Map(_) => "{}".to_string(),
    }
}

/// A text plain where no YAML reader could take it for anything else, else as a JSON string, which
/// is a YAML string too (YAML 1.2.2 section 1.3).
fn scalar_text(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "-_./@+".contains(c);
    let letters = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = letters && text.chars().all(word);
    match plain && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        true => text.to_string(),
        false => serde_json::Value::from(text).to_string(),
    }
}
