//! Paths as a recipe writes them, with `/` on every host, and what is wrong with them.

use super::error::{Origin, Problem};

/// What is wrong with a value, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(what: impl Into<String>, hint: &str) -> Self {
        Self { what: what.into(), hint: Some(hint.to_string()).filter(|h| !h.is_empty()) }
    }

    pub(super) fn at(self, origin: &Origin) -> Problem {
        Problem { at: origin.clone(), what: self.what, hint: self.hint }
    }
}

type Checked = Result<(), Fault>;

/// A path relative to the recipe; it may lead out of the recipe's directory (`../agent`).
pub(super) fn relative(path: &str) -> Checked {
    plain(path)?;
    match path.starts_with('/') {
        true => Err(Fault::new(
            format!("{path:?} is an absolute path"),
            "write it relative to the recipe, so that it holds on every machine",
        )),
        false => Ok(()),
    }
}

/// A path that stays in the recipe's directory.
pub(super) fn beside_recipe(path: &str) -> Checked {
    relative(path)?;
    match path.split('/').any(|part| part == "..") {
        true => Err(Fault::new(
            format!("{path:?} leads out of the recipe's directory"),
            "`..` may stand only in a `local` source and in `extends`",
        )),
        false => Ok(()),
    }
}

/// A path in an image: absolute, and in its shortest form.
pub(super) fn in_image(path: &str) -> Checked {
    plain(path)?;
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Fault::new(
            format!("{path:?} is not absolute"),
            &format!("a path in the image starts with a slash: /{path}"),
        ));
    };
    match rest.split('/').find(|part| ["", ".", ".."].contains(part)) {
        None => Ok(()),
        Some("..") => {
            let hint = "write the path that it leads to";
            Err(Fault::new(format!("{path:?} has a `..`"), hint))
        }
        Some(_) if rest.is_empty() => Err(Fault::new("`/` itself cannot be made", "")),
        Some(_) => Err(Fault::new(
            format!("{path:?} is not in its shortest form"),
            &format!("write {}", short(path)),
        )),
    }
}

/// What no path may be or hold.
fn plain(path: &str) -> Checked {
    if path.is_empty() {
        return Err(Fault::new("the path is empty", ""));
    }
    if path.len() > 4095 {
        return Err(Fault::new("the path is longer than 4095 bytes (PATH_MAX)", ""));
    }
    match path.chars().find(|c| c.is_control() || *c == '\\') {
        Some(c) => Err(Fault::new(format!("{path:?} has the character {c:?}"), "")),
        None => Ok(()),
    }
}

fn short(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !["", "."].contains(part)).collect();
    format!("/{}", parts.join("/"))
}

/// `path` seen from the directory of `file`.
pub(super) fn beside(file: &str, path: &str) -> String {
    join(&parent(file), path)
}

/// `path` seen from `directory`.
pub(super) fn join(directory: &str, path: &str) -> String {
    match directory {
        "" => path.to_string(),
        "/" => format!("/{path}"),
        _ => format!("{directory}/{path}"),
    }
}

/// Directory of a file; empty if none is named.
pub(super) fn parent(file: &str) -> String {
    match file.rsplit_once('/') {
        Some(("", _)) => "/".to_string(),
        Some((directory, _)) => directory.to_string(),
        None => String::new(),
    }
}

/// The path without `.`, and with `..` only at its start.
pub(super) fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("." | "", _) => {}
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_shortened() {
        assert_eq!(beside("recipes/a.yaml", "../base/b.yaml"), "recipes/../base/b.yaml");
        assert_eq!(beside("a.yaml", "b.yaml"), "b.yaml");
        assert_eq!(beside("/a.yaml", "b.yaml"), "/b.yaml");
        assert_eq!(normal("recipes/../base/./b.yaml"), "base/b.yaml");
        assert_eq!(normal("../../x"), "../../x");
        assert_eq!(normal("/a/../x"), "/x");
    }
}
