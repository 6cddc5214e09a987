//! A static program from a Rust crate, by the locked toolchain, with crates by the hashes of its
//! `Cargo.lock` and repositories by its commits.

mod pinned;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::root::Root;
use super::step::{Builder, Step};
use crate::recipe::{Arch, CargoAgent};
use crate::store::Expected;
pub use pinned::{Outside, Pinned, Repository};

const SCRIPT: &str = include_str!("cargo.sh");
const OUTPUT: &str = "out/program";

/// Where the script puts repositories.
const REPOSITORIES: &str = "/build/git";

/// Cargo's configuration without repositories.
const CONFIG: &str = "[source.crates-io]\nreplace-with = \"vendor\"\n\
     [source.vendor]\ndirectory = \"/build/vendor\"\n";

/// Sources of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// Files beside the recipe: path, and contents.
    Files(Vec<(PathBuf, Vec<u8>)>),
    /// An archive in the store, whose top directory does not count.
    Archive(Expected),
}

/// A program to build.
#[derive(Debug, Clone)]
pub struct Program<'a> {
    /// What the recipe says of it.
    pub wanted: &'a CargoAgent,
    /// Its sources.
    pub sources: &'a Sources,
    /// What its `Cargo.lock` takes from outside.
    pub outside: &'a Outside,
    /// Archives of the repositories, by commit; in the store.
    pub repositories: &'a BTreeMap<String, Expected>,
    /// Architecture that it is for.
    pub arch: Arch,
    /// Seconds since 1970 that stand for the time of the build.
    pub epoch: u32,
}

/// Builds the program; its crates are in the store already, and it is then.
///
/// # Errors
/// A crate is missing in the store, the architecture is another than the toolchain's, or the build
/// fails.
pub fn build(builder: &Builder<'_>, root: &Root, program: &Program<'_>) -> Result<Expected> {
    let triple = match program.arch {
        Arch::X86_64 => "x86_64-unknown-linux-gnu",
        other => bail!("the locked Rust toolchain builds for x86_64, not for {other:?}"),
    };
    let wanted = program.wanted;
    let env = [
        ("BIN", wanted.bin.clone()),
        ("DIR", wanted.dir.clone().unwrap_or_else(|| ".".into())),
        ("OPTIONS", options(wanted)),
        ("SOURCE_DATE_EPOCH", program.epoch.to_string()),
        ("TRIPLE", triple.to_string()),
    ];
    let step = Step {
        name: format!("program {}", wanted.bin),
        root,
        script: SCRIPT,
        inputs: inputs(builder, program)?,
        env: env.map(|(name, value)| (name.into(), value)).into(),
        outputs: vec![OUTPUT.into()],
    };
    builder.run(&step)?.outputs.remove(OUTPUT).context("no program")
}

/// Which features Cargo is to build it with.
fn options(wanted: &CargoAgent) -> String {
    let mut options = Vec::new();
    if wanted.default_features == Some(false) {
        options.push("--no-default-features".to_string());
    }
    if !wanted.features.is_empty() {
        options.push(format!("--features {}", wanted.features.join(",")));
    }
    options.join(" ")
}

fn inputs(builder: &Builder<'_>, program: &Program<'_>) -> Result<BTreeMap<String, Expected>> {
    let mut inputs = BTreeMap::new();
    match program.sources {
        Sources::Archive(archive) => drop(inputs.insert("source.tar".into(), *archive)),
        Sources::Files(files) => {
            for (path, bytes) in files {
                let path = path.to_str().context("a path of the crate is no UTF-8")?;
                inputs.insert(format!("crate/{path}"), builder.bytes(bytes)?);
            }
        }
    }
    for Pinned { name, version, sha256 } in &program.outside.crates {
        let file = builder.store.path(sha256)?;
        let file = file.with_context(|| format!("the store lacks the crate {name} {version}"))?;
        let size = file.metadata().with_context(|| format!("the crate {name}"))?.len();
        let crate_file = Expected { sha256: *sha256, size };
        inputs.insert(format!("crates/{name}-{version}.crate"), crate_file);
    }
    let mut config = CONFIG.to_string();
    for (repository, crates) in &program.outside.repositories {
        let commit = &repository.commit;
        let archive = program.repositories.get(commit);
        let archive = archive.with_context(|| lacking(repository))?;
        config.push_str(&repository.replaced(REPOSITORIES));
        let list: String = crates.iter().map(|name| format!("{name}\n")).collect();
        inputs.insert(format!("git/{commit}.crates"), builder.text(&list)?);
        inputs.insert(format!("git/{commit}.tar"), *archive);
    }
    inputs.insert("config.toml".into(), builder.text(&config)?);
    if let Some(script) = &program.wanted.prepare {
        inputs.insert("prepare.sh".into(), builder.text(script)?);
    }
    Ok(inputs)
}

/// What to add to a recipe that does not say where a repository is.
fn lacking(repository: &Repository) -> String {
    let Repository { url, commit, .. } = repository;
    let name = url.trim_end_matches(".git").rsplit('/').next().unwrap_or_default();
    format!(
        "Cargo.lock takes crates from {url}, commit {commit}, which is no source of the recipe; add \
         `{name}: {{git: {{url: {url}, rev: {commit}}}}}` to `sources` and lock again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_become_options() {
        let mut wanted = CargoAgent {
            source: "a".into(),
            bin: "a".into(),
            at: None,
            dir: None,
            features: Vec::new(),
            default_features: None,
            needs: Vec::new(),
            prepare: None,
        };
        assert_eq!(options(&wanted), "");
        wanted.features = vec!["a".into(), "b/c".into()];
        wanted.default_features = Some(false);
        assert_eq!(options(&wanted), "--no-default-features --features a,b/c");
    }

    #[test]
    fn a_repository_that_no_source_has_is_named_with_what_to_add() {
        let repository = Repository {
            url: "https://example.org/kata/cgroups-rs.git".into(),
            reference: None,
            commit: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".into(),
        };
        let text = lacking(&repository);
        assert!(text.contains("add `cgroups-rs: {git: {url: https://example.org/"), "{text}");
    }
}
