//! A static program from a Rust crate, by the locked toolchain, with crates by the hashes of its
//! `Cargo.lock`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::root::Root;
use super::step::{Builder, Step};
use crate::digest::Sha256;
use crate::recipe::Arch;
use crate::store::Expected;

const SCRIPT: &str = include_str!("cargo.sh");
const OUTPUT: &str = "out/program";

/// Where Cargo says that a crate comes from when it is the public registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate of the registry that a `Cargo.lock` pins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the `.crate` file.
    pub sha256: Sha256,
}

#[derive(Deserialize)]
struct CargoLock {
    #[serde(default)]
    package: Vec<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// The crates that the `Cargo.lock` of this text pins, sorted.
///
/// # Errors
/// It is no `Cargo.lock`, or a crate comes from elsewhere than the registry and has no hash.
pub fn pinned(text: &str) -> Result<Vec<Pinned>> {
    let lock: CargoLock = toml::from_str(text).context("Cargo.lock")?;
    let outside = lock.package.into_iter().filter(|package| package.source.is_some());
    let mut pinned = outside.map(pin).collect::<Result<Vec<_>>>()?;
    pinned.sort();
    Ok(pinned)
}

fn pin(package: CargoPackage) -> Result<Pinned> {
    let CargoPackage { name, version, source, checksum } = package;
    let (Some(REGISTRY), Some(checksum)) = (source.as_deref(), checksum) else {
        let source = source.unwrap_or_default();
        bail!("Cargo.lock: {name} {version} comes from {source} and has no hash; vendor it");
    };
    let sound = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    if !sound(&name) || !sound(&version) {
        bail!("Cargo.lock: `{name}` {version} is no crate");
    }
    let sha256 = checksum.parse().with_context(|| format!("Cargo.lock: the hash of {name}"))?;
    Ok(Pinned { name, version, sha256 })
}

/// A program to build.
#[derive(Debug, Clone)]
pub struct Program<'a> {
    /// Sources of the crate: path below it, and contents.
    pub sources: &'a [(PathBuf, Vec<u8>)],
    /// Binary of the crate.
    pub bin: &'a str,
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
    let mut inputs = BTreeMap::new();
    for (path, bytes) in program.sources {
        let path = path.to_str().context("a path of the crate is no UTF-8")?;
        inputs.insert(format!("crate/{path}"), builder.bytes(bytes)?);
    }
    let lock = program.sources.iter().find(|(path, _)| path == Path::new("Cargo.lock"));
    let (_, lock) = lock.context("the crate has no Cargo.lock")?;
    for pinned in pinned(&String::from_utf8_lossy(lock))? {
        let Pinned { name, version, sha256 } = pinned;
        let file = builder.store.path(&sha256)?;
        let file = file.with_context(|| format!("the store lacks the crate {name} {version}"))?;
        let size = file.metadata().with_context(|| format!("the crate {name}"))?.len();
        inputs.insert(format!("crates/{name}-{version}.crate"), Expected { sha256, size });
    }
    let env = [
        ("BIN", program.bin.to_string()),
        ("SOURCE_DATE_EPOCH", program.epoch.to_string()),
        ("TRIPLE", triple.to_string()),
    ];
    let step = Step {
        name: format!("agent {}", program.bin),
        root,
        script: SCRIPT,
        inputs,
        env: env.map(|(name, value)| (name.into(), value)).into(),
        outputs: vec![OUTPUT.into()],
    };
    builder.run(&step)?.outputs.remove(OUTPUT).context("no program")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        version = 4
        [[package]]
        name = "agent"
        version = "0.1.0"
        dependencies = ["a"]
        [[package]]
        name = "a"
        version = "1.0.0+x"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        checksum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    "#;

    #[test]
    fn crates_of_the_registry_are_pinned_by_hash() {
        let expected =
            Pinned { name: "a".into(), version: "1.0.0+x".into(), sha256: Sha256::of(b"abc") };
        assert_eq!(pinned(LOCK).expect("a lock"), [expected]);
    }

    #[test]
    fn what_has_no_hash_or_no_name_is_refused() {
        let refused =
            |from: &str, to: &str| pinned(&LOCK.replace(from, to)).expect_err(to).to_string();
        let git = refused("registry+https://github.com/rust-lang/crates.io-index", "git+https://x");
        assert_eq!(
            git,
            "Cargo.lock: a 1.0.0+x comes from git+https://x and has no hash; vendor it"
        );
        assert!(
            refused("\"a\"\n        version", "\"../a\"\n        version").contains("no crate")
        );
        assert!(refused("ba7816", "xa7816").contains("the hash of a"));
    }
}
