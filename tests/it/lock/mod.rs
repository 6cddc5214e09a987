//! `guestsmith lock` against an archive of our own.

mod fetching;
mod interrupted;
mod trust;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use super::command::guestsmith;
use super::mirror::{Mirror, Release, now, recipe};
use super::server::{Fault, Server};

struct Setting {
    dir: tempfile::TempDir,
    mirror: Mirror,
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// An archive of three packages, two of which depend on the next.
fn setting() -> Setting {
    let mut mirror = Mirror::new();
    mirror
        .package("app", "1.0-1", "Depends: lib (>= 2), virtual | other")
        .package("lib", "2.0-1", "Pre-Depends: base")
        .package("base", "3.0-1", "Provides: virtual");
    mirror.release(&Release::default());
    Setting { dir: tempfile::tempdir().expect("a directory"), mirror }
}

impl Setting {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, mirror: &str, more: &[&str]) -> std::process::Command {
        let (store, keyring) = (self.path("store"), self.mirror.keyring());
        let (store, keyring) = (store.to_string_lossy(), keyring.to_string_lossy());
        let recipe = self.path("guest.yaml");
        let recipe = recipe.to_string_lossy();
        let fixed = ["lock", "--store", &store, "--mirror", mirror, "--keyring", &keyring, &recipe];
        guestsmith(&[&fixed[..], more].concat())
    }

    fn lock(&self, packages: &[&str], more: &[&str]) -> Ran {
        recipe(self.dir.path(), packages);
        self.command(&self.mirror.path().to_string_lossy(), more).output().expect("runs").into()
    }

    fn refused(&self, packages: &[&str], more: &[&str]) -> String {
        let before = fs::read(self.path("guest.lock")).ok();
        let ran = self.lock(packages, more);
        assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
        assert_eq!(fs::read(self.path("guest.lock")).ok(), before, "a failure writes no lock");
        ran.err
    }

    fn locked(&self) -> String {
        fs::read_to_string(self.path("guest.lock")).expect("a lock")
    }
}

