//! Tests of `initrd`.

use super::*;
use proptest::prelude::*;

fn file(text: &str, origin: &str) -> Inode {
    Inode::new(Kind::File(text.as_bytes().to_vec().into()), 0o644, &Arc::from(origin))
}

fn sample() -> Tree {
    let mut tree = Tree::default();
    tree.insert("d/one", file("contents", "p")).unwrap();
    tree.link("d/two", "d/one").unwrap();
    tree.insert("e", file("other", "q")).unwrap();
    let console = Inode::new(Kind::Char(5, 1), 0o600, &Arc::from("recipe"));
    tree.insert("dev/console", console).unwrap();
    tree.insert("l", Inode::new(Kind::Symlink("e".into()), 0o777, &Arc::from("q"))).unwrap();
    tree
}

fn plain(time: u32) -> Packing {
    Packing { variant: cpio::Variant::Newc, form: Form::None, time, threads: 1 }
}

#[test]
fn members_are_numbered_by_path_and_the_last_link_has_the_contents() {
    let bytes = archive(&sample(), plain(9)).unwrap();
    let (read, end) = cpio::parse(&bytes).unwrap();
    assert!(bytes[end..].iter().all(|byte| *byte == 0));
    let seen: Vec<_> = read
        .iter()
        .map(|e| (&*e.path, e.inode, e.links, format!("{:o}", e.mode), e.data))
        .collect();
    let expected: [(&str, u32, u32, &str, &[u8]); 7] = [
        ("d", 1, 2, "40755", b""),
        ("d/one", 2, 2, "100644", b""),
        ("d/two", 2, 2, "100644", b"contents"),
        ("dev", 3, 2, "40755", b""),
        ("dev/console", 4, 1, "20600", b""),
        ("e", 5, 1, "100644", b"other"),
        ("l", 6, 1, "120777", b"e"),
    ];
    assert_eq!(seen, expected.map(|(p, i, l, m, d)| (p, i, l, m.to_string(), d)));
    assert!(read.iter().all(|e| e.time == 9 && e.uid == 0 && e.gid == 0));
    assert_eq!(read[4].device, (5, 1));
}

#[test]
fn extended_attributes_are_not_lost_in_silence() {
    let mut tree = sample();
    let mut inode = file("x", "libcap2-bin");
    inode.xattrs.insert("security.capability".into(), vec![1]);
    tree.insert("usr/bin/ping", inode).unwrap();
    let error = xattrs::settle(&mut tree, &Xattrs::Refuse).unwrap_err().to_string();
    assert!(error.starts_with("/usr/bin/ping (from libcap2-bin) has extended attributes"));
}

#[test]
fn what_weighs_how_much() {
    let weights = weights(&sample());
    let seen: Vec<_> = weights.iter().map(|w| (w.origin.as_str(), w.bytes, w.names)).collect();
    assert_eq!(seen, [("p", 8, 2), ("q", 5, 2), ("recipe", 0, 1)]);
}

proptest! {
    #[test]
    fn the_order_of_insertion_does_not_show(
        names in prop::collection::btree_set("[a-c]/[a-c]{1,2}/[a-z]{1,3}", 1..12),
        seed in any::<u64>(),
    ) {
        let build = |names: &[&String]| {
            let mut tree = Tree::default();
            names.iter().try_for_each(|name| tree.insert(name, file(name, "p"))).unwrap();
            archive(&tree, plain(1)).unwrap()
        };
        let sorted: Vec<_> = names.iter().collect();
        let mut mixed = sorted.clone();
        mixed.sort_by_key(|name| crate::digest::Sha256::of(format!("{seed}{name}").as_bytes()));
        prop_assert!(build(&sorted) == build(&mixed));
    }
}
