//! The tree is the pipeline: which module may use which, and what stands above the purity line.
//!
//! Reads the sources as text: a rule that only a person remembers is not a rule.
#![expect(clippy::disallowed_methods, reason = "a test may walk the source tree; it sorts")]

use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules in order; a module uses only those before it (and itself).
const ORDER: &[&str] = &[
    "digest",
    "format",
    "measure",
    "reference",
    "recipe",
    "lock",
    "store",
    "sandbox",
    "source",
    "build",
    "assemble",
    "verify",
    "publish",
    "cli",
];

/// The last module above the purity line.
const LAST_PURE: &str = "lock";

/// Words that touch the world: none of them above the purity line.
const WORLD: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net",
    "std::time",
    "std::io",
    "std::thread",
    "println!",
    "eprintln!",
    "include_bytes!",
];

/// Modules that build without the standard library.
const NO_STD: &[&str] = &["digest", "format", "measure"];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("source directory") {
        let path = entry.expect("entry").path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// `(module, file, shipped code)`: comments and test modules are cut off.
fn modules() -> Vec<(usize, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = Vec::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).expect("below src").to_path_buf();
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let name = first.trim_end_matches(".rs").to_string();
        if ["lib", "main"].contains(&name.as_str()) || inside.ends_with("tests.rs") {
            continue;
        }
        let rank = ORDER.iter().position(|m| *m == name);
        let rank = rank.unwrap_or_else(|| panic!("module `{name}` has no place in ORDER"));
        let text = fs::read_to_string(&path).expect("source");
        let shipped = text.split("#[cfg(test)]").next().expect("a part").to_string();
        let code = shipped.lines().filter(|l| !l.trim_start().starts_with("//"));
        modules.push((rank, inside, code.collect::<Vec<_>>().join("\n")));
    }
    modules
}

#[test]
fn layers_point_downwards_only() {
    let mut wrong = Vec::new();
    for (rank, file, code) in modules() {
        for later in &ORDER[rank + 1..] {
            if code.contains(&format!("crate::{later}")) {
                wrong.push(format!("src/{}: {} uses {later}", file.display(), ORDER[rank]));
            }
        }
    }
    assert!(wrong.is_empty(), "a module uses only those before it:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_above_the_purity_line_touches_the_world() {
    let line = ORDER.iter().position(|m| *m == LAST_PURE).expect("a module");
    let mut wrong = Vec::new();
    for (rank, file, code) in modules() {
        let forbidden = WORLD.iter().filter(|word| rank <= line && code.contains(**word));
        wrong.extend(forbidden.map(|word| format!("src/{}: {word}", file.display())));
        if NO_STD.contains(&ORDER[rank]) && code.contains("std::") && !file.ends_with("tests.rs") {
            wrong.push(format!("src/{}: std:: in a module that is no_std", file.display()));
        }
    }
    assert!(wrong.is_empty(), "bytes in, bytes out:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let bare: Vec<_> = sources(&src)
        .into_iter()
        .filter(|path| !fs::read_to_string(path).expect("source").starts_with("//!"))
        .collect();
    assert!(bare.is_empty(), "no `//!` head: {bare:?}");
}

#[test]
fn files_stay_readable() {
    let long: Vec<_> = modules()
        .into_iter()
        .filter(|(_, _, code)| code.lines().count() > 500)
        .map(|(_, file, code)| format!("src/{}: {} lines", file.display(), code.lines().count()))
        .collect();
    assert!(long.is_empty(), "over 500 lines of shipped code:\n{}", long.join("\n"));
}
