//! Tests of `unpack`.

use super::*;
use crate::format::ar::tests::archive as ar;
use crate::format::tar::tests::Builder;

/// A package with this control file and these contents.
pub(crate) fn deb(control: &str, data: Builder) -> Vec<u8> {
    let control = Builder::new().file("./control", control.as_bytes()).end();
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data.end())])
}

/// Packages that are their own place.
fn packages(packages: &[(&str, Vec<u8>)]) -> Vec<Package<Vec<u8>>> {
    let package = |(name, bytes): &(&str, Vec<u8>)| Package {
        name: name.to_string(),
        only: Vec::new(),
        place: bytes.clone(),
    };
    packages.iter().map(package).collect()
}

fn tree(given: &[(&str, Vec<u8>)]) -> Result<Tree> {
    unpack(&packages(given), |bytes| Ok(bytes.clone()))
}

fn of(data: Builder) -> Result<Tree> {
    tree(&[("p", deb("Package: p\n", data))])
}

fn listing(tree: &Tree) -> Vec<String> {
    let show = |(path, inode): (&str, &Arc<Inode>)| match &inode.kind {
        Kind::Symlink(target) => format!("{path} -> {target}"),
        Kind::File(contents) => format!("{path} = {}", contents.escape_ascii()),
        _ => path.to_string(),
    };
    tree.iter().map(show).collect()
}

#[test]
fn hostile_members_are_refused_by_package_and_name() {
    let file = |path| Builder::new().file(path, b"x");
    let cases = [
        (file("/etc/passwd"), "package p, member `/etc/passwd`: `/etc/passwd` is absolute"),
        (file("./../x"), "package p, member `./../x`: `./../x` has a `..`"),
        (file("./a/../../x"), "might lie outside of the root"),
        (
            Builder::new().entry(b'2', "./l", "../../etc", b""),
            "member `./l`: /l is a symbolic link to `../../etc`, out of the root",
        ),
        (Builder::new().entry(b'1', "./l", "../etc/shadow", b""), "has a `..`"),
        (Builder::new().entry(b'1', "./l", "/etc/shadow", b""), "is absolute"),
        (
            Builder::new().entry(b'1', "./l", "./none", b""),
            "/l is a hard link to /none, which is no file of this tree",
        ),
        (
            Builder::new().entry(b'2', "./d", "/etc", b"").file("./d/passwd", b"x"),
            "/d/passwd lies below /d, which is a symbolic link (from p)",
        ),
        (file("./d").file("./d/x", b""), "lies below /d, which is a file"),
        (file("./f").file("./f", b"y"), "/f comes from p and, with other contents, from p"),
        (
            file("./f").entry(b'2', "./f", "g", b""),
            "/f comes from p and, a symbolic link, not a file",
        ),
        (file("./f").entry(b'5', "./f", "", b""), "a directory, not a file"),
        (Builder::new().entry(b'S', "./s", "", b""), "a sparse file"),
    ];
    for (data, expected) in cases {
        let error = format!("{:#}", of(data).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
    let cut = deb("Package: p\n", file("./f"));
    let error = format!("{:#}", tree(&[("p", cut[..cut.len() - 600].to_vec())]).unwrap_err());
    assert!(error.starts_with("package p: contents of ar member at byte offset"), "{error}");
    let error = format!("{:#}", tree(&[("p", b"<html>404</html>".to_vec())]).unwrap_err());
    assert_eq!(
        error,
        "package p: ar magic at byte offset 0x0: expected !<arch>\\n, found <html>40"
    );
}

#[test]
fn hard_links_may_come_before_their_file() {
    let data = Builder::new().entry(b'1', "./a", "./b", b"").file("./b", b"x");
    assert_eq!(listing(&of(data).unwrap()), ["a = x", "b = x"]);
}

#[test]
fn old_names_land_in_merged_usr() {
    let base =
        Builder::new().entry(b'2', "./lib", "usr/lib", b"").entry(b'5', "./usr/lib", "", b"");
    let old = Builder::new()
        .entry(b'5', "./lib", "", b"")
        .file("./lib/x.so", b"1")
        .entry(b'1', "./lib/y.so", "./lib/x.so", b"")
        .file("./bin/sh", b"2");
    let given = [("old", deb("Package: old\n", old)), ("base", deb("Package: base\n", base))];
    let expected = [
        "bin -> usr/bin",
        "lib -> usr/lib",
        "usr",
        "usr/bin",
        "usr/bin/sh = 2",
        "usr/lib",
        "usr/lib/x.so = 1",
        "usr/lib/y.so = 1",
    ];
    assert_eq!(listing(&tree(&given).unwrap()), expected);
}

#[test]
fn packages_that_disagree_must_say_who_replaces_whom() {
    let file = |text: &str| Builder::new().file("./f", text.as_bytes());
    let plain = |name: &str| deb(&format!("Package: {name}\n"), file(name));
    let error = tree(&[("a", plain("a")), ("b", plain("b"))]).unwrap_err();
    let expected = "package b, member `f`: /f comes from a and, with other contents, from b";
    assert_eq!(format!("{error:#}"), expected);
    for winner in ["a", "b"] {
        let loser = if winner == "a" { "b" } else { "a" };
        let control = format!("Package: {winner}\nReplaces: x, {loser} (<< 2)\n");
        let given = [(winner, deb(&control, file(winner))), (loser, plain(loser))];
        assert_eq!(listing(&tree(&given).unwrap()), [format!("f = {winner}")]);
    }
}

#[test]
fn the_order_of_packages_does_not_show() {
    let one = deb("Package: one\n", Builder::new().file("./d/1", b"1"));
    let two = deb("Package: two\n", Builder::new().file("./d/2", b"2").entry(b'5', "./d", "", b""));
    let forth = tree(&[("one", one.clone()), ("two", two.clone())]).unwrap();
    let back = tree(&[("two", two), ("one", one)]).unwrap();
    assert_eq!(listing(&forth), listing(&back));
}

#[test]
fn only_takes_files_and_no_more() {
    let data = Builder::new()
        .entry(b'5', "./usr", "", b"")
        .file("./usr/bin/a", b"1")
        .file("./usr/bin/b", &[0; 4096]);
    let mut given = packages(&[("p", deb("Package: p\n", data))]);
    given[0].only = vec!["/usr/bin/a".into()];
    let tree = unpack(&given, |bytes| Ok(bytes.clone())).unwrap();
    assert_eq!(listing(&tree), ["usr", "usr/bin", "usr/bin/a = 1"]);
    given[0].only.push("/usr/sbin/*".into());
    let error = unpack(&given, |bytes| Ok(bytes.clone())).unwrap_err();
    assert_eq!(error.to_string(), "`/usr/sbin/*` of the package p matches no file in it");
}

#[test]
fn a_package_that_cannot_be_read_is_named() {
    let given = packages(&[("p", Vec::new())]);
    let error = unpack(&given, |_| bail!("gone")).unwrap_err();
    assert_eq!(format!("{error:#}"), "package p: gone");
}
