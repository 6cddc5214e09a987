//! `extends`: recipes that a recipe builds on, merged by one documented rule per field.

use std::sync::Arc;

use super::error::{Error, Origin, Problem, Source};
use super::node::{Entry, Node, Value};
use super::{path, yaml};

/// How a field of a recipe meets the same field of a recipe that it extends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The later value stands, whole.
    Later,
    /// Entries of a mapping by name; where a name stands twice, the later entry, whole.
    ByName,
    /// Field by field, by the rules of the fields.
    ByField,
    /// Items of the earlier list, then those of the later one.
    Append,
    /// As `Append`, but an item for the same package or the same path in the image takes the place
    /// of the earlier one.
    ByTarget,
    /// Not inherited.
    Own,
}

/// The rule of every field. `docs/recipe.md` has the same table in words.
pub const RULES: &[(&str, Rule)] = &[
    ("name", Rule::Later),
    ("arch", Rule::Later),
    ("epoch", Rule::Later),
    ("extends", Rule::Own),
    ("sources", Rule::ByName),
    ("tools", Rule::Later),
    ("firmware", Rule::ByName),
    ("loaders", Rule::ByName),
    ("kernel", Rule::Later),
    ("initrd", Rule::ByField),
    ("initrd.packages", Rule::ByTarget),
    ("initrd.agent", Rule::Later),
    ("initrd.programs", Rule::ByTarget),
    ("initrd.files", Rule::ByTarget),
    ("initrd.drop", Rule::Append),
    ("initrd.setup", Rule::Append),
    ("initrd.early", Rule::ByTarget),
    ("initrd.archive", Rule::Later),
    ("initrd.xattrs", Rule::Later),
    ("initrd.pack", Rule::Later),
    ("cmdline", Rule::Append),
    ("machines", Rule::Later),
];

/// Recipes in one chain of `extends` at most.
const MAX_DEPTH: usize = 8;

/// Files that one recipe may extend, directly or not.
const MAX_FILES: usize = 64;

/// Reads a recipe file by the path that messages show; the error is one line.
pub type Load<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// The tree of `source` merged over all that it extends.
pub(super) fn resolve(source: &Arc<Source>, load: Load<'_>) -> Result<Node, Error> {
    Resolver { load, files: 0 }.resolve(source, &mut vec![path::normal(&source.name)])
}

struct Resolver<'a> {
    load: Load<'a>,
    files: usize,
}

impl Resolver<'_> {
    fn resolve(&mut self, source: &Arc<Source>, chain: &mut Vec<String>) -> Result<Node, Error> {
        let own = yaml::parse(source)?;
        let mut merged = None;
        for (path, at) in bases(&own)? {
            let base = self.base(source, path, at, chain)?;
            merged = Some(match merged {
                None => base,
                Some(earlier) => merge("", earlier, base),
            });
        }
        Ok(match merged {
            None => own,
            Some(base) => merge("", base, own),
        })
    }

    fn base(
        &mut self,
        from: &Source,
        path: &str,
        at: &Origin,
        chain: &mut Vec<String>,
    ) -> Result<Node, Error> {
        let problem = |what: String| Problem { at: at.clone(), what, hint: None };
        path::relative(path).map_err(|fault| fault.at(at))?;
        let name = path::beside(&from.name, path);
        chain.push(path::normal(&name));
        self.files += 1;
        if chain.iter().filter(|file| **file == path::normal(&name)).count() > 1 {
            return Err(problem(format!("it extends itself: {}", chain.join(" → "))).into());
        }
        if chain.len() > MAX_DEPTH || self.files > MAX_FILES {
            let what = format!("more than {MAX_DEPTH} levels or {MAX_FILES} files of `extends`");
            return Err(problem(what).into());
        }
        let bytes = (self.load)(&name).map_err(|e| problem(format!("cannot read {name}: {e}")))?;
        let directory = path::parent(&path::normal(&path::join(&from.directory, path)));
        let source = super::parse::source(&name, &bytes, &directory)?;
        let node = self.resolve(&source, chain)?;
        chain.pop();
        Ok(node)
    }
}

