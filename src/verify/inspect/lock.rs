//! Locks.

use super::{Fact, Facts};
use crate::lock::{Lock, Package};

pub(super) fn is_lock(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Lock::parse(text).is_ok())
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let lock = Lock::parse(std::str::from_utf8(bytes)?)?;
    let release = |r: &crate::lock::Release| format!("{} {} of {}", r.id, r.suite, r.date);
    Ok(Facts::default()
        .with("recipe", lock.recipe.to_string())
        .with("releases", lock.releases.iter().map(release).collect::<Vec<_>>())
        .with("packages", lock.packages.iter().map(package).collect::<Vec<_>>())
        .with("files", lock.files.iter().map(|file| file.name.clone()).collect::<Vec<_>>()))
}

fn package(package: &Package) -> Fact {
    let Package { name, source, target, version, arch, .. } = package;
    Facts::default()
        .with("name", format!("{name} from {source} for {target}"))
        .with("is", format!("{version} {arch} sha256:{}", package.sha256))
        .into()
}
