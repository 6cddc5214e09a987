//! The agent: a static program, built from a Rust crate by the toolchain of the host.
//!
//! Its bits depend on the version of that toolchain and on nothing else of the host: the build runs
//! on a copy of the sources, with paths remapped, and its result is kept by the digest of the
//! sources, the toolchain's version and the flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail, ensure};

use crate::digest::Sha256;
use crate::recipe::Arch;
use crate::sandbox::host::Host;
use crate::store::{Store, entries};

/// Part of every key: changes with the way in which an agent is built.
const WAY: &str = "agent on the host toolchain 1";

/// How a missing toolchain is remedied.
const REMEDY: &str = "the agent is built from source; install a Rust toolchain (rustup.rs)";

/// An agent to build.
#[derive(Debug, Clone, Copy)]
pub struct Crate<'a> {
    /// Directory of its `Cargo.toml` and `Cargo.lock`.
    pub dir: &'a Path,
    /// Binary of the crate.
    pub bin: &'a str,
    /// Architecture that it will run on.
    pub arch: Arch,
}

/// The agent's binary: from the store where it was built before, else built now.
///
/// # Errors
/// No toolchain for the architecture; sources that cannot be read or do not compile; a binary that
/// needs a dynamic loader.
pub fn build(host: &Host, store: &Store, agent: Crate<'_>) -> Result<Vec<u8>> {
    let toolchain = host.tool("rustc", REMEDY)?.arg("-vV").run()?.stdout;
    let triple = triple(&String::from_utf8_lossy(&toolchain), agent.arch)?;
    let sources = sources(agent.dir)?;
    let key = key(agent, &toolchain, &sources);
    if let Some(known) = store.result(&key)? {
        let digest = Sha256::from_str(&String::from_utf8_lossy(&known))
            .with_context(|| format!("the store's result {key} is no digest"))?;
        return store.need(&digest);
    }
    let binary = compile(host, agent, &triple, &sources)?;
    ensure_static(&binary, agent.bin)?;
    let digest = store.put(&binary)?;
    store.put_result(&key, digest.to_string().as_bytes())?;
    Ok(binary)
}

/// The static target of the host's toolchain.
fn triple(version: &str, arch: Arch) -> Result<String> {
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let wanted = match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "aarch64",
        Arch::S390x => "s390x",
    };
    if !host.starts_with(wanted) {
        bail!(
            "the host's toolchain builds for {host}, the guest is {wanted}: \
             name a prebuilt agent (`agent: {{file: …}}`)"
        );
    }
    Ok(host.to_string())
}

/// One source file: its path below the crate, and its bytes.
type Source = (PathBuf, Vec<u8>);

/// Every source file of the crate, sorted; hidden entries and `target` are none.
pub(super) fn sources(dir: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    collect(dir, Path::new(""), &mut found)?;
    let has = |name: &str| found.iter().any(|(path, _)| path == Path::new(name));
    ensure!(has("Cargo.toml"), "{} has no Cargo.toml: it is no crate", dir.display());
    ensure!(has("Cargo.lock"), "{} has no Cargo.lock: its crates are not pinned", dir.display());
    Ok(found)
}

fn collect(root: &Path, below: &Path, found: &mut Vec<Source>) -> Result<()> {
    for path in entries::sorted(&root.join(below))? {
        let name = path.file_name().unwrap_or_default();
        let inside = below.join(name);
        if name.as_encoded_bytes().starts_with(b".") || inside == Path::new("target") {
            continue;
        }
        if path.is_dir() {
            collect(root, &inside, found)?;
        } else {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            found.push((inside, bytes));
        }
    }
    Ok(())
}

fn key(agent: Crate<'_>, toolchain: &[u8], sources: &[Source]) -> Sha256 {
    let mut parts = vec![WAY.as_bytes().to_vec(), agent.bin.into(), toolchain.to_vec()];
    for (path, bytes) in sources {
        parts.push(path.as_os_str().as_encoded_bytes().to_vec());
        parts.push(Sha256::of(bytes).0.to_vec());
    }
    let framed =
        parts.iter().flat_map(|part| [(part.len() as u64).to_le_bytes().to_vec(), part.clone()]);
    Sha256::of(&framed.collect::<Vec<_>>().concat())
}

