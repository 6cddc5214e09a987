//! Words that kata-containers' Go runtime puts on a guest's command line (`src/runtime`, release 3): of
//! use to whoever writes such a line, and to whoever looks for what is wrong with one.

/// `qemu_amd64.go`, `kernelParams`.
pub const ARCHITECTURE: &[&str] = &[
    "tsc=reliable",
    "no_timer_check",
    "rcupdate.rcu_expedited=1",
    "i8042.direct=1",
    "i8042.dumbkbd=1",
    "i8042.nopnp=1",
    "i8042.noaux=1",
    "noreplace-smp",
    "reboot=k",
    "cryptomgr.notests",
    "net.ifnames=0",
    "pci=lastbus=0",
];

/// `katautils/create.go`, `systemdKernelParam`: where the root file system is an image.
pub const SYSTEMD: &[&str] = &[
    "systemd.unit=kata-containers.target",
    "systemd.mask=systemd-networkd.service",
    "systemd.mask=systemd-networkd.socket",
];
