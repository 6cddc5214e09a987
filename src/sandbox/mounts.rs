//! The file system as the command sees it: a read-only root, a small `/dev`, `/proc` of the new
//! namespace, private `/tmp` and `/dev/shm`, and the stated directories.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::spec::Spec;

/// Devices that a build may use; each is the host's, and none of them is a way out.
const DEVICES: &[&str] = &["full", "null", "random", "urandom", "zero"];

/// Links that programs expect in `/dev` (Linux `Documentation/admin-guide/devices.rst`,
/// «Compulsory links»).
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Nothing within gains a privilege by a file, or reaches a device by making one.
const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Builds the view and makes it the root of this process.
pub(super) fn enter(spec: &Spec) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("making mounts private")?;
    let root = &spec.root;
    bind(root, root)?;
    devices(root, spec.limits.tmp)?;
    memory(&point(root, "/tmp")?, spec.limits.tmp, "1777")?;
    proc(&point(root, "/proc")?)?;
    for bound in &spec.binds {
        let at = point(root, &bound.at)?;
        bind(&bound.from, &at)?;
        protect(&at, !bound.writable)?;
    }
    protect(root, true)?;
    become_root(root)
}

/// The mount point `at` of `root`, which must be there: the root may be shared and read-only.
fn point(root: &Path, at: &str) -> Result<PathBuf> {
    let path = root.join(at.trim_start_matches('/'));
    let real = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    ensure!(real, "the root {} has no directory {at} to mount on", root.display());
    Ok(path)
}

fn bind(from: &Path, at: &Path) -> Result<()> {
    let wanted = || format!("showing {} at {}", from.display(), at.display());
    mount_bind_recursive(from, at).with_context(wanted)
}

/// Remounts `at` without set-user-id and devices, and perhaps read-only. What the host has
/// forbidden there stays forbidden: the kernel refuses to lift it (mount_namespaces(7)).
fn protect(at: &Path, read_only: bool) -> Result<()> {
    let wanted = || format!("remounting {}", at.display());
    let mut flags = HARMLESS | MountFlags::BIND;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    if statvfs(at).with_context(wanted)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        flags |= MountFlags::NOEXEC;
    }
    mount_remount(at, flags, "").with_context(wanted)
}

fn memory(at: &Path, size: u64, mode: &str) -> Result<()> {
    let options = CString::new(format!("size={size},mode={mode}"))?;
    mount("tmpfs", at, "tmpfs", HARMLESS, &*options)
        .with_context(|| format!("mounting memory at {}", at.display()))
}

fn proc(at: &Path) -> Result<()> {
    mount("proc", at, "proc", HARMLESS | MountFlags::NOEXEC, None).context(
        "mounting /proc: a container whose own /proc is masked forbids it; run there with the \
         host's /proc unmasked",
    )
}

fn devices(root: &Path, shared: u64) -> Result<()> {
    let dev = point(root, "/dev")?;
    memory(&dev, 64 << 10, "755")?;
    for name in DEVICES {
        let at = dev.join(name);
        fs::write(&at, "").with_context(|| format!("making {}", at.display()))?;
        mount_bind(Path::new("/dev").join(name), &at)
            .with_context(|| format!("showing /dev/{name}"))?;
    }
    for (name, to) in LINKS {
        symlink(to, dev.join(name)).with_context(|| format!("linking /dev/{name}"))?;
    }
    let shm = dev.join("shm");
    fs::create_dir(&shm).context("making /dev/shm")?;
    memory(&shm, shared, "1777")?;
    protect(&dev, true)
}

/// Makes `root` the root, and lets go of the old one: pivot_root(2), «pivot_root(".", ".")».
fn become_root(root: &Path) -> Result<()> {
    chdir(root).with_context(|| format!("entering {}", root.display()))?;
    pivot_root(".", ".").context("changing the root")?;
    unmount(".", UnmountFlags::DETACH).context("letting go of the host's files")?;
    chdir("/").context("entering the new root")
}
