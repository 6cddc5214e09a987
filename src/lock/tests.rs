//! Tests of the lock.

use super::diff::diff;
use super::*;
use crate::recipe::{Arch, Deb, Initrd, Kernel, PackageEntry, PackageFile};

fn recipe() -> Recipe {
    Recipe {
        name: "guest".into(),
        arch: Arch::X86_64,
        epoch: "2026-11-01T00:00:00Z".into(),
        extends: vec!["base.yaml".into()],
        sources: BTreeMap::new(),
        tools: None,
        firmware: BTreeMap::new(),
        loaders: BTreeMap::new(),
        kernel: Some(Kernel::Package(PackageFile {
            name: "linux-image-cloud-amd64".into(),
            from: "trixie".into(),
            file: "/boot/vmlinuz-*".into(),
        })),
        initrd: Some(Initrd {
            packages: vec![
                PackageEntry::Deb(Deb { name: "b".into(), from: "trixie".into(), only: vec![] }),
                PackageEntry::Deb(Deb {
                    name: "a".into(),
                    from: "trixie".into(),
                    only: vec!["/usr/bin/a".into()],
                }),
            ],
            ..Initrd::default()
        }),
        cmdline: vec!["console=ttyS0".into()],
        machines: Vec::new(),
    }
}

fn package(name: &str, needs: &[&str]) -> Package {
    Package {
        source: "trixie".into(),
        target: "amd64".into(),
        name: name.into(),
        version: "1.0-1".into(),
        arch: "amd64".into(),
        release: "trixie@2026-11-21T09:15:44Z".into(),
        path: format!("pool/main/{name}_1.0-1_amd64.deb"),
        size: 3,
        sha256: Sha256::of(name.as_bytes()),
        needs: needs.iter().map(ToString::to_string).collect(),
        why: Vec::new(),
    }
}

fn lock() -> Lock {
    let release = Release {
        id: "trixie@2026-11-21T09:15:44Z".into(),
        suite: "trixie".into(),
        path: "dists/trixie/InRelease".into(),
        size: 4,
        sha256: Sha256::of(b"release"),
        date: "2026-11-21T09:15:44Z".into(),
        valid_until: None,
        accepted_expired: false,
        signers: vec!["41587F7DB8C774BCCF131416762F67A0B2C39DE4".into()],
    };
    let packages = [("linux-image-cloud-amd64", &["linux-image-6"][..]), ("linux-image-6", &[])];
    let packages = packages.into_iter().chain([("b", &["c"][..]), ("c", &["b"]), ("a", &["x"])]);
    Lock {
        releases: vec![release],
        packages: packages.map(|(name, needs)| package(name, needs)).collect(),
        ..Lock::new(recipe().digest())
    }
}

#[test]
fn the_text_is_sorted_one_entry_a_block_and_reads_back() {
    let mut lock = lock();
    lock.packages.truncate(2);
    lock.packages[0].why = vec!["kernel".into()];
    let text = lock.write().expect("written");
    insta::assert_snapshot!(text);
    lock.sort();
    assert_eq!(Lock::parse(&text), Ok(lock));
}

#[test]
fn the_order_of_entries_does_not_change_the_text() {
    let (lock, mut other) = (lock(), lock());
    other.packages.reverse();
    other.packages.push(other.packages[0].clone());
    assert_eq!(lock.write(), other.write());
}

#[test]
fn what_is_no_lock_of_ours_is_refused() {
    let text = lock().write().expect("written");
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Lock::parse(&text.replacen(from, to, 1)).expect_err(to).to_string()
    };
    assert_eq!(
        refused("version = 1", "version = 2\nnew-field = 1"),
        "the lock has version 2, this guestsmith knows 1; use a later one"
    );
    assert_eq!(
        refused("cpio = 1", "cpio = 7"),
        "the lock asks for version 7 of the cpio writer, this guestsmith has 1 to 1"
    );
    assert!(refused("cpio = 1", "erofs = 1").ends_with("erofs writer, this guestsmith has none"));
    for path in ["../a.deb", "/etc/a.deb", "http://a/b.deb", "a//b", "a\\\\b"] {
        let error = refused("pool/main/c_1.0-1_amd64.deb", path);
        assert!(error.ends_with("is no path below a mirror"), "{error}");
    }
    assert!(refused("sha256:", "md5:").contains("has no `sha256:`"));
    assert!(refused("size = 4", "size = -4").contains("line"));
    assert!(refused("suite =", "siute =").contains("unknown field `siute`"));
}

#[test]
fn what_a_recipe_asks_for() {
    let names: Vec<_> = wants(&recipe()).into_iter().map(|w| (w.name, w.depth, w.why)).collect();
    let expected = [
        ("a", Depth::Alone, "initrd.packages"),
        ("b", Depth::All, "initrd.packages"),
        ("linux-image-cloud-amd64", Depth::Own, "kernel"),
    ];
    assert_eq!(names, expected.map(|(name, depth, why)| (name.into(), depth, why.into())));
}

#[test]
fn a_lock_satisfies_its_recipe_and_no_other() {
    let (recipe, lock) = (recipe(), lock());
    let wants = wants(&recipe);
    assert_eq!(lock.satisfies(&recipe, &wants), Ok(()));
    let mut other = recipe.clone();
    other.cmdline.push("panic=-1".into());
    assert_eq!(
        lock.satisfies(&other, &wants).expect_err("changed").to_string(),
        "the lock does not belong to this recipe: the recipe has changed since; \
         run `guestsmith lock`"
    );
    for missing in ["a", "b", "c", "linux-image-6"] {
        let mut lock = lock.clone();
        lock.packages.retain(|package| package.name != missing);
        assert!(matches!(lock.satisfies(&recipe, &wants), Err(Error::Stale { .. })), "{missing}");
    }
}

#[test]
fn a_closure_holds_each_package_once_however_they_depend() {
    let lock = lock();
    let names = |name| -> Vec<_> {
        lock.closure("trixie", "amd64", name).into_iter().map(|p| p.name.as_str()).collect()
    };
    assert_eq!(names("b"), ["b", "c"]);
    assert_eq!(names("linux-image-cloud-amd64"), ["linux-image-6", "linux-image-cloud-amd64"]);
    assert!(names("none").is_empty());
}

#[test]
fn a_diff_tells_what_came_went_and_changed() {
    let (old, mut new) = (lock(), lock());
    new.packages.retain(|package| package.name != "a");
    new.packages.push(package("d", &[]));
    for package in &mut new.packages {
        match package.name.as_str() {
            "b" => (package.version, package.sha256) = ("1.1-1".into(), Sha256::of(b"b2")),
            "c" => package.sha256 = Sha256::of(b"c2"),
            _ => {}
        }
    }
    let told: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "+ package d (trixie, amd64) 1.0-1",
            "- package a (trixie, amd64) 1.0-1",
            "~ package b (trixie, amd64) 1.0-1 → 1.1-1",
            "~ package c (trixie, amd64) 1.0-1: other contents under the same version",
        ]
    );
    assert!(diff(&old, &old).is_empty());
}
