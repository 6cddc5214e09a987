//! Tests of the store.

use super::*;
use std::sync::{Arc, Mutex};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("store")).expect("a store");
    (dir, store)
}

fn expected(bytes: &[u8]) -> Expected {
    Expected { sha256: Sha256::of(bytes), size: to_u64(bytes.len()) }
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("removable");
    fs::write(path, bytes).expect("writable");
}

#[test]
fn what_was_put_is_there_and_verified() {
    let (_dir, store) = store();
    let digest = store.put(b"abc").expect("put");
    assert_eq!(digest, Sha256::of(b"abc"));
    assert!(store.contains(&digest) && store.holds(&expected(b"abc")));
    assert_eq!(store.get(&digest).expect("get"), Some(b"abc".to_vec()));
    let path = store.path(&digest).expect("path").expect("present");
    assert_eq!(fs::read(&path).expect("readable"), b"abc");
    assert!(fs::metadata(path).expect("metadata").permissions().readonly());
    assert_eq!(store.get(&Sha256::of(b"other")).expect("get"), None);
    let missing = store.need(&Sha256::of(b"other")).expect_err("missing").to_string();
    assert!(missing.contains("has no entry d9298a10d1b0735837dc4bd85dac641b0f3cef27"), "{missing}");
}

#[test]
fn a_stream_gets_the_digest_it_has() {
    let (_dir, store) = store();
    let found = store.put_stream(&mut &b"abc"[..]).expect("put");
    assert_eq!(found, expected(b"abc"));
    assert_eq!(store.need(&found.sha256).expect("present"), b"abc");
    assert!(entries::sorted(&store.root.join(TEMPORARY)).expect("readable").is_empty());
}

#[test]
fn a_corrupted_entry_is_reported_moved_aside_and_never_used() {
    let (_dir, store) = store();
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let store = store.warning(move |text| teller.lock().expect("lock").push(text.to_string()));
    for read in [
        |store: &Store, digest: &Sha256| store.get(digest).expect("get").is_some(),
        |store: &Store, digest: &Sha256| store.path(digest).expect("path").is_some(),
    ] {
        let digest = store.put(b"abc").expect("put");
        overwrite(&store.blob(&digest), b"abd");
        assert!(!store.contains(&digest), "the stamp is gone");
        assert!(!read(&store, &digest));
        assert_eq!(fs::read(store.root.join(BAD).join(digest.to_string())).expect("aside"), b"abd");
        assert!(told.lock().expect("lock").pop().expect("told").contains("is corrupted"));
        assert_eq!(store.put(b"abc").expect("put again"), digest);
        assert_eq!(store.need(&digest).expect("good again"), b"abc");
    }
}

#[test]
fn a_corrupted_entry_with_its_stamp_is_found_when_used() {
    let (_dir, store) = store();
    let digest = store.put(b"abc").expect("put");
    overwrite(&store.blob(&digest), b"abd");
    let file = File::options().append(true).open(store.blob(&digest)).expect("open");
    file.set_modified(SystemTime::UNIX_EPOCH + VERIFIED).expect("time");
    assert!(store.contains(&digest));
    assert_eq!(store.get(&digest).expect("get"), None);
}

#[test]
fn a_writer_goes_on_where_the_last_one_ended() {
    let (_dir, store) = store();
    let mut first = store.writer(expected(b"abcdef")).expect("writer").expect("missing");
    first.write(b"abc").expect("written");
    drop(first);
    let mut second = store.writer(expected(b"abcdef")).expect("writer").expect("missing");
    assert_eq!(second.offset(), 3);
    second.write(b"def").expect("written");
    second.finish().expect("verified");
    assert_eq!(store.need(&Sha256::of(b"abcdef")).expect("present"), b"abcdef");
    assert!(store.writer(expected(b"abcdef")).expect("writer").is_none());
}

#[test]
fn a_writer_admits_nothing_but_the_expected_bytes() {
    let (_dir, store) = store();
    let refused = |bytes: &[u8]| {
        let mut writer = store.writer(expected(b"abc")).expect("writer").expect("missing");
        writer.restart().expect("restarted");
        let error = writer.write(bytes).and_then(|()| writer.finish()).expect_err("refused");
        assert!(!store.contains(&Sha256::of(b"abc")));
        error.to_string()
    };
    assert_eq!(refused(b"abcd"), "it is longer than the 3 bytes expected");
    assert_eq!(refused(b"ab"), "it ends after 2 of 3 bytes");
    assert!(refused(b"abd").starts_with("its SHA-256 is a52d159f262b2c6ddb724a61840befc3"));
    let writer = store.writer(expected(b"abc")).expect("writer").expect("missing");
    assert_eq!(writer.offset(), 0, "what did not verify is thrown away");
}

#[test]
fn writers_of_the_same_entry_take_turns() {
    let (_dir, store) = store();
    let content = vec![7; 1 << 20];
    let wrote: Vec<bool> = std::thread::scope(|scope| {
        let write = || {
            let Some(mut writer) = store.writer(expected(&content)).expect("writer") else {
                return false;
            };
            content.chunks(4096).for_each(|chunk| writer.write(chunk).expect("written"));
            writer.finish().expect("verified");
            true
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
        threads.into_iter().map(|thread| thread.join().expect("joined")).collect()
    });
    assert_eq!(wrote.iter().filter(|wrote| **wrote).count(), 1);
    assert_eq!(store.need(&Sha256::of(&content)).expect("present"), content);
}

#[test]
fn a_result_is_kept_by_its_key_and_a_damaged_one_is_none() {
    let (_dir, store) = store();
    let key = Sha256::of(b"step");
    assert_eq!(store.result(&key).expect("readable"), None);
    store.put_result(&key, b"{}").expect("kept");
    store.put_result(&key, b"{\"a\":1}").expect("replaced");
    assert_eq!(store.result(&key).expect("readable"), Some(b"{\"a\":1}".to_vec()));
    fs::write(store.place(RESULTS, &key), b"{\"a\":2}").expect("damaged");
    assert_eq!(store.result(&key).expect("readable"), None);
}

#[test]
fn a_store_that_cannot_be_made_says_which_option_names_another() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "").expect("a file");
    let error = Store::open(&dir.path().join("file/store")).err().expect("refused").to_string();
    assert!(error.starts_with("cannot make the store /") && error.ends_with("with --store"));
}

#[test]
fn a_copied_entry_is_verified_once_and_used() {
    let (_dir, store) = store();
    let digest = store.put(b"abc").expect("put");
    overwrite(&store.blob(&digest), b"abc");
    assert!(!store.holds(&expected(b"abc")), "the copy has another time");
    assert!(store.writer(expected(b"abc")).expect("writer").is_none(), "it is sound");
    assert!(store.holds(&expected(b"abc")), "and has its stamp again");
}
