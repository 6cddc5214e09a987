//! Contents of the initial RAM disk.

use std::collections::BTreeMap;

use super::{Check, Place, text};
use crate::recipe::{Agent, FileEntry, Initrd, NodeEntry, Pack, PackageEntry, Xattrs, path};

pub(super) fn check(check: &mut Check<'_>, place: &Place<'_>) {
    let Some(initrd) = &check.recipe.initrd else { return };
    packages(check, place, initrd);
    if let Some(wanted) = &initrd.agent {
        program(check, &place.key("agent"), wanted);
    }
    for (index, wanted) in initrd.programs.iter().enumerate() {
        let place = place.key("programs").item(index);
        if let Agent::File(file) = wanted {
            let hint =
                format!("write it under `files`: {{copy: {{from: {file}, to: /usr/bin/…}}}}");
            check.fail(&place, "a program beside the recipe has no place in the image", &hint);
        }
        program(check, &place, wanted);
    }
    files(check, &place.key("files"), &initrd.files);
    files(check, &place.key("early"), &initrd.early);
    check.texts(&place.key("drop"), &initrd.drop, text::glob);
    super::setup::check(check, &place.key("setup"), initrd);
    if let Xattrs::List(at) = &initrd.xattrs {
        check.holds(&place.key("xattrs").key("list"), path::in_image(at));
    }
    pack(check, &place.key("pack"), initrd.pack);
}

fn packages(check: &mut Check<'_>, place: &Place<'_>, initrd: &Initrd) {
    let mut seen = BTreeMap::new();
    for (index, PackageEntry::Deb(deb)) in initrd.packages.iter().enumerate() {
        let place = place.key("packages").item(index).key("deb");
        check.holds(&place.key("name"), text::package(&deb.name));
        check.debian(&place.key("from"), &deb.from);
        check.texts(&place.key("only"), &deb.only, text::glob);
        let line = place.key("name").origin.to_string();
        if let Some(first) = seen.insert((&deb.name, &deb.from), line) {
            let what = format!("the package `{}` stands twice, first at {first}", deb.name);
            check.fail(&place.key("name"), what, "keep one of them");
        }
    }
}

fn program(check: &mut Check<'_>, place: &Place<'_>, wanted: &Agent) {
    let at = match wanted {
        Agent::File(file) => {
            check.holds(&place.key("file"), path::beside_recipe(file));
            return;
        }
        Agent::From(from) => {
            let place = place.key("from");
            check.tree(&place.key("source"), &from.source);
            check.holds(&place.key("file"), path::in_image(&from.file));
            (place.key("at"), &from.at)
        }
        Agent::Cargo(cargo) => {
            let place = place.key("cargo");
            check.tree(&place.key("source"), &cargo.source);
            check.holds(&place.key("bin"), text::crate_name(&cargo.bin));
            if let Some(dir) = &cargo.dir {
                check.holds(&place.key("dir"), path::beside_recipe(dir));
            }
            check.texts(&place.key("features"), &cargo.features, text::feature);
            check.texts(&place.key("needs"), &cargo.needs, text::package);
            (place.key("at"), &cargo.at)
        }
    };
    if let (place, Some(at)) = at {
        check.holds(&place, path::in_image(at));
    }
}

fn files(check: &mut Check<'_>, place: &Place<'_>, files: &[FileEntry]) {
    let mut seen = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        let (at, target) = entry(check, &place.item(index), file);
        check.holds(&at, path::in_image(target));
        if let Some(first) = seen.insert(target, at.origin.to_string()) {
            let what = format!("`{target}` stands twice, first at {first}");
            check.fail(&at, what, "keep one of them");
        }
    }
}

/// Checks an entry; gives the path that it makes, and its place.
fn entry<'r, 'p>(
    check: &mut Check<'_>,
    place: &Place<'p>,
    file: &'r FileEntry,
) -> (Place<'p>, &'r str) {
    match file {
        FileEntry::Write(write) => {
            let place = place.key("write");
            rights(check, &place, write.mode.as_deref(), write.owner.as_deref());
            xattrs(check, &place.key("xattrs"), &write.xattrs);
            (place.key("at"), &write.at)
        }
        FileEntry::Copy(copy) => {
            let place = place.key("copy");
            check.holds(&place.key("from"), path::beside_recipe(&copy.from));
            rights(check, &place, copy.mode.as_deref(), copy.owner.as_deref());
            xattrs(check, &place.key("xattrs"), &copy.xattrs);
            (place.key("to"), &copy.to)
        }
        FileEntry::Symlink(link) => {
            let place = place.key("symlink");
            if link.to.is_empty() || link.to.contains('\0') {
                check.fail(&place.key("to"), "a link must point somewhere", "");
            }
            (place.key("at"), &link.at)
        }
        FileEntry::Dir(dir) => {
            let place = place.key("dir");
            rights(check, &place, dir.mode.as_deref(), dir.owner.as_deref());
            (place.key("at"), &dir.at)
        }
        FileEntry::Node(node) => {
            let place = place.key("node");
            device(check, &place, node);
            (place.key("at"), &node.at)
        }
        FileEntry::Concat(concat) => {
            let place = place.key("concat");
            check.holds(&place.key("package"), text::package(&concat.package));
            check.debian(&place.key("from"), &concat.from);
            if concat.files.is_empty() {
                check.fail(&place.key("files"), "no file is named", "name one, or a glob");
            }
            check.texts(&place.key("files"), &concat.files, text::file_pattern);
            (place.key("at"), &concat.at)
        }
    }
}

fn rights(check: &mut Check<'_>, place: &Place<'_>, mode: Option<&str>, owner: Option<&str>) {
    if let Some(mode) = mode {
        check.holds(&place.key("mode"), text::mode(mode));
    }
    if let Some(owner) = owner {
        check.holds(&place.key("owner"), text::owner(owner));
    }
}

fn xattrs(check: &mut Check<'_>, place: &Place<'_>, stated: &BTreeMap<String, String>) {
    for (name, value) in stated {
        check.holds(&place.name(name), text::xattr(name, value));
    }
}

/// Linux keeps 12 bits of major and 20 bits of minor number (include/linux/kdev_t.h).
fn device(check: &mut Check<'_>, place: &Place<'_>, node: &NodeEntry) {
    rights(check, place, node.mode.as_deref(), None);
    for (name, number, bits) in [("major", node.major, 12), ("minor", node.minor, 20)] {
        if number >> bits != 0 {
            let what = format!("the {name} number {number} has more than {bits} bits");
            check.fail(&place.key(name), what, "Linux keeps 12 bits of major, 20 of minor number");
        }
    }
}

fn pack(check: &mut Check<'_>, place: &Place<'_>, pack: Pack) {
    let (name, level, range) = match pack {
        Pack::None | Pack::Lz4 => return,
        Pack::Gzip(level) => ("gzip", level.level, 1..=9),
        Pack::Xz(level) => ("xz", level.level, 0..=9),
        Pack::Zstd(level) => ("zstd", level.level, 1..=19),
    };
    if !range.contains(&level) {
        let what = format!("{name} has no level {level}");
        let hint = format!("write {} to {}", range.start(), range.end());
        check.fail(&place.key(name).key("level"), what, &hint);
    }
}
