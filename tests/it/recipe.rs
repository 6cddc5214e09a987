//! `check`, `new` and `schema`, as a user runs them.

use std::fs;
use std::path::Path;

use crate::command::{guestsmith, run};

/// Every recipe of the repository, by its path in it.
const RECIPES: &[&str] = &["recipes/quickstart.yaml", "tests/inputs/inputs.yaml"];

#[test]
fn the_recipes_of_the_repository_are_sound() {
    for recipe in RECIPES {
        let (code, stdout, stderr) = run(&["check", recipe]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{recipe}");
        assert!(stdout.contains("is sound, sha256:"), "{stdout}");
    }
}

#[test]
fn the_schema_agrees_about_them() {
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema"]).1).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for recipe in RECIPES {
        let text = fs::read_to_string(recipe).expect("a recipe");
        let mut value: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{recipe}: {errors:?}");
        value["cmdlin"] = serde_json::json!([]);
        assert!(!validator.is_valid(&value), "{recipe} with an unknown key");
    }
}

#[test]
fn new_writes_a_recipe_that_checks_and_never_over_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let new = || guestsmith(&["new", "my-guest"]).current_dir(&dir).output().expect("new");
    assert_eq!(new().status.code(), Some(0));
    let recipe = dir.path().join("my-guest.yaml");
    let before = fs::read(&recipe).expect("the recipe");
    assert_eq!(new().status.code(), Some(2));
    assert_eq!(fs::read(&recipe).expect("the recipe"), before);
    let (code, _, stderr) = run(&["check", recipe.to_str().expect("UTF-8")]);
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn a_huge_file_is_refused_without_being_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("huge.yaml");
    // Sparse: it has 100 GB, and reading it would show.
    fs::File::create(&path).and_then(|file| file.set_len(100_000_000_000)).expect("a file");
    let (code, _, stderr) = run(&["check", path.to_str().expect("UTF-8")]);
    assert_eq!(code, 2);
    assert!(stderr.contains("the file is larger than a recipe may be (1024 KiB)"), "{stderr}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let (code, _, stderr) = run(&["check", "recipes/none.yaml"]);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("error: cannot read the recipe recipes/none.yaml\n"), "{stderr}");
    let (code, _, stderr) = run(&["check", "recipes"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("directory"), "{stderr}");
    assert!(Path::new("recipes").is_dir());
}

#[test]
fn problems_come_as_json_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("wrong.yaml");
    fs::write(&path, "name: guest\narhc: x86_64\n").expect("a file");
    let (code, stdout, stderr) = run(&["check", "--json", path.to_str().expect("UTF-8")]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    let value: serde_json::Value = serde_json::from_str(&stderr).expect("JSON");
    let problem = &value["error"]["problems"][0];
    assert_eq!(problem["line"], 2);
    assert_eq!(problem["column"], 1);
    assert_eq!(problem["what"], "unknown key `arhc`");
    assert_eq!(problem["hint"], "did you mean `arch`?");
}
