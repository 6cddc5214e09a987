//! Hostile recipes with their exact messages; the digest; `extends`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::node::Value;
use super::{Error, MAX_SIZE, Resolved, parse};

/// A sound recipe that uses most fields.
const SOUND: &str = r#"name: guest
arch: x86_64
epoch: 2026-11-01T00:00:00Z
sources:
  trixie: {debian: {suites: [trixie, trixie-security], components: [main]}}
  linux: {package: {name: linux-source-6.12, from: trixie, file: /usr/src/linux-source-6.12.tar.xz}}
  edk2: {debian-source: {name: edk2, from: trixie}}
  agent: {local: ../agent}
firmware:
  amdsev: {edk2: {source: edk2, platform: OvmfPkg/AmdSev/AmdSevX64.dsc}}
kernel:
  linux: {source: linux, config: [base, hardened]}
initrd:
  packages:
    - {deb: {name: busybox-static, from: trixie, only: [/usr/bin/busybox]}}
  agent: {cargo: {source: agent, bin: agent}}
  files:
    - {write: {at: /etc/hostname, text: "guest\n", mode: "0644", owner: "0:0"}}
    - {copy: {from: etc/motd, to: /etc/motd}}
    - {symlink: {at: /init, to: /usr/bin/agent}}
    - {node: {at: /dev/console, kind: char, major: 5, minor: 1}}
  drop: [/usr/share/doc/**]
  pack: {zstd: {level: 12}}
cmdline: [console=ttyS0, panic=1]
"#;

fn nothing(path: &str) -> Result<Vec<u8>, String> {
    Err(format!("no {path}"))
}

fn alone(text: impl AsRef<[u8]>) -> Result<Resolved, Error> {
    parse("guest.yaml", text.as_ref(), &nothing)
}

/// Files by name, the first the recipe itself.
fn together(files: &[(&str, &str)]) -> Result<Resolved, Error> {
    let known: BTreeMap<_, _> = files.iter().copied().collect();
    let load = |path: &str| match known.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err("No such file or directory".to_string()),
    };
    parse(files[0].0, files[0].1.as_bytes(), &load)
}

/// What to change in [`SOUND`] to make it wrong: a text, and what stands instead.
const WRONG: &[(&str, &str, &str)] = &[
    ("unknown key", "cmdline:", "cmdlin:"),
    ("unknown key, nothing near", "cmdline:", "commands-to-run:"),
    ("unknown key deep inside", "from: etc/motd, to:", "from: etc/motd, too:"),
    ("duplicate key", "arch: x86_64", "arch: x86_64\narch: x86_64"),
    ("missing key", "epoch: 2026-11-01T00:00:00Z\n", ""),
    ("unknown choice", "{deb: {name", "{rpm: {name"),
    ("two choices", "pack: {zstd: {level: 12}}", "pack: {zstd: {level: 12}, xz: {level: 6}}"),
    ("choice without value", "pack: {zstd: {level: 12}}", "pack: zstd"),
    ("choice with value", "pack: {zstd: {level: 12}}", "pack: {none: 1}"),
    ("unknown architecture", "arch: x86_64", "arch: amd64"),
    ("text for list", "cmdline: [console=ttyS0, panic=1]", "cmdline: console=ttyS0"),
    ("list for text", "name: guest", "name: [guest]"),
    ("number for text", "name: guest", "name: 1.10"),
    ("boolean for text", "name: guest", "name: true"),
    ("nothing for mapping", "firmware:\n  amdsev", "firmware:\nx:\n  amdsev"),
    ("boolean of YAML 1.1", "[console=ttyS0, panic=1]", "[no]"),
    ("boolean of YAML 1.1 as a value", "name: guest", "name: Yes"),
    ("octal mode without quotes", "\"0644\"", "0644"),
    ("octal mode of YAML 1.2", "\"0644\"", "0o644"),
    ("mode that is none", "\"0644\"", "\"rw-r--r--\""),
    ("octal number", "minor: 1", "minor: 010"),
    ("text for number", "minor: 1", "minor: \"1\""),
    ("fraction for number", "minor: 1", "minor: 1.5"),
    ("negative number", "minor: 1", "minor: -1"),
    ("huge number", "minor: 1", "minor: 99999999999"),
    ("device number", "major: 5", "major: 4096"),
    ("owner by name", "\"0:0\"", "root:root"),
    ("tab", "  linux: {source", "\tlinux: {source"),
    ("tag", "name: guest", "name: !!int 7"),
    ("unknown tag", "name: guest", "name: !name guest"),
    ("unclosed bracket", "drop: [/usr/share/doc/**]", "drop: [/usr/share/doc/**"),
    ("second document", "cmdline:", "---\ncmdline:"),
    ("merge key", "name: guest", "<<: {name: guest}"),
    ("unknown anchor", "name: guest", "name: *guest"),
    ("name with a slash", "name: guest", "name: ../guest"),
    ("epoch without zone", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00"),
    ("epoch that no calendar has", "2026-11-01T", "2026-02-29T"),
    ("epoch as a number", "2026-11-01T00:00:00Z", "1793491200"),
    ("source that is unknown", "source: linux,", "source: linus,"),
    ("source of the wrong kind", "{source: linux,", "{source: trixie,"),
    (
        "packages from a tree",
        "name: busybox-static, from: trixie",
        "name: busybox-static, from: edk2",
    ),
    ("package with a version", "name: busybox-static", "name: busybox-static=1.37"),
    ("package name in capitals", "name: busybox-static", "name: BusyBox"),
    ("absolute path beside the recipe", "from: etc/motd", "from: /etc/motd"),
    ("path out of the recipe", "from: etc/motd", "from: ../../etc/shadow"),
    ("absolute local source", "local: ../agent", "local: /agent"),
    ("relative path in the image", "at: /etc/hostname", "at: etc/hostname"),
    ("dots in the image", "at: /etc/hostname", "at: /etc/../../hostname"),
    ("doubled slash in the image", "at: /etc/hostname", "at: /etc//hostname"),
    ("control character in a path", "at: /etc/hostname", "at: \"/etc/host\\0name\""),
    ("path twice", "to: /etc/motd", "to: /etc/hostname"),
    ("bad glob", "/usr/share/doc/**", "\"/usr/share/[doc\""),
    ("relative glob", "/usr/share/doc/**", "usr/share/doc/**"),
    ("level out of range", "level: 12", "level: 22"),
    ("platform that is none", "AmdSevX64.dsc", "AmdSevX64.fdf"),
    ("two words in one", "panic=1]", "\"panic=1 quiet\"]"),
    ("line end in the command line", "panic=1]", "\"panic=1\\n\"]"),
    ("no suite", "suites: [trixie, trixie-security]", "suites: []"),
];

#[test]
fn the_sound_recipe_is_sound() {
    if let Err(error) = alone(SOUND) {
        panic!("{error}");
    }
}

#[test]
fn every_wrong_recipe_gets_its_message() {
    let mut messages = String::new();
    for (name, sound, wrong) in WRONG {
        assert_eq!(SOUND.matches(sound).count(), 1, "{name}: `{sound}` must stand once");
        let error = alone(SOUND.replace(sound, wrong)).map(|_| name).expect_err(name);
        messages.push_str(&format!("── {name} ──\n{error}\n\n"));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn sources_of_every_kind_are_checked() {
    let mut messages = String::new();
    for source in [
        "{archive: {url: 'ftp://example.org/a', sha256: abc}}",
        "{archive: {url: 'https://me:secret@example.org/a', sha256: \
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}}",
        "{git: {url: 'https://example.org/a.git', rev: '--upload-pack=x'}}",
        "{crate: {name: hello, version: '^1.2'}}",
        "{oci: {image: 'registry.example/guest:latest'}}",
        "{debian: {suites: [../trixie]}}",
    ] {
        let error = alone(SOUND.replace("{local: ../agent}", source)).expect_err(source);
        messages.push_str(&format!("── {source} ──\n{error}\n\n"));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn several_problems_come_at_once() {
    let wrong = SOUND.replace("minor: 1", "minor: 1048576").replace("/init,", "init,");
    let error = alone(wrong).expect_err("two problems");
    assert_eq!(error.problems.len(), 2);
}

#[test]
fn what_is_no_recipe_at_all() {
    let mut messages = String::new();
    let long = format!("name: {}", "x".repeat(5_000) + "\u{1}");
    let deep = "[".repeat(2_000);
    for (name, text) in [
        ("empty", &b""[..]),
        ("only a comment", b"# nothing\n"),
        ("a list", b"- name: guest\n"),
        ("a text", b"guest"),
        ("Latin-1", b"# caf\xe9\nname: caf\xe9\n"),
        ("Latin-1 on a later line", b"name: guest\narch: caf\xe9\n"),
        ("UTF-16", b"\xff\xfen\0a\0m\0e\0"),
        ("NUL", b"name: gu\0est\n"),
        ("a long line", long.as_bytes()),
        ("deep", deep.as_bytes()),
        ("ELF", b"\x7fELF\x02\x01\x01\0\0\0\0\0"),
    ] {
        let error = alone(text).map(|_| name).expect_err(name);
        messages.push_str(&format!("── {name} ──\n{error}\n\n"));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn a_file_beyond_the_limit_is_refused_before_it_is_parsed() {
    let error = alone(vec![b'#'; MAX_SIZE + 1]).expect_err("too large");
    insta::assert_snapshot!(error);
}

/// Nine levels of nine aliases: 9^9 nodes if it were expanded.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    text
}

#[test]
fn bombs_meet_a_budget() {
    let wide = format!("a: &a [x]\nb: [{}]\n", vec!["*a"; 20_000].join(", "));
    let long = format!("cmdline: [{}]\n", vec!["a"; 60_000].join(", "));
    let keys: String = (0..60_000).map(|n| format!("k{n}: \n")).collect();
    let mut messages = String::new();
    for (name, text) in [("aliases", bomb()), ("wide", wide), ("list", long), ("keys", keys)] {
        let error = alone(text).map(|_| name).expect_err(name);
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        messages.push_str(&format!("── {name} ──\n{first}\n"));
    }
    insta::assert_snapshot!(messages);
}

const BASE: &str = r#"name: base
arch: x86_64
epoch: 2026-01-01T00:00:00Z
sources:
  trixie: {debian: {suites: [trixie]}}
  sid: {debian: {suites: [sid]}}
initrd:
  packages:
    - {deb: {name: busybox-static, from: trixie}}
    - {deb: {name: ca-certificates, from: trixie}}
  files:
    - {copy: {from: etc/motd, to: /etc/motd}}
    - {symlink: {at: /init, to: /bin/busybox}}
  drop: [/usr/share/doc/**]
  pack: {xz: {level: 6}}
cmdline: [lockdown=confidentiality]
"#;

const OVER: &str = r#"name: guest
extends: [../base/base.yaml]
epoch: 2026-11-01T00:00:00Z
sources:
  sid: {debian: {suites: [sid, experimental]}}
initrd:
  packages:
    - {deb: {name: busybox-static, from: sid, only: [/usr/bin/busybox]}}
  files:
    - {symlink: {at: /init, to: /usr/bin/agent}}
    - {write: {at: /etc/hostname, text: "guest\n"}}
  drop: [/usr/share/man/**]
cmdline: [console=ttyS0]
"#;

fn extended() -> Resolved {
    let files = [("recipes/guest.yaml", OVER), ("recipes/../base/base.yaml", BASE)];
    together(&files).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_recipe_is_merged_over_what_it_extends() {
    insta::assert_snapshot!(extended().explained());
}

#[test]
fn what_check_resolved_prints_is_the_same_recipe() {
    let resolved = extended();
    // Rebased paths may lead out of the directory of the recipe, which one file alone may not.
    let text = resolved.explained().replace("../base/etc/motd", "base/etc/motd");
    let again = alone(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.recipe.initrd.map(|i| i.packages), resolved.recipe.initrd.map(|i| i.packages));
    let plain = alone(SOUND).expect("sound");
    let again = alone(plain.explained()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.recipe, plain.recipe);
}

#[test]
fn wrong_extends_get_their_messages() {
    let itself = "name: guest\nextends: [b.yaml]\n";
    let other = "extends: [guest.yaml]\n";
    let wrong = BASE.replace("[trixie]", "trixie");
    let chain: Vec<_> = (0..10).map(|n| format!("extends: [{}.yaml]\n", n + 1)).collect();
    let names: Vec<_> = (0..10).map(|n| format!("{n}.yaml")).collect();
    let chain: Vec<_> = names.iter().zip(&chain).map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let mut messages = String::new();
    for (name, files) in [
        ("missing", vec![("guest.yaml", "extends: [no.yaml]\n")]),
        ("absolute", vec![("guest.yaml", "extends: [/etc/x.yaml]\n")]),
        ("a text", vec![("guest.yaml", "extends: base.yaml\n")]),
        ("a number", vec![("guest.yaml", "extends: [1]\n")]),
        ("itself", vec![("guest.yaml", itself), ("b.yaml", other)]),
        ("deep", chain),
        (
            "wrong in the base",
            vec![("recipes/guest.yaml", OVER), ("recipes/../base/base.yaml", &wrong)],
        ),
    ] {
        let error = together(&files).map(|_| name).expect_err(name);
        messages.push_str(&format!("── {name} ──\n{error}\n\n"));
    }
    insta::assert_snapshot!(messages);
}

#[test]
fn every_field_has_its_rule_and_the_docs_have_it_too() {
    let schema: serde_json::Value = serde_json::from_str(&super::schema()).expect("JSON");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("properties").keys().cloned().collect()
    };
    let mut fields = keys(&schema["properties"]);
    let initrd = keys(&schema["$defs"]["Initrd"]["properties"]);
    fields.extend(initrd.iter().map(|field| format!("initrd.{field}")));
    let docs = include_str!("../../docs/recipe.md");
    for field in &fields {
        let rule = super::RULES.iter().find(|(name, _)| name == field);
        assert!(rule.is_some(), "`{field}` has no rule for `extends`");
        assert!(docs.contains(&format!("| `{field}` |")), "docs/recipe.md has no row `{field}`");
    }
    assert_eq!(super::RULES.len(), fields.len(), "a rule without its field");
}

#[test]
fn a_new_recipe_checks() {
    let text = super::template("my-guest").expect("a name");
    if let Err(error) = alone(text) {
        panic!("{error}");
    }
    insta::assert_snapshot!(super::template("My Guest").expect_err("a space"));
}

/// [`SOUND`] with the keys of every mapping in an order that `seed` decides.
fn shuffled(seed: u64) -> String {
    fn shuffle(value: &mut Value, seed: &mut u64) {
        match value {
            Value::Map(entries) => {
                for index in (1..entries.len()).rev() {
                    *seed =
                        seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let other = usize::try_from(*seed >> 33).expect("31 bits") % (index + 1);
                    entries.swap(index, other);
                }
                entries.iter_mut().for_each(|entry| shuffle(&mut entry.node.value, seed));
            }
            Value::List(items) => items.iter_mut().for_each(|item| shuffle(&mut item.value, seed)),
            _ => {}
        }
    }
    let mut resolved = alone(SOUND).expect("sound");
    shuffle(&mut resolved.tree.value, &mut { seed });
    resolved.explained()
}

proptest! {
    #[test]
    fn the_order_of_keys_does_not_change_the_digest(seed: u64) {
        let sound = alone(SOUND).expect("sound").recipe.digest();
        let text = shuffled(seed);
        let other = alone(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert_eq!(other.recipe.digest(), sound);
    }

    #[test]
    fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = alone(bytes).map_err(|error| error.to_string());
    }

    #[test]
    fn no_broken_recipe_panics(at in 0..SOUND.len(), with in "[\\PC\t\n:{}&*!|>'\"#-]{0,3}") {
        let mut text = SOUND.to_string();
        if text.is_char_boundary(at) {
            text.replace_range(at..at, &with);
        }
        let _ = alone(text).map_err(|error| error.to_string());
    }
}

#[test]
fn the_digest_is_known() {
    // A change here breaks every lock: it is one for the changelog.
    let digest = alone(SOUND).expect("sound").recipe.digest();
    insta::assert_snapshot!(digest);
}

#[test]
fn machines_without_settings_are_told_apart_by_the_digest() {
    let of = |tee: &str| {
        let machine = BTreeMap::from([(tee.to_string(), crate::recipe::MachineSpec::default())]);
        let recipe = alone(SOUND).expect("sound").recipe;
        crate::recipe::Recipe { machines: vec![machine], ..recipe }.digest()
    };
    assert_ne!(of("nitro"), of("vtpm"));
}