/// What a recipe extends, with where each stands.
fn bases(node: &Node) -> Result<Vec<(&str, &Origin)>, Problem> {
    let Some(entry) = node.entry("extends") else { return Ok(Vec::new()) };
    let Value::List(items) = &entry.node.value else {
        // The types say what is wrong with it.
        return super::decode::decode::<Vec<String>>(&entry.node).map(|_| Vec::new());
    };
    let text = |item: &Node| super::decode::decode::<String>(item).map(drop);
    items.iter().try_for_each(text)?;
    Ok(items.iter().filter_map(|item| Some((item.text()?, &item.origin))).collect())
}

/// `later` over `earlier`, both the value of `field` (empty: the recipe itself).
fn merge(field: &str, earlier: Node, later: Node) -> Node {
    let rule = match field {
        "" => Rule::ByField,
        _ => RULES.iter().find(|(name, _)| *name == field).map_or(Rule::Later, |(_, rule)| *rule),
    };
    let origin = later.origin;
    let value = match (rule, earlier.value, later.value) {
        (Rule::ByField, Value::Map(earlier), Value::Map(later)) => {
            Value::Map(entries(earlier, later, |key, a, b| merge(&below(field, key), a, b)))
        }
        (Rule::ByName, Value::Map(earlier), Value::Map(later)) => {
            Value::Map(entries(earlier, later, |_, _, later| later))
        }
        (Rule::Append, Value::List(earlier), Value::List(later)) => {
            Value::List(earlier.into_iter().chain(later).collect())
        }
        (Rule::ByTarget, Value::List(earlier), Value::List(later)) => {
            Value::List(by_target(earlier, later))
        }
        (_, _, later) => later,
    };
    Node { origin, value }
}

fn below(field: &str, key: &str) -> String {
    match field {
        "" => key.to_string(),
        _ => format!("{field}.{key}"),
    }
}

fn entries(
    mut all: Vec<Entry>,
    later: Vec<Entry>,
    both: impl Fn(&str, Node, Node) -> Node,
) -> Vec<Entry> {
    all.retain(|entry| entry.key != "extends");
    for entry in later {
        match all.iter().position(|known| known.key == entry.key) {
            None => all.push(entry),
            Some(position) => {
                let earlier = all.remove(position);
                let node = both(&entry.key, earlier.node, entry.node);
                all.insert(position, Entry { key: entry.key, origin: entry.origin, node });
            }
        }
    }
    all
}

fn by_target(mut all: Vec<Node>, later: Vec<Node>) -> Vec<Node> {
    for item in later {
        let same = target(&item).and_then(|t| all.iter().position(|k| target(k) == Some(t)));
        match same {
            Some(position) => all[position] = item,
            None => all.push(item),
        }
    }
    all
}

/// What an item of `packages`, `programs`, `files` or `early` is for: the package's name, the
/// program's, or the path.
fn target(item: &Node) -> Option<&str> {
    let [kind] = item.entries() else { return None };
    let key = if kind.key == "copy" { "to" } else { "at" };
    let entry = |key| kind.node.entry(key);
    entry("name").or_else(|| entry("bin")).or_else(|| entry(key))?.node.text()
}

/// Fields that hold a path relative to the recipe; `*` is any key, `#` any item.
const PATHS: &[&[&str]] = &[
    &["sources", "*", "local"],
    &["firmware", "*", "file"],
    &["loaders", "*", "file"],
    &["kernel", "file"],
    &["initrd", "agent", "file"],
    &["initrd", "programs", "#", "file"],
    &["initrd", "files", "#", "copy", "from"],
    &["initrd", "early", "#", "copy", "from"],
];

/// Makes every path relative to the recipe that was asked for, whichever file it stands in.
pub(super) fn rebase(tree: &mut Node) {
    PATHS.iter().for_each(|field| rebase_at(tree, field));
}

fn rebase_at(node: &mut Node, field: &[&str]) {
    let directory = &node.origin.source.directory;
    match (field, &mut node.value) {
        ([], Value::Text(text)) if !directory.is_empty() => {
            *text = path::normal(&path::join(directory, text));
        }
        (["#", rest @ ..], Value::List(items)) => {
            items.iter_mut().for_each(|item| rebase_at(item, rest));
        }
        ([key, rest @ ..], Value::Map(entries)) => entries
            .iter_mut()
            .filter(|entry| *key == "*" || entry.key == *key)
            .for_each(|entry| rebase_at(&mut entry.node, rest)),
        _ => {}
    }
}
