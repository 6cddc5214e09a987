//! A tree on disk: the root in which a build runs. Needs no privilege.
//!
//! Owners are not applied and set-user-ID bits are dropped: the files belong to whoever builds,
//! and a program of theirs must not get rights by it. Every time is the same.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::tree::{Inode, Kind, Tree};

/// Writes `tree` into the new directory `root`; every time becomes `time`, in seconds since 1970.
///
/// # Errors
/// There is something at `root`, the tree holds a device node, or the disk says no.
pub fn materialise(tree: &Tree, root: &Path, time: u32) -> Result<()> {
    // Only in a directory of its own does nothing lead out: the tree's parents are directories.
    fs::create_dir(root).with_context(|| root.display().to_string())?;
    let nodes: Vec<_> = tree.iter().collect();
    let (directories, others): (Vec<_>, Vec<_>) =
        nodes.into_iter().partition(|(_, inode)| inode.kind == Kind::Directory);
    for (path, _) in &directories {
        let path = root.join(path);
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
    }
    let (first, links) = hard_links(others);
    first.par_iter().try_for_each(|(path, inode)| {
        let path = root.join(path);
        write(&path, inode, time).with_context(|| path.display().to_string())
    })?;
    for (path, target) in links {
        let (path, target) = (root.join(path), root.join(target));
        fs::hard_link(&target, &path).with_context(|| path.display().to_string())?;
    }
    // Last and from below, so that what is written into a directory does not touch its time.
    for (path, inode) in directories.iter().rev() {
        let path = root.join(path);
        let mode = fs::Permissions::from_mode(inode.mode & 0o1777 | 0o700);
        fs::set_permissions(&path, mode).with_context(|| path.display().to_string())?;
        set_time(&path, time)?;
    }
    set_time(root, time)
}

type Named<'a> = (&'a str, &'a Arc<Inode>);

/// Files under their first name, and the further names with the first.
fn hard_links<'a>(nodes: Vec<Named<'a>>) -> (Vec<Named<'a>>, Vec<(&'a str, &'a str)>) {
    let mut seen = std::collections::BTreeMap::new();
    let (mut first, mut links) = (Vec::new(), Vec::new());
    for (path, inode) in nodes {
        match seen.get(&Arc::as_ptr(inode)) {
            Some(target) => links.push((path, *target)),
            None => {
                seen.insert(Arc::as_ptr(inode), path);
                first.push((path, inode));
            }
        }
    }
    (first, links)
}

fn write(path: &Path, inode: &Inode, time: u32) -> Result<()> {
    match &inode.kind {
        Kind::File(contents) => {
            let mode = inode.mode & 0o777 | 0o400;
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            std::io::Write::write_all(&mut file, contents)?;
            // What the umask took away.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Kind::Symlink(target) => symlink(target, path)?,
        kind => bail!("{} cannot be made without privileges", kind.name()),
    }
    set_time(path, time)
}

fn set_time(path: &Path, time: u32) -> Result<()> {
    let time = Timespec { tv_sec: i64::from(time), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("{}: setting its time", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn files_links_modes_and_times_are_on_disk() {
        let mut tree = Tree::default();
        let origin = Arc::from("p");
        let file = Inode::new(Kind::File(b"x".to_vec().into()), 0o4555, &origin);
        tree.insert("d/a", file).unwrap();
        tree.link("d/b", "d/a").unwrap();
        tree.insert("l", Inode::new(Kind::Symlink("d/a".into()), 0o777, &origin)).unwrap();
        tree.insert("d", Inode::new(Kind::Directory, 0o1555, &origin)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        materialise(&tree, &root, 42).unwrap();
        let meta = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
        assert_eq!(fs::read(root.join("l")).unwrap(), b"x");
        assert_eq!((meta("d/a").mode() & 0o7777, meta("d").mode() & 0o7777), (0o555, 0o1755));
        assert_eq!((meta("d/a").ino(), meta("d/a").nlink()), (meta("d/b").ino(), 2));
        assert!(["d", "d/a", "l", ""].iter().all(|name| meta(name).mtime() == 42));
        let again = format!("{:#}", materialise(&tree, &root, 42).unwrap_err());
        assert!(again.contains("File exists"), "{again}");
    }

    #[test]
    fn device_nodes_are_refused() {
        let mut tree = Tree::default();
        tree.insert("n", Inode::new(Kind::Char(1, 3), 0o666, &Arc::from("p"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", materialise(&tree, &dir.path().join("r"), 0).unwrap_err());
        assert!(error.ends_with("n: a device node cannot be made without privileges"), "{error}");
    }
}
