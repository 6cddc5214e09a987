//! What kata's releases do: facts read in the tags of kata-containers/kata-containers, the Go
//! runtime (`src/runtime`) and kata-deploy (`tools/packaging/kata-deploy`).

use anyhow::{Result, bail};

/// A release of kata.
#[derive(Debug)]
pub(super) struct Runtime {
    /// Its tag.
    pub(super) version: &'static str,
    /// QEMU that it starts these guests with (`versions.yaml`), as a VMM is written here.
    pub(super) vmm: &'static str,
    /// Whether that QEMU is a fork for GPUs (`QEMUSNPCMD`, `QEMUTDXCMD` in `src/runtime/Makefile`).
    pub(super) fork: bool,
    /// Whether `nr_cpus=` is on the command line (`qemu.go`, `kernelParameters`): up to 3.31 the
    /// measurement depends on a pod's vCPUs through it.
    pub(super) nr_cpus: bool,
    /// How the image of kata-deploy carries its files.
    pub(super) carried: Carried,
    /// Components of `qemu-snp` and `qemu-tdx` (`shim-components.json`), where it has them.
    pub(super) components: [&'static [&'static str]; 2],
}

/// How the image of kata-deploy carries the files that it installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// As a tree below `/opt/kata-artifacts/opt/kata`, copied whole.
    Tree,
    /// As archives below `/opt/kata-artifacts/tarballs`, those that `shim-components.json` names.
    Components,
}

const EXPERIMENTAL: [&[&str]; 2] = [
    &["shim-v2-go", "qemu-snp-experimental", "kernel", "rootfs-image-confidential", "ovmf-sev"],
    &["shim-v2-go", "qemu-tdx-experimental", "kernel", "rootfs-image-confidential", "ovmf-tdx"],
];

const STOCK: [&[&str]; 2] = [
    &["shim-v2-go", "qemu", "kernel", "rootfs-image-confidential", "ovmf-sev"],
    &["shim-v2-go", "qemu", "kernel", "rootfs-image-confidential", "ovmf-tdx"],
];

/// Releases that were read, oldest first. Between two of them the command line is the same unless a
/// column says otherwise: `qemu_amd64.go` (`kernelParams`), `qemu_arch_base.go`
/// (`handleImagePath`, `appendConsole`), `hypervisor.go` (`GetKernelRootParams`) and
/// `katautils/config.go` (`SetKernelParams`) have not changed from 3.29 to 4.1.
const RUNTIMES: &[Runtime] = &[
    Runtime { version: "3.30.0", ..TREE },
    TREE,
    COMPONENTS,
    Runtime { version: "4.0.0", ..COMPONENTS },
    Runtime { version: "4.1.0", fork: false, components: STOCK, ..COMPONENTS },
];

const TREE: Runtime = Runtime {
    version: "3.31.0",
    vmm: "qemu@10.2",
    fork: true,
    nr_cpus: true,
    carried: Carried::Tree,
    components: EXPERIMENTAL,
};

const COMPONENTS: Runtime = Runtime {
    version: "3.32.0",
    vmm: "qemu@11.0",
    nr_cpus: false,
    carried: Carried::Components,
    ..TREE
};

/// The release called `version`.
///
/// # Errors
/// None was named, or one that was not read: its command line would be a guess.
pub(super) fn runtime(version: Option<&str>) -> Result<&'static Runtime> {
    let found = RUNTIMES.iter().find(|runtime| Some(runtime.version) == version);
    let known = || RUNTIMES.iter().map(|r| r.version).collect::<Vec<_>>().join(", ");
    match (found, version) {
        (Some(runtime), _) => Ok(runtime),
        (None, Some(version)) => bail!(
            "how kata {version} makes the command line is not known here, and a guess would be a \
             wrong digest; known are {}",
            known()
        ),
        (None, None) => bail!("name the version of kata with --runtime: {}", known()),
    }
}

impl Runtime {
    /// What a person should know of the predictions.
    pub(super) fn warnings(&self) -> Vec<String> {
        let fork = self.fork.then(|| {
            format!(
                "kata {} starts these guests with a fork of QEMU; RTMR0 and RTMR1 of TDX are those \
                 of {}",
                self.version, self.vmm
            )
        });
        fork.into_iter().collect()
    }

    /// Where the components of `shim` stand in [`Runtime::components`].
    pub(super) fn components_of(&self, shim: &str) -> &'static [&'static str] {
        self.components[usize::from(shim == "qemu-tdx")]
    }
}
