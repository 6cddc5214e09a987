//! The docs keep up with the tables and the manifest.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_tee_has_its_page() {
    let missing: Vec<_> = guestsmith::measure::TEES
        .iter()
        .map(|tee| format!("docs/measure/{}.md", tee.name))
        .filter(|page| !root().join(page).exists())
        .collect();
    assert!(missing.is_empty(), "the algorithm stands in the docs: {missing:?}");
}

#[test]
fn every_epoch_has_its_row() {
    let page = text("docs/measure/epochs.md");
    let rows =
        page.lines().filter(|line| line.starts_with("| QEMU ") || line.starts_with("| Linux "));
    let edk2 = page.lines().filter(|line| line.starts_with("| edk2 "));
    let epochs: Vec<_> = guestsmith::measure::VMMS.iter().flat_map(|vmm| vmm.epochs).collect();
    for epoch in &epochs {
        let since: Vec<_> = epoch.since.iter().map(ToString::to_string).collect();
        let told = |line: &str| {
            line.contains(&format!(" {} |", since.join(".")))
                && line.contains(epoch.what)
                && line.contains(epoch.source)
        };
        assert!(page.lines().any(told), "no row for {epoch:?}");
    }
    // The heading of the table of names begins like a row.
    assert_eq!(rows.count() - 1 + edk2.count(), epochs.len(), "a row without an epoch");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest: toml::Table = text("Cargo.toml").parse().expect("a manifest");
    let reasons = text("docs/dependencies.md");
    let listed = |name: &str| {
        reasons
            .split(['\n', ':', ',', '.', '(', ' '])
            .any(|word| word.trim_start_matches("- ") == name)
    };
    let tables = ["dependencies", "dev-dependencies"];
    let named = tables.iter().filter_map(|table| manifest[*table].as_table()).flatten();
    let missing: Vec<_> = named.map(|(name, _)| name).filter(|name| !listed(name)).collect();
    assert!(missing.is_empty(), "docs/dependencies.md gives no reason for {missing:?}");
}

#[test]
fn scripts_stay_short() {
    let long: Vec<_> = ["ci", "ci/differential.d", ".ci"]
        .iter()
        .flat_map(|dir| entries(&root().join(dir)))
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| is_long_shell(&text)))
        .collect();
    assert!(long.is_empty(), "over 55 lines of shell; write it in Rust: {long:?}");
}

fn is_long_shell(text: &str) -> bool {
    text.starts_with("#!/usr/bin/env bash") && text.lines().count() > 55
}

#[expect(clippy::disallowed_methods, reason = "a test may list a directory; order is irrelevant")]
fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}
