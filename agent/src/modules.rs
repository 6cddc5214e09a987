//! Kernel modules: those that the image lists, with what they depend on.

use std::fs::{self, File};

use nix::kmod::{ModuleInitFlags, finit_module};

/// Each line is the name of a module; `#` begins a comment.
const LIST: &str = "/etc/guest-agent/modules";

/// `MODULE_INIT_COMPRESSED_FILE` (Linux `include/uapi/linux/module.h`, since 5.17): the kernel
/// decompresses the file.
const COMPRESSED: u32 = 4;

/// Loads the listed modules; returns what went wrong.
pub fn load_listed() -> Vec<String> {
    let Ok(list) = fs::read_to_string(LIST) else { return Vec::new() };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let root = format!("/lib/modules/{}", release.trim());
    let dependencies = fs::read_to_string(format!("{root}/modules.dep")).unwrap_or_default();
    let names = list.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    let wanted = names.filter(|name| !name.is_empty());
    wanted.filter_map(|name| load(&root, &dependencies, name).err()).collect()
}

/// Loads one module and, before it, what `modules.dep` says it needs (last first).
fn load(root: &str, dependencies: &str, name: &str) -> Result<(), String> {
    let files = files_of(dependencies, name).ok_or(format!("module {name}: not in modules.dep"))?;
    files.iter().rev().try_for_each(|file| insert(&format!("{root}/{file}")))
}

/// The module's file, then those it depends on; `-` and `_` are the same in a name.
fn files_of(dependencies: &str, name: &str) -> Option<Vec<String>> {
    let wanted = name.replace('-', "_");
    dependencies.lines().find_map(|line| {
        let (file, needs) = line.split_once(':')?;
        let stem = file.rsplit('/').next()?.split('.').next()?.replace('-', "_");
        let all = std::iter::once(file).chain(needs.split_whitespace());
        (stem == wanted).then(|| all.map(str::to_string).collect())
    })
}

fn insert(path: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED };
    match finit_module(&file, c"", ModuleInitFlags::from_bits_retain(flags)) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_after_the_module_in_modules_dep() {
        let dep = "kernel/a/vsock.ko.xz:\nkernel/b/virtio-transport.ko.xz: kernel/a/vsock.ko.xz\n";
        let files = files_of(dep, "virtio_transport").expect("listed");
        assert_eq!(files, ["kernel/b/virtio-transport.ko.xz", "kernel/a/vsock.ko.xz"]);
        assert_eq!(files_of(dep, "absent"), None);
    }
}
