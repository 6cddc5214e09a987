//! Text → recipe: one way in, whichever verb asks.

use std::sync::Arc;

use super::error::{Error, Origin, Problem, Source};
use super::extends::{self, Load};
use super::node::{Node, Value};
use super::{Recipe, check, decode, yaml};

/// A recipe with all that it extends, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The recipe; every path in it is relative to the file that was asked for.
    pub recipe: Recipe,
    pub(super) tree: Node,
}

impl Resolved {
    /// Where the field stands that `path` leads to: keys of mappings, and numbers of list items. What
    /// a recipe leaves out stands where its parent does.
    pub fn place(&self, path: &[String]) -> &Origin {
        let (mut node, mut at) = (&self.tree, &self.tree.origin);
        for part in path {
            let next = match &node.value {
                Value::List(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
                _ => node.entry(part).map(|entry| {
                    at = &entry.origin;
                    &entry.node
                }),
            };
            let Some(next) = next else { break };
            if matches!(node.value, Value::List(_)) {
                at = &next.origin;
            }
            node = next;
        }
        at
    }
}

/// Parses `bytes`, a recipe file that messages call `name`, merges it over what it extends, and
/// checks the result. `load` reads the extended files, by paths relative to where `name` is.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn parse(name: &str, bytes: &[u8], load: Load<'_>) -> Result<Resolved, Error> {
    let source = source(name, bytes, "")?;
    let mut tree = extends::resolve(&source, load)?;
    let recipe: Recipe = decode::decode(&tree)?;
    let problems = check::check(&recipe, &tree);
    if !problems.is_empty() {
        return Err(Error { problems });
    }
    extends::rebase(&mut tree);
    Ok(Resolved { recipe: decode::decode(&tree)?, tree })
}

/// The text of a recipe file, refused if it cannot be one.
pub(super) fn source(name: &str, bytes: &[u8], directory: &str) -> Result<Arc<Source>, Problem> {
    let source = |text: String| {
        Arc::new(Source { name: name.to_string(), text, directory: directory.to_string() })
    };
    if bytes.len() > yaml::MAX_SIZE {
        let at = Origin::start(&source(String::new()));
        let what =
            format!("the file is larger than a recipe may be ({} KiB)", yaml::MAX_SIZE >> 10);
        return Err(Problem { at, what, hint: Some("is this a recipe?".to_string()) });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let at = Origin::start(&source(String::new()));
        let hint = Some("`guestsmith new NAME` writes a first recipe".to_string());
        return Err(Problem { at, what: "the recipe is empty".to_string(), hint });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(source(text.to_string())),
        Err(error) => {
            let offset = error.valid_up_to();
            let before = String::from_utf8_lossy(bytes.get(..offset).unwrap_or_default());
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            let source = source(String::from_utf8_lossy(bytes).into_owned());
            let byte = bytes.get(offset).copied().unwrap_or_default();
            let what = format!("the byte {byte:#04x} at offset {offset} is not UTF-8");
            let hint = Some("save the recipe as UTF-8".to_string());
            Err(Problem { at: Origin { source, line, column, width: 1 }, what, hint })
        }
    }
}