#[test]
fn packages_are_locked_with_what_they_depend_on() {
    let setting = setting();
    let ran = setting.lock(&["app"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let names: Vec<_> = ran.out.lines().filter(|line| line.starts_with('+')).collect();
    assert_eq!(
        names,
        [
            "+ package app (own, amd64) 1.0-1",
            "+ package base (own, amd64) 3.0-1",
            "+ package lib (own, amd64) 2.0-1"
        ]
    );
    let lock = setting.locked();
    for line in [
        "needs = [\"base\", \"lib\"]",
        "why = [\"initrd.packages\"]",
        "path = \"pool/main/app_1.0-1.deb\"",
        "path = \"dists/own/InRelease\"",
        "path = \"dists/own/main/binary-amd64/Packages\"",
        &format!("signers = [\"{}\"]", setting.mirror.key.fingerprint()),
    ] {
        assert!(lock.contains(line), "{line}\n{lock}");
    }
    let mirror = setting.mirror.path();
    assert!(!lock.contains(&*mirror.to_string_lossy()), "a lock names no mirror");
    assert_eq!(setting.lock(&["app"], &["--check"]).code, Some(0));
}

#[test]
fn what_is_locked_stays_until_an_update() {
    let mut setting = setting();
    setting.lock(&["app"], &[]);
    let first = setting.locked();
    setting.mirror.package("lib", "2.1-1", "Pre-Depends: base");
    setting.mirror.release(&Release { date: now() - 60, ..Release::default() });
    // Another package: resolved in the locked release, so what was locked does not move.
    let ran = setting.lock(&["app", "base"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(setting.locked().contains("2.0-1") && !setting.locked().contains("2.1-1"));
    assert_eq!(setting.lock(&["app"], &[]).code, Some(0));
    assert_eq!(setting.locked(), first);
    let ran = setting.lock(&["app"], &["--update", "--check"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.out.contains("~ package lib (own, amd64) 2.0-1 → 2.1-1"), "{}", ran.out);
    assert_eq!(setting.locked(), first, "--check writes nothing");
    assert_eq!(setting.lock(&["app"], &["--update=own"]).code, Some(0));
    assert!(setting.locked().contains("2.1-1"));
    assert!(
        setting
            .refused(&["app"], &["--update=none"])
            .contains("the recipe has no source, its lock no package `none`")
    );
}

#[test]
fn one_package_is_updated_alone_and_stays_so() {
    let mut setting = setting();
    setting.lock(&["app", "base"], &[]);
    setting.mirror.package("lib", "2.1-1", "Pre-Depends: base");
    setting.mirror.package("app", "1.1-1", "Depends: lib, base");
    setting.mirror.package("base", "3.1-1", "Provides: virtual");
    setting.mirror.release(&Release { date: now() - 60, ..Release::default() });
    let ran = setting.lock(&["app", "base"], &["--update=base"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let changes: Vec<_> = ran.out.lines().filter(|line| line.contains("package ")).collect();
    assert_eq!(changes, ["~ package base (own, amd64) 3.0-1 → 3.1-1"], "{}", ran.out);
    // Another wish is met from the releases that are locked: nothing else moves.
    let ran = setting.lock(&["app", "base", "lib"], &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for version in ["version = \"1.0-1\"", "version = \"2.0-1\"", "version = \"3.1-1\""] {
        assert!(setting.locked().contains(version), "{version}\n{}", setting.locked());
    }
    assert_eq!(setting.locked().matches("[[release]]").count(), 2);
}

#[test]
fn an_older_release_than_the_locked_one_is_warned_of() {
    let setting = setting();
    setting.lock(&["app"], &[]);
    setting.mirror.release(&Release { date: now() - 7200, ..Release::default() });
    let ran = setting.lock(&["app"], &["--update"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("warning: the mirror's release of `own` is of "), "{}", ran.err);
    assert!(ran.err.contains("older than the locked one"), "{}", ran.err);
}

#[test]
fn without_a_mirror_the_error_names_the_option() {
    let setting = setting();
    let path = recipe(setting.dir.path(), &["app"]);
    let config = setting.path("config/guestsmith");
    fs::create_dir_all(&config).expect("made");
    fs::write(config.join("config.toml"), "apt = false\n").expect("written");
    let (store, path) = (setting.path("store"), path.to_string_lossy().into_owned());
    let mut command = guestsmith(&["lock", "--store", &store.to_string_lossy(), &path]);
    let ran: Ran =
        command.env("XDG_CONFIG_HOME", setting.path("config")).output().expect("runs").into();
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("no mirror of Debian is known") && ran.err.contains("--mirror URL"),
        "{}",
        ran.err
    );
    // The configuration file names one, and the keys to trust.
    let (mirror, keyring) = (setting.mirror.path(), setting.mirror.keyring());
    let text = format!("mirrors = [{mirror:?}]\nkeyring = {keyring:?}\n");
    fs::write(config.join("config.toml"), text).expect("written");
    let ran: Ran = command.output().expect("runs").into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    // A build that has nothing yet and no mirror says the same.
    fs::write(config.join("config.toml"), "apt = false\narchives = []\n").expect("written");
    let empty = setting.path("empty").to_string_lossy().into_owned();
    let mut build = guestsmith(&["build", "--store", &empty, &path]);
    let build = build.env("XDG_CONFIG_HOME", setting.path("config")).output().expect("runs");
    let built = Ran::from(build);
    assert!(built.code == Some(2) && built.err.contains("--mirror URL"), "{}", built.err);
    fs::write(config.join("config.toml"), "mirors = []\n").expect("written");
    fs::remove_file(setting.path("guest.lock")).expect("removed");
    let ran: Ran = command.output().expect("runs").into();
    assert!(ran.code == Some(2) && ran.err.contains("unknown field `mirors`"), "{}", ran.err);
}

#[test]
fn a_suite_that_no_mirror_has_is_named() {
    let setting = setting();
    fs::remove_file(setting.mirror.path().join("dists/own/InRelease")).expect("removed");
    let error = setting.refused(&["app"], &[]);
    assert!(error.contains("no mirror has `own`; name one that does with --mirror"), "{error}");
    assert!(error.contains("/mirror/dists/own/InRelease"), "{error}");
}

#[test]
fn an_unsatisfiable_dependency_shows_the_whole_chain() {
    let mut setting = setting();
    setting
        .mirror
        .package("top", "1", "Depends: middle")
        .package("middle", "2", "Depends: none | lib (>= 9)")
        .package("fighter", "1", "Conflicts: virtual\nDepends: base")
        .package("asks-all", "1", "Depends: middle | lib");
    setting.mirror.release(&Release::default());
    let error = setting.refused(&["top"], &[]);
    let chain = "initrd.packages asks for top\n    top 1 depends on middle\n    \
        middle 2 depends on none | lib (>= 9)\n    there is no package none, and lib has version 2.0-1";
    assert!(error.contains(chain), "{error}");
    let error = setting.refused(&["fighter"], &[]);
    assert!(error.contains("base and fighter exclude each other"), "{error}");
    let error = setting.refused(&["libb"], &[]);
    assert!(error.contains("there is no such package; did you mean lib?"), "{error}");
    let error = setting.refused(&["virtual"], &[]);
    assert!(error.contains("virtual is only provided, by: base"), "{error}");
    // An alternative that cannot be had gives way to the next.
    let ran = setting.lock(&["asks-all"], &[]);
    assert!(ran.code == Some(0) && ran.out.contains("+ package lib "), "{}", ran.err);
}
