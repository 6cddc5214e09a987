//! Which part of a recipe an artifact, or a file in it, comes from.

use crate::assemble::direct;
use crate::build::initrd;
use crate::recipe::{FileEntry, Recipe};

/// The way through `recipe` to what the artifact `name` is made by; for a file of an initrd, to the
/// program or the entry that puts it there, else to the packages.
pub fn path(recipe: &Recipe, name: &str, member: Option<&str>) -> Vec<String> {
    let firmware = recipe.firmware.keys().find(|key| direct::firmware_file(key) == name);
    let path: Vec<String> = match (name, firmware) {
        (_, Some(key)) => vec!["firmware".into(), key.clone()],
        ("initrd.img", _) => return of_member(recipe, member),
        ("cmdline", _) => vec!["cmdline".into()],
        _ => vec!["kernel".into()],
    };
    path
}

fn of_member(recipe: &Recipe, member: Option<&str>) -> Vec<String> {
    let within = |parts: &[&str]| {
        std::iter::once("initrd").chain(parts.iter().copied()).map(str::to_string).collect()
    };
    let (Some(initrd), Some(member)) = (&recipe.initrd, member) else { return within(&[]) };
    let file = initrd.files.iter().position(|file| {
        let at = target(file).trim_start_matches('/');
        member == at || member.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'))
    });
    if let Some(index) = file {
        return within(&["files", &index.to_string()]);
    }
    if initrd.agent.as_ref().is_some_and(|agent| initrd::place(agent) == member) {
        return within(&["agent"]);
    }
    match initrd.programs.iter().position(|program| initrd::place(program) == member) {
        Some(index) => within(&["programs", &index.to_string()]),
        None => within(&["packages"]),
    }
}

fn target(file: &FileEntry) -> &str {
    match file {
        FileEntry::Write(write) => &write.at,
        FileEntry::Copy(copy) => &copy.to,
        FileEntry::Symlink(link) => &link.at,
        FileEntry::Dir(dir) => &dir.at,
        FileEntry::Node(node) => &node.at,
        FileEntry::Concat(concat) => &concat.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "\
name: a
arch: x86_64
epoch: 2026-11-01T00:00:00Z
sources: {a: {local: a}}
firmware:
  x: {file: x.fd}
kernel: {file: vmlinuz}
initrd:
  agent: {cargo: {source: a, bin: agent}}
  programs:
    - cargo: {source: a, bin: other}
  files:
    - dir: {at: /run}
    - write: {at: /etc/hostname, text: a}
";

    #[test]
    fn an_artifact_leads_to_its_line() {
        let none = |_: &str| Err("none".to_string());
        let resolved = crate::recipe::parse("a.yaml", RECIPE.as_bytes(), &none).expect("a recipe");
        let line = |name: &str, member: Option<&str>| {
            resolved.place(&path(&resolved.recipe, name, member)).to_string()
        };
        assert_eq!(line("firmware-x.fd", None), "a.yaml:6");
        assert_eq!(line("vmlinuz", None), "a.yaml:7");
        assert_eq!(line("initrd.img", None), "a.yaml:8");
        assert_eq!(line("initrd.img", Some("usr/bin/agent")), "a.yaml:9");
        assert_eq!(line("initrd.img", Some("usr/bin/other")), "a.yaml:11");
        assert_eq!(line("initrd.img", Some("run/lock")), "a.yaml:13");
        assert_eq!(line("initrd.img", Some("etc/hostname")), "a.yaml:14");
        assert_eq!(line("initrd.img", Some("usr/bin/busybox")), "a.yaml:8");
    }
}
