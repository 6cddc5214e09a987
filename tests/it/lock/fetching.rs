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
