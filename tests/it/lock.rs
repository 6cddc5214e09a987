//! `guestsmith lock` against an archive of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use super::command::guestsmith;
use super::keys::Key;
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
fn a_release_signed_by_a_stranger_or_altered_is_refused() {
    let mut setting = setting();
    let path = setting.mirror.path().join("dists/own/InRelease");
    let sound = fs::read_to_string(&path).expect("a release");
    fs::write(&path, sound.replace("Suite: stable", "Suite: stabel")).expect("written");
    assert!(setting.refused(&["app"], &[]).contains("a signature on it is wrong"));
    fs::write(&path, &sound[..sound.len() / 2]).expect("written");
    assert!(setting.refused(&["app"], &[]).contains("no OpenPGP cleartext signed message"));
    fs::write(&path, &sound).expect("written");
    setting.mirror.key = Key::new(now() - 86_400, None);
    assert!(setting.refused(&["app"], &[]).contains("is not in the keyring"));
    let keyring = setting.mirror.keyring();
    let mut command = setting.command(&setting.mirror.path().to_string_lossy(), &[]);
    // The fixture rewrites the keyring when it makes the command: spoil it after.
    fs::write(&keyring, "no keys").expect("written");
    let ran: Ran = command.output().expect("runs").into();
    assert!(ran.err.contains("no OpenPGP public keys"), "{}", ran.err);
}

