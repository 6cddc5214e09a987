//! What is wrong with a recipe, and where: file, line, column, the line itself, a hint.

use std::fmt;
use std::sync::Arc;

/// A recipe file's text, under the name that errors show.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as given, or as `extends` names it from there.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Its directory relative to that of the recipe that was asked for; empty if the same.
    pub directory: String,
}

/// Where something stands in a recipe file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub source: Arc<Source>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters that belong to it, at least 1.
    pub width: usize,
}

impl Origin {
    /// The start of `source`.
    pub(super) fn start(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), line: 1, column: 1, width: 1 }
    }

    /// The line itself.
    pub(super) fn text(&self) -> &str {
        self.source.text.lines().nth(self.line - 1).unwrap_or("")
    }
}

/// `file:line`, as `check --resolved` shows it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.name, self.line)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Origin,
    /// What is found and what is expected.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Characters of a line that are shown at most; a generated line may be a megabyte long.
const SHOWN: usize = 100;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { line, column, width, .. } = self.at;
        write!(f, "{}:{column}: {}", self.at, self.what)?;
        let text = self.at.text();
        if !text.trim().is_empty() {
            let skipped = column.saturating_sub(SHOWN / 2);
            let text = without_credentials(text);
            let shown: String = text.chars().skip(skipped).take(SHOWN).map(printable).collect();
            let (number, margin) = (line.to_string(), " ".repeat(line.to_string().len()));
            let caret = column.saturating_sub(1 + skipped);
            let width = width.clamp(1, shown.chars().count().saturating_sub(caret).max(1));
            write!(f, "\n {number} | {}", shown.trim_end())?;
            write!(f, "\n {margin} | {}{}", " ".repeat(caret), "^".repeat(width))?;
        }
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

/// The line with what stands before the `@` of an address blotted out: no secret in an error.
fn without_credentials(line: &str) -> String {
    let mut parts = line.split("://");
    let mut clean = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let host = part.find(['/', ' ', '"', '\'', ',']).unwrap_or(part.len());
        let secret = part.get(..host).and_then(|host| host.rfind('@')).unwrap_or(0);
        let (secret, rest) = part.split_at(secret);
        clean.push_str(&format!("://{}{rest}", "*".repeat(secret.chars().count())));
    }
    clean
}

/// One visible column for every character of the line, so that the caret stands right.
fn printable(c: char) -> char {
    match c {
        '\t' => '→',
        c if c.is_control() => '·',
        c => c,
    }
}

/// Everything that is wrong with a recipe; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The problems, in the order of the recipe's fields.
    pub problems: Vec<Problem>,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&problems.join("\n"))
    }
}

impl std::error::Error for Error {}

/// «did you mean» for the nearest of `known`, else what there is.
pub(super) fn suggest(word: &str, known: &[&str]) -> Option<String> {
    let distance = |other: &&&str| strsim::damerau_levenshtein(word, other);
    let nearest = known.iter().min_by_key(distance)?;
    let near = strsim::damerau_levenshtein(word, nearest) <= 1 + word.chars().count() / 4;
    Some(match near {
        true => format!("did you mean `{nearest}`?"),
        false => format!("known here: {}", known.join(", ")),
    })
}
