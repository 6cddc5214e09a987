//! Tests of `tree`.

use super::*;

fn origin(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn file(text: &str, from: &str) -> Inode {
    Inode::new(Kind::File(text.as_bytes().to_vec().into()), 0o644, &origin(from))
}

fn symlink(target: &str) -> Inode {
    Inode::new(Kind::Symlink(target.into()), 0o777, &origin("p"))
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.iter().map(|(path, _)| path).collect()
}

#[test]
fn parents_are_implied_and_take_attributes_later() {
    let mut tree = Tree::default();
    tree.insert("a/b/c", file("1", "p")).unwrap();
    assert_eq!(paths(&tree), ["a", "a/b", "a/b/c"]);
    tree.insert("a/b", Inode::new(Kind::Directory, 0o700, &origin("q"))).unwrap();
    assert_eq!(tree.get("a/b").unwrap().mode, 0o700);
    let other = Inode::new(Kind::Directory, 0o755, &origin("r"));
    let error = tree.insert("a/b", other).unwrap_err().to_string();
    let expected = "/a/b comes from q and, mode 0755, owner 0:0, not mode 0700, owner 0:0, from r";
    assert_eq!(error, expected);
}

#[test]
fn the_same_again_is_no_conflict_but_another_is() {
    let mut tree = Tree::default();
    tree.insert("f", file("1", "p")).unwrap();
    tree.insert("f", file("1", "q")).unwrap();
    let error = tree.insert("f", file("2", "q")).unwrap_err().to_string();
    assert_eq!(error, "/f comes from p and, with other contents, from q");
    let error = tree.insert("f", symlink("g")).unwrap_err().to_string();
    assert_eq!(error, "/f comes from p and, a symbolic link, not a file, from p");
    tree.replace("f", file("2", "q")).unwrap();
    assert_eq!(&tree.file("f").unwrap()[..], b"2");
}

#[test]
fn no_name_is_reached_through_a_link_or_file() {
    let mut tree = Tree::default();
    tree.insert("out", symlink("/etc")).unwrap();
    tree.insert("f", file("", "p")).unwrap();
    let error = format!("{:#}", tree.insert("out/passwd", file("x", "q")).unwrap_err());
    assert!(error.contains("from q: /out/passwd lies below /out, which is a symbolic link"));
    assert!(tree.insert("f/x", file("x", "q")).is_err());
    tree.insert("d/x", file("x", "q")).unwrap();
    assert!(tree.replace("d", symlink("f")).is_err());
}

#[test]
fn hard_links_share_one_inode_whichever_name_goes() {
    let mut tree = Tree::default();
    tree.insert("a", file("1", "p")).unwrap();
    tree.link("b", "a").unwrap();
    tree.retain(|path, _| path != "a");
    assert_eq!(&tree.file("b").unwrap()[..], b"1");
    assert!(tree.link("c", "a").is_err());
}

#[test]
fn names_that_might_lie_outside_are_refused() {
    for stored in ["/etc/passwd", "../x", "a/../../x", "./..", "a\0b"] {
        assert!(confine(stored).is_err(), "{stored:?}");
    }
    assert_eq!(confine("./usr//bin/./x/").unwrap(), "usr/bin/x");
    assert_eq!(confine("./").unwrap(), "");
    assert_eq!(absolute("/etc/hostname").unwrap(), "etc/hostname");
    assert!(["etc", "/", "/a/../b", ""].iter().all(|path| absolute(path).is_err()));
}

#[test]
fn links_that_point_out_are_refused() {
    for (path, target) in [("a", ".."), ("a/b", "../../x"), ("a", "/../x"), ("a/b", "c/../../../x")]
    {
        assert!(confine_target(path, target).is_err(), "{path} -> {target}");
    }
    for (path, target) in [("a/b", ".."), ("a/b/c", "../../x"), ("a", "/etc/x"), ("a", "b/../c")] {
        assert!(confine_target(path, target).is_ok(), "{path} -> {target}");
    }
    assert!(confine_target("a", "").is_err());
}

#[test]
fn links_are_followed_within_the_tree() {
    let mut tree = Tree::default();
    tree.insert("usr/lib/libx.so.1", file("x", "p")).unwrap();
    tree.insert("lib", symlink("usr/lib")).unwrap();
    tree.insert("usr/lib/libx.so", symlink("/lib/libx.so.1")).unwrap();
    tree.insert("loop", symlink("loop")).unwrap();
    assert_eq!(tree.resolve("lib/libx.so").unwrap(), "usr/lib/libx.so.1");
    assert_eq!(tree.resolve("lib/../etc/./x").unwrap(), "usr/etc/x");
    assert!(tree.file("loop").unwrap_err().to_string().contains("too many symbolic links"));
    assert!(tree.file("usr").unwrap_err().to_string().contains("/usr is a directory"));
}

#[test]
fn with_a_directory_goes_what_is_below() {
    let mut tree = Tree::default();
    for path in ["a/b/c", "a-b", "a/d"] {
        tree.insert(path, file("", "p")).unwrap();
    }
    tree.retain(|path, _| !["a", "a-b"].contains(&path));
    assert!(tree.is_empty(), "{:?}", paths(&tree));
}