#[test]
fn an_expired_release_needs_to_be_accepted_and_the_lock_says_so() {
    let setting = setting();
    let expired = Release { valid_until: Some(now() - 60), ..Release::default() };
    setting.mirror.release(&expired);
    let error = setting.refused(&["app"], &[]);
    assert!(error.contains("it expired at ") && error.contains("--accept-expired"), "{error}");
    let ran = setting.lock(&["app"], &["--accept-expired"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(setting.locked().contains("accepted-expired = true"));
    // It is part of the lock now: a change of the recipe does not ask again.
    assert_eq!(setting.lock(&["app", "base"], &[]).code, Some(0));
    setting.mirror.release(&Release { valid_until: Some(now() + 3600), ..Release::default() });
    assert_eq!(setting.lock(&["app"], &["--update"]).code, Some(0));
    assert!(!setting.locked().contains("accepted-expired"));
}

#[test]
fn a_release_of_the_future_or_of_another_suite_is_refused() {
    let setting = setting();
    setting.mirror.release(&Release { date: now() + 86_400, ..Release::default() });
    let error = setting.refused(&["app"], &[]);
    assert!(error.contains("is the clock of this machine"), "{error}");
    setting.mirror.release(&Release { suite: "unstable", codename: "other", ..Release::default() });
    let dists = setting.mirror.path().join("dists");
    fs::copy(dists.join("other/InRelease"), dists.join("own/InRelease")).expect("copied");
    let error = setting.refused(&["app"], &[]);
    assert!(error.contains("it is the release of unstable, other, not of `own`"), "{error}");
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

#[test]
fn an_index_that_is_altered_hostile_or_garbage_is_refused() {
    let setting = setting();
    let index = setting.mirror.path().join("dists/own/main/binary-amd64/Packages");
    let sound = fs::read(&index).expect("an index");
    fs::write(&index, [&sound[..], b"\n"].concat()).expect("written");
    assert!(setting.refused(&["app"], &[]).contains("it is longer than the"));
    fs::write(&index, &sound[1..]).expect("written");
    assert!(setting.refused(&["app"], &[]).contains("it ends after"));
    fs::write(&index, [b"p", &sound[1..]].concat()).expect("written");
    assert!(setting.refused(&["app"], &[]).contains("its SHA-256 is "));
    let hostile = |index: &[u8]| {
        setting.mirror.release_of(index, &Release::default());
        setting.refused(&["app"], &[])
    };
    assert!(hostile(&[0xff; 4096]).contains("it is no UTF-8 text: byte 0"));
    assert!(
        hostile(b"Package: app\nVersion: 1\n")
            .contains("the entry at line 1 has no field `Filename`")
    );
    assert!(hostile(&[b'a'; 1 << 20]).contains("line 1: expected `Field: value`"));
    let text = String::from_utf8(sound).expect("text");
    assert!(
        hostile(text.replace("pool/main/app", "../../app").as_bytes())
            .contains("leads out of the archive")
    );
    assert!(
        hostile(text.replace("(>= 2)", "(>= 2").as_bytes()).contains("is no relation to a package")
    );
    let deep: String = (0..2000)
        .map(|n| {
            let name = if n == 0 { "app".into() } else { format!("p{n}") };
            let digest = "00".repeat(32);
            format!(
                "Package: {name}\nVersion: 1\nArchitecture: all\nDepends: p{}\nFilename: a\nSize: 1\nSHA256: {digest}\n\n",
                n + 1
            )
        })
        .collect();
    assert!(hostile(deep.as_bytes()).contains("500 levels deep"));
}

#[test]
fn killed_in_the_middle_of_a_fetch_the_next_run_equals_a_clean_one() {
    let setting = setting();
    let filler = format!("\n{}", "# filler\n".repeat(60_000));
    let index = setting.mirror.index() + &filler;
    setting.mirror.release_of(index.as_bytes(), &Release::default());
    recipe(setting.dir.path(), &["app"]);
    let slow = Server::new(setting.mirror.path(), Fault::Slow(20_000, Duration::from_millis(50)));
    let mut killed =
        setting.command(slow.address(), &[]).stderr(Stdio::null()).spawn().expect("runs");
    let partial = setting.path("store/partial");
    let begun = |dir: &Path| {
        let length = |entry: std::path::PathBuf| fs::metadata(entry).map_or(0, |found| found.len());
        guestsmith::store::entries::sorted(dir).unwrap_or_default().into_iter().map(length).max()
    };
    while begun(&partial).unwrap_or(0) < 100_000 {
        assert!(killed.try_wait().expect("waits").is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    assert!(!setting.path("guest.lock").exists());
    let sound = Server::new(setting.mirror.path(), Fault::None);
    let ran: Ran = setting.command(sound.address(), &[]).output().expect("runs").into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let resumed = sound.requests().into_iter().find(|request| request.contains("Packages"));
    assert!(!resumed.expect("a request").ends_with(" -"), "it went on where the killed one ended");
    let lock = setting.locked();
    for left in ["guest.lock", "store"] {
        let path = setting.path(left);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).expect("removed");
    }
    assert_eq!(setting.lock(&["app"], &[]).code, Some(0));
    assert_eq!(setting.locked(), lock);
}

#[test]
fn two_processes_share_a_store() {
    let setting = setting();
    recipe(setting.dir.path(), &["app"]);
    let server = Server::new(setting.mirror.path(), Fault::Slow(100, Duration::from_millis(30)));
    let spawn = || {
        let mut command = setting.command(server.address(), &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
    };
    let both = [spawn(), spawn()];
    for child in both {
        let ran: Ran = child.wait_with_output().expect("ends").into();
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    let requests = server.requests();
    let of_index = requests.iter().filter(|request| request.contains("Packages"));
    assert_eq!(of_index.count(), 1, "one waits for the other: {requests:?}");
    assert_eq!(setting.lock(&["app"], &["--check"]).code, Some(0));
}

/// Runs the command with `mount` having changed the store's directory, in a mount namespace of its
/// own: what a full disk or a read-only one is cannot be had otherwise.
#[expect(clippy::disallowed_methods, reason = "the tests arrange the world that the command meets")]
fn with_mount(setting: &Setting, mount: &str) -> Ran {
    let store = setting.path("store");
    fs::create_dir_all(&store).expect("made");
    let command = setting.command(&setting.mirror.path().to_string_lossy(), &[]);
    let script = format!("{mount} && exec \"$@\"");
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    unshare.env("STORE", &store).arg(command.get_program()).args(command.get_args());
    unshare.output().expect("unshare, of util-linux").into()
}

#[test]
fn a_full_disk_is_named() {
    let setting = setting();
    let filler = "# filler\n".repeat(60_000);
    let index = setting.mirror.index() + "\n" + &filler;
    setting.mirror.release_of(index.as_bytes(), &Release::default());
    recipe(setting.dir.path(), &["app"]);
    let ran = with_mount(&setting, "mount -t tmpfs -o size=128k tmpfs \"$STORE\"");
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(
        ran.err.contains("No space left on device") && ran.err.contains("cannot write"),
        "{}",
        ran.err
    );
    assert!(!setting.path("guest.lock").exists());
}

#[test]
fn a_store_that_may_only_be_read_is_named_and_enough_where_all_is_there() {
    let setting = setting();
    recipe(setting.dir.path(), &["app"]);
    guestsmith::store::Store::open(&setting.path("store")).expect("a store");
    let read_only = "mount --bind \"$STORE\" \"$STORE\" && mount -o remount,bind,ro \"$STORE\"";
    let ran = with_mount(&setting, read_only);
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("may only be read; name another with --store"), "{}", ran.err);
    assert_eq!(setting.lock(&["app"], &[]).code, Some(0));
    let lock = setting.locked();
    fs::remove_file(setting.path("guest.lock")).expect("removed");
    let ran = with_mount(&setting, read_only);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(setting.locked(), lock);
}

mod fetching {
    //! From a lock to the store.

    use guestsmith::lock::Lock;
    use guestsmith::recipe::{self, Recipe};
    use guestsmith::source::mirrors::Mirrors;
    use guestsmith::source::{World, fetch, items};
    use guestsmith::store::Store;
    use guestsmith::store::http::Client;

    use super::*;

    fn locked() -> (Setting, Recipe, Lock) {
        let setting = setting();
        assert_eq!(setting.lock(&["app"], &[]).code, Some(0));
        let lock = Lock::parse(&setting.locked()).expect("a lock");
        let bytes = fs::read(setting.path("guest.yaml")).expect("a recipe");
        let none = |_: &str| Err("it extends nothing".to_string());
        let recipe = recipe::parse("guest.yaml", &bytes, &none).expect("sound").recipe;
        (setting, recipe, lock)
    }

    /// Fetches all into an empty store; what is wrong otherwise, and the bytes that came.
    fn fetch_from(
        mirrors: &Mirrors,
        (setting, recipe, lock): &(Setting, Recipe, Lock),
    ) -> Result<u64, String> {
        let dir = setting.path("fetched");
        let _ = fs::remove_dir_all(&dir); // the first time there is none
        let store = Store::open(&dir).expect("a store");
        let client = Client::new(false);
        let world = World { store: &store, client: &client, mirrors, warn: &|_| {} };
        let items = items(&world, recipe, lock).expect("items");
        assert_eq!(fetch::missing(&store, &items).len(), 3);
        let heard = std::sync::atomic::AtomicU64::new(0);
        let hear = |there| {
            heard.fetch_max(there, std::sync::atomic::Ordering::Relaxed);
        };
        fetch::fetch(&store, &client, &items, &hear).map_err(|error| format!("{error:#}"))?;
        assert!(fetch::missing(&store, &items).is_empty());
        Ok(heard.into_inner())
    }

    fn mirrors(places: &[&Path]) -> Mirrors {
        let places: Vec<_> = places.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        Mirrors::new(&places, &[]).expect("paths")
    }

    #[test]
    fn everything_locked_is_fetched_with_progress() {
        let locked = locked();
        let total: u64 = locked.2.packages.iter().map(|package| package.size).sum();
        assert_eq!(fetch_from(&mirrors(&[&locked.0.mirror.path()]), &locked), Ok(total));
    }

    #[test]
    fn a_package_that_is_not_the_locked_one_is_refused_and_named() {
        let locked = locked();
        let mirror = locked.0.mirror.path();
        let path = mirror.join("pool/main/lib_2.0-1.deb");
        let sound = fs::read(&path).expect("a package");
        let refused = |contents: Option<&[u8]>| {
            match contents {
                Some(contents) => fs::write(&path, contents).expect("written"),
                None => fs::remove_file(&path).expect("removed"),
            }
            let error = fetch_from(&mirrors(&[&mirror]), &locked).expect_err("refused");
            assert!(error.contains("cannot fetch lib 2.0-1"), "{error}");
            error
        };
        let altered = [b"P", &sound[1..]].concat();
        assert!(refused(Some(&altered)).contains("its SHA-256 is "));
        assert!(refused(Some(&sound[..5])).contains("it ends after 5 of "));
        assert!(refused(Some(&[&sound[..], b"!"].concat())).contains("it is longer than"));
        assert!(refused(None).contains("there is no such file"));
        // The next mirror, or the archive of old releases, has it.
        let second = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(second.path().join("pool/main")).expect("made");
        fs::write(second.path().join("pool/main/lib_2.0-1.deb"), &sound).expect("written");
        fetch_from(&mirrors(&[&mirror, second.path()]), &locked).expect("the second has it");
        let date: String = locked.2.releases[0].date.replace(['-', ':'], "");
        let archive = second.path().join("old/debian").join(date);
        fs::create_dir_all(archive.join("pool/main")).expect("made");
        fs::write(archive.join("pool/main/lib_2.0-1.deb"), &sound).expect("written");
        let template = second.path().join("old/{archive}/{date}").to_string_lossy().into_owned();
        let first = mirror.to_string_lossy().into_owned();
        let mirrors = Mirrors::new(&[first], &[template]).expect("paths");
        fetch_from(&mirrors, &locked).expect("the archive has it");
    }
}
