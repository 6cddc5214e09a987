//! What an inspection says: one tree for text and JSON.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::digest::hex;

/// Something that an inspection found, in the order in which it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Words, or bytes in hexadecimal.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Several facts of one kind.
    List(Vec<Fact>),
    /// Facts by name.
    Facts(Facts),
    /// Several facts with the same names, one a line.
    Table(Vec<Facts>),
}

/// Facts by name, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(String, Fact)>);

impl Facts {
    /// The facts and one more.
    #[must_use]
    pub fn with(mut self, name: &str, fact: impl Into<Fact>) -> Self {
        self.0.push((name.to_string(), fact.into()));
        self
    }

    /// The facts and, if there is one, one more.
    #[must_use]
    pub fn with_some(self, name: &str, fact: Option<impl Into<Fact>>) -> Self {
        match fact {
            Some(fact) => self.with(name, fact),
            None => self,
        }
    }

    /// As `with`, for bytes: hexadecimal, or «zeros» in words, since nobody counts them.
    #[must_use]
    pub fn with_bytes(self, name: &str, bytes: &[u8]) -> Self {
        self.with(name, hex(bytes))
    }

    /// The fact called `name`.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, fact)| fact)
    }

    /// The facts with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (name.as_str(), fact))
    }

    /// What a JSON object says; what is null or empty is left out.
    pub fn of_json(value: &serde_json::Value) -> Self {
        let fields = value.as_object().into_iter().flatten();
        let fields = fields.filter_map(|(name, value)| Some((name.clone(), Fact::of_json(value)?)));
        Self(fields.collect())
    }

    /// Readable text, one fact a line, what lies deeper indented.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        let width = self.0.iter().filter(|(_, fact)| fact.is_line()).map(|(name, _)| name.len());
        let width = width.max().unwrap_or(0).min(28);
        for (name, fact) in &self.0 {
            out.push_str(&"  ".repeat(depth));
            match fact.line() {
                Some(line) => out.push_str(&format!("{:width$} {line}\n", format!("{name}:"))),
                None => {
                    out.push_str(&format!("{name}:\n"));
                    fact.write(out, depth + 1);
                }
            }
        }
    }
}

impl Fact {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn of_json(value: &serde_json::Value) -> Option<Self> {
        use serde_json::Value;
        match value {
            Value::Null => None,
            Value::Bool(flag) => Some(Self::Flag(*flag)),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => Some(Self::Text(number.to_string())),
            Value::Array(items) if items.is_empty() => None,
            Value::Array(items) => {
                Some(Self::List(items.iter().filter_map(Self::of_json).collect()))
            }
            Value::Object(_) => Some(Self::Facts(Facts::of_json(value))),
        }
    }

    fn is_line(&self) -> bool {
        self.line().is_some()
    }

    /// The fact in one line, if it is one.
    fn line(&self) -> Option<String> {
        match self {
            Self::Text(text) if text.len() > 32 && is_zeros(text) => {
                Some(format!("zeros ({} bytes)", text.len() / 2))
            }
            Self::Text(text) => Some(printable(text)),
            Self::Number(number) => Some(number.to_string()),
            Self::Flag(flag) => Some(if *flag { "yes" } else { "no" }.to_string()),
            Self::List(items) if items.is_empty() => Some("none".to_string()),
            Self::Table(rows) if rows.is_empty() => Some("none".to_string()),
            Self::Facts(Facts(facts)) if facts.is_empty() => Some("none".to_string()),
            Self::List(_) | Self::Facts(_) | Self::Table(_) => None,
        }
    }

    /// The rows of a table, one a line, each column as wide as its widest word.
    fn write_table(rows: &[Facts], out: &mut String, depth: usize) {
        let cells = |Facts(row): &Facts| -> Vec<String> {
            row.iter().map(|(_, fact)| fact.line().unwrap_or_default()).collect()
        };
        let rows: Vec<_> = rows.iter().map(cells).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &rows {
            let mut line = "  ".repeat(depth);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Facts(facts) => facts.write(out, depth),
            Self::List(items) => items.iter().for_each(|item| item.write_item(out, depth)),
            Self::Table(rows) => Self::write_table(rows, out, depth),
            _ => {}
        }
    }

    fn write_item(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        match self.line() {
            Some(line) => out.push_str(&format!("{indent}- {line}\n")),
            None => {
                let start = out.len();
                self.write(out, depth + 1);
                out.replace_range(start + 2 * depth..start + 2 * depth + 1, "-");
            }
        }
    }
}

fn is_zeros(hex: &str) -> bool {
    hex.bytes().all(|byte| byte == b'0')
}

/// The text on one line, and nothing in it that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Fact {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Fact {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Facts> for Fact {
    fn from(facts: Facts) -> Self {
        Self::Facts(facts)
    }
}

impl<T: Into<Fact>> From<Vec<T>> for Fact {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Number(number) => number.serialize(serializer),
            Self::Flag(flag) => flag.serialize(serializer),
            Self::List(items) => items.serialize(serializer),
            Self::Facts(facts) => facts.serialize(serializer),
            Self::Table(rows) => rows.serialize(serializer),
        }
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, fact) in &self.0 {
            map.serialize_entry(name, fact)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let inner = |n: u32| Facts::default().with("number", n).with("words", vec!["a", "b\u{1b}"]);
        let facts = Facts::default()
            .with_bytes("measurement", &[0; 48])
            .with("debug", false)
            .with("parts", vec![inner(1), inner(2)])
            .with("more", inner(3))
            .with("empty", Vec::<u32>::new());
        insta::assert_snapshot!(facts.text());
        insta::assert_snapshot!(serde_json::to_string_pretty(&facts).expect("JSON"));
    }
}