/// Compiles a copy of the sources; nothing is written beside them.
fn compile(host: &Host, agent: Crate<'_>, triple: &str, sources: &[Source]) -> Result<Vec<u8>> {
    let work = tempfile::tempdir().context("a directory to build the agent in")?;
    let root = work.path().join("build");
    for (path, bytes) in sources {
        let path = root.join(path);
        let parent = path.parent().unwrap_or(&root);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    let target = work.path().join("target");
    let mut cargo = host.tool("cargo", REMEDY)?;
    cargo.args(["build", "--release", "--locked", "--target", triple, "--bin", agent.bin]);
    cargo.dir(&root).env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(host, &root));
    cargo.run().with_context(|| format!("building the agent of {}", agent.dir.display()))?;
    let binary = target.join(triple).join("release").join(agent.bin);
    fs::read(&binary).with_context(|| format!("reading {}", binary.display()))
}

/// A static binary without a build id, in which no path of this machine stands.
fn flags(host: &Host, root: &Path) -> String {
    let home = host.variables.get("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let cargo = host.variables.get("CARGO_HOME").map(PathBuf::from).or(home);
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_string(),
        "-Clink-arg=-Wl,--build-id=none".to_string(),
        format!("--remap-path-prefix={}=/build", root.display()),
    ];
    flags.extend(cargo.map(|dir| format!("--remap-path-prefix={}=/cargo", dir.display())));
    flags.join("\x1f")
}

/// A guest has no dynamic loader: the program header `PT_INTERP` (ELF-64, 3) must not be there.
pub(super) fn ensure_static(binary: &[u8], name: &str) -> Result<()> {
    let word = |at: usize| binary.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let half = |at: usize| binary.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    let headers = || {
        let start = usize::try_from(word(0x20)?).ok()?;
        Some((start, usize::from(half(0x36)?), usize::from(half(0x38)?)))
    };
    let (start, size, count) = headers().context("the agent's binary is no ELF file")?;
    let kinds = (0..count).map(|i| binary.get(start + i * size..start + i * size + 4));
    let dynamic = kinds.flatten().any(|kind| kind == [3, 0, 0, 0]);
    ensure!(
        !dynamic,
        "`{name}` needs a dynamic loader, which a guest does not have: link it statically"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_its_pinned_sources() {
        let dir = tempfile::tempdir().expect("a directory");
        let agent = Crate { dir: dir.path(), bin: "agent", arch: Arch::X86_64 };
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write("Cargo.toml", "");
        let unpinned = sources(dir.path()).expect_err("no lock");
        assert!(unpinned.to_string().ends_with("its crates are not pinned"), "{unpinned}");
        write("Cargo.lock", "");
        write("src/main.rs", "fn main() {}");
        let before = key(agent, b"rustc", &sources(dir.path()).expect("sources"));
        write("target/debug/x", "");
        write(".git/x", "");
        assert_eq!(key(agent, b"rustc", &sources(dir.path()).expect("sources")), before);
        assert_ne!(key(agent, b"rustd", &sources(dir.path()).expect("sources")), before);
        write("src/main.rs", "fn main() { }");
        assert_ne!(key(agent, b"rustc", &sources(dir.path()).expect("sources")), before);
    }

    #[test]
    fn a_foreign_guest_needs_another_toolchain() {
        let version = "rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(triple(version, Arch::X86_64).expect("native"), "x86_64-unknown-linux-gnu");
        let foreign = triple(version, Arch::S390x).expect_err("foreign");
        assert!(foreign.to_string().contains("the guest is s390x"), "{foreign}");
    }

    #[test]
    fn a_dynamic_binary_is_refused() {
        let shell = fs::read("/bin/sh").expect("a dynamic binary");
        assert!(ensure_static(&shell, "sh").is_err());
        assert!(ensure_static(b"#!/bin/sh", "sh").is_err());
    }
}
