//! Mounts that a guest needs, and the console.

use std::fs::{File, OpenOptions};

use nix::mount::{MsFlags, mount};

/// `(file system, target, options)`, in order.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("tmpfs", "/run", "mode=0755,size=25%"),
    ("tmpfs", "/tmp", "mode=1777,size=25%"),
    ("securityfs", "/sys/kernel/security", ""),
    ("configfs", "/sys/kernel/config", ""),
];

/// Mounts everything; what fails is told, not fatal: a kernel may lack securityfs or configfs.
pub fn all() -> Vec<String> {
    MOUNTS.iter().filter_map(|entry| one(entry).err()).collect()
}

fn one((kind, target, options): &(&str, &str, &str)) -> Result<(), String> {
    let _ = std::fs::create_dir_all(target); // the mount says what is wrong
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if *kind == "devtmpfs" {
        flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    }
    match mount(Some(*kind), *target, Some(*kind), flags, Some(*options)) {
        Ok(()) | Err(nix::errno::Errno::EBUSY) => Ok(()),
        Err(error) => Err(format!("mount {target}: {error}")),
    }
}

/// The system console, or standard output where there is none.
pub fn console() -> Box<dyn std::io::Write> {
    match OpenOptions::new().write(true).open("/dev/console") {
        Ok(file) => Box::new(file),
        Err(_) => Box::new(std::io::stdout()),
    }
}

/// The first of `paths` that can be opened.
pub fn first_of(paths: &[&str]) -> Option<(String, File)> {
    paths.iter().find_map(|path| Some(((*path).to_string(), File::open(path).ok()?)))
}
