//! Releases and indexes that must not be believed.

use super::super::keys::Key;
use super::*;

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
