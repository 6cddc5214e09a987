//! The archive of a tree: what a build unpacks. Like `git archive`, without its attributes: every
//! file is what the tree holds, and a submodule is an empty directory.

use anyhow::{Context as _, Result, ensure};

use super::objects::Objects;
use crate::digest::Sha1;
use crate::format::git::{self, Kind, Mode};
use crate::format::tar::{Archive, Content};

/// Time of every entry, in seconds since 1970: older than what is built of it.
const TIME: u32 = 1;

/// Most directories below each other.
const MAX_DEPTH: usize = 256;

/// The archive of `tree`, all of it below the directory `top`.
pub(super) fn archive(objects: &Objects<'_>, tree: &Sha1, top: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::new(TIME);
    add(&mut archive, objects, (tree, top), 0)?;
    Ok(archive.finish())
}

fn add(
    archive: &mut Archive,
    objects: &Objects<'_>,
    (tree, path): (&Sha1, &str),
    depth: usize,
) -> Result<()> {
    ensure!(depth < MAX_DEPTH, "more than {MAX_DEPTH} directories below each other");
    archive.add(path, Content::Directory);
    for entry in git::tree(&read(objects, tree, Kind::Tree)?)? {
        let path = format!("{path}/{}", entry.name);
        let file = || read(objects, &entry.object, Kind::Blob).with_context(|| path.clone());
        match entry.mode {
            Mode::File => archive.add(&path, Content::File(&file()?, false)),
            Mode::Program => archive.add(&path, Content::File(&file()?, true)),
            Mode::Symlink => {
                let target = String::from_utf8(file()?).with_context(|| path.clone())?;
                archive.add(&path, Content::Symlink(&target));
            }
            Mode::Directory => add(archive, objects, (&entry.object, &path), depth + 1)?,
            Mode::Module => archive.add(&path, Content::Directory),
        }
    }
    Ok(())
}

fn read(objects: &Objects<'_>, name: &Sha1, kind: Kind) -> Result<Vec<u8>> {
    let object = objects.get(name)?;
    let found = object.kind;
    ensure!(found == kind, "{name} is a {}, not a {}", found.word(), kind.word());
    Ok(object.data)
}
