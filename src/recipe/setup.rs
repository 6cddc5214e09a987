//! What packages' maintainer scripts would have done, as typed steps of an image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One step, done when all contents are in place; steps are done in the order of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SetupStep {
    /// An account, in `/etc/passwd`, `/etc/shadow` (locked) and `/etc/group`.
    User(UserStep),
    /// A group, in `/etc/group`.
    Group(GroupStep),
    /// One name for one of several programs, as `update-alternatives` links it.
    Alternative(AlternativeStep),
    /// A unit of systemd, enabled or masked, as `systemctl` links it.
    SystemdUnit(SystemdUnitStep),
    /// The certificates in `/usr/share/ca-certificates`, as `update-ca-certificates` puts them in
    /// `/etc/ssl/certs`.
    CaBundle,
    /// `/etc/ld.so.cache`, as `ldconfig` writes it.
    LdCache,
    /// What modules depend on, as `depmod` writes it.
    Modules(ModulesStep),
}

/// An account. Where the image has no accounts yet, those of Debian's `base-passwd` come first if
/// the package is there, else `root` alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserStep {
    /// Name of the account.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Number of its group; that of the account when absent. A group that does not exist is made,
    /// with the account's name.
    pub gid: Option<u32>,
    /// Home directory, which is not made; `/nonexistent` when absent.
    pub home: Option<String>,
    /// Shell; `/usr/sbin/nologin` when absent.
    pub shell: Option<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GroupStep {
    /// Name of the group.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// Accounts that belong to it.
    #[serde(default)]
    pub members: Vec<String>,
}

/// One name for one of several programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlternativeStep {
    /// Name of the link in `/etc/alternatives`; the last part of `at` when absent.
    pub name: Option<String>,
    /// Absolute path of the link that programs use: `/usr/bin/awk`.
    pub at: String,
    /// Absolute path of what it stands for: `/usr/bin/mawk`.
    pub to: String,
}

/// A unit of systemd. One of the two fields is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SystemdUnitStep {
    /// Name of a unit to enable: `ssh.service`; its section `[Install]` says how.
    pub enable: Option<String>,
    /// Name of a unit to mask.
    pub mask: Option<String>,
}

/// Modules of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModulesStep {
    /// Names of the only modules to keep, which stay with all that they depend on; all when empty.
    pub keep: Vec<String>,
}
