//! What must not matter: how one build of the same inputs may differ from another.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::sandbox::Spec;

/// Where Debian's `libfaketime` stands in a build root, if that has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// How a build differs from the usual one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variation {
    /// Directories more on the host's path.
    pub depth: usize,
    /// Where the step works on the host, instead of beside the store: another file system.
    pub place: Option<PathBuf>,
    /// Inputs come into being last name first: other order of directory and inodes.
    pub reversed: bool,
    /// Inputs are copies instead of links to the store's entries.
    pub copied: bool,
    /// Host name.
    pub host_name: Option<String>,
    /// User and group id.
    pub user: Option<u32>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Number of CPUs.
    pub cpus: Option<usize>,
    /// Days by which the clock is ahead.
    pub days_ahead: u32,
    /// Variables that differ.
    pub env: BTreeMap<String, String>,
}

impl Variation {
    /// Host name of a varied build, and of others, as they show where they get into results.
    pub const HOST_NAME: [&str; 1] = ["another-machine"];
    /// Words that stand in the environment of a varied build only.
    pub const WORDS: [&str; 5] =
        ["fr_CH", "somebody", "noise in the environment", "xterm-256color", "LD_PRELOAD"];

    /// The usual build.
    pub fn none() -> Self {
        Self::default()
    }

    /// A build in which everything differs that must not matter; on `place`, if there is another
    /// file system to work on.
    pub fn everything(place: Option<PathBuf>) -> Self {
        let env = [
            ("HOME", "/tmp"),
            ("LC_ALL", "C"),
            ("LANGUAGE", "fr_CH:de"),
            ("TERM", "xterm-256color"),
            ("TZ", "<+14>-14"),
            ("USER", "somebody"),
            ("UNRELATED", "noise in the environment"),
        ];
        Self {
            depth: 7,
            place,
            reversed: true,
            copied: true,
            host_name: Some("another-machine".into()),
            user: Some(4321),
            umask: Some(0o077),
            cpus: Some(1),
            days_ahead: 400,
            env: env.map(|(name, value)| (name.into(), value.into())).into(),
        }
    }

    /// True for the usual build.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// Changes the surroundings of a run.
    pub fn apply(&self, spec: &mut Spec) {
        spec.host_name = self.host_name.clone().unwrap_or_else(|| spec.host_name.clone());
        spec.user = self.user.unwrap_or(spec.user);
        spec.umask = self.umask.unwrap_or(spec.umask);
        spec.cpus = self.cpus.or(spec.cpus);
        spec.env.extend(self.env.clone());
        let faketime = spec.root.join(&FAKETIME[1..]);
        if self.days_ahead > 0 && faketime.exists() {
            spec.env.insert("LD_PRELOAD".into(), FAKETIME.into());
            spec.env.insert("FAKETIME".into(), format!("+{}d", self.days_ahead));
            spec.env.insert("NO_FAKE_STAT".into(), "1".into());
        }
    }
}
