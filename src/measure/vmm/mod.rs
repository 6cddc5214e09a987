//! Which pages and events each VMM brings, in which order, one file per VMM.

pub mod tdvf;

/// A VMM: one file, one row in [`VMMS`]. What it does for a family of TEEs is a field of its own,
/// absent where it does not launch them.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Name on the command line and in recipes: `qemu`.
    pub name: &'static str,
    /// One line for help and docs.
    pub about: &'static str,
    /// Known changes of what it measures, oldest first.
    pub epochs: &'static [Epoch],
}

/// A version from which a VMM, or the hypervisor below it, measures something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// The first version with the change, as numbers.
    pub since: &'static [u32],
    /// What changed, in words.
    pub what: &'static str,
    /// Where that stands: commit, file, release notes.
    pub source: &'static str,
}

impl Profile {
    /// A row that launches nothing yet: the base of every row.
    pub const fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, epochs: &[] }
    }
}

/// Every VMM, in the order of the docs.
pub const VMMS: &[Profile] = &[];

/// The VMM called `name`.
pub fn profile(name: &str) -> Option<&'static Profile> {
    VMMS.iter().find(|profile| profile.name == name)
}
