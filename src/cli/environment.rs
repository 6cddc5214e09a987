//! The only reader of environment variables. What is empty counts as unset.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::sandbox::host::Host;

/// What the environment says; nothing of it reaches a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// Directory of the store: `GUESTSMITH_STORE`, else `guestsmith` in `XDG_CACHE_HOME`, else in
    /// `HOME/.cache` (XDG Base Directory Specification 0.8).
    pub(super) store: Option<PathBuf>,
    /// The configuration file: `guestsmith/config.toml` in `XDG_CONFIG_HOME`, else in
    /// `HOME/.config`.
    pub(super) config: Option<PathBuf>,
    /// Mirrors in `GUESTSMITH_MIRROR`, separated by white space.
    pub(super) mirrors: Vec<String>,
    /// False when `NO_COLOR` is set (<https://no-color.org>) or the terminal is `dumb`.
    pub(super) color: bool,
    /// Where host tools are found, and what they may see.
    pub(super) host: Host,
}

/// Variables that host tools get: where a Rust toolchain keeps its things, and how the network is
/// reached. None of them shapes an output.
const FOR_TOOLS: &[&str] = &[
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

impl Environment {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub(super) fn read() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| get(name).filter(|value| !value.is_empty());
        // The specification: a relative path in these variables is invalid and must be ignored.
        let base = |variable, default| {
            let xdg = set(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            xdg.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(default)))
        };
        let cache = base("XDG_CACHE_HOME", ".cache");
        let config = base("XDG_CONFIG_HOME", ".config");
        let variables = FOR_TOOLS.iter().filter_map(|name| Some(((*name).into(), set(name)?)));
        let path = set("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let path = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
        let host = Host { path, variables: variables.collect() };
        let mirrors = set("GUESTSMITH_MIRROR").unwrap_or_default();
        Self {
            store: set("GUESTSMITH_STORE")
                .map(PathBuf::from)
                .or_else(|| cache.map(|cache| cache.join("guestsmith"))),
            config: config.map(|config| config.join("guestsmith/config.toml")),
            mirrors: mirrors.to_string_lossy().split_whitespace().map(str::to_string).collect(),
            color: set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
            host,
        }
    }
}

/// Seconds since 1970 by the clock of this machine: only to judge whether what an archive has signed
/// is still to be used. No output holds it.
#[expect(clippy::disallowed_methods, reason = "a signature is judged by the time it is checked at")]
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// CPUs that this process may use: how many threads work, which changes no output.
pub(super) fn threads() -> u32 {
    let known = std::thread::available_parallelism().ok();
    known.and_then(|count| u32::try_from(count.get()).ok()).unwrap_or(1)
}

/// This program, by size and time of its file: another build of it may give other outputs. No
/// output holds it.
pub(super) fn executable() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::env::current_exe().and_then(std::fs::metadata);
    found.map_or_else(
        |_| String::new(),
        |file| format!("{} {}.{}", file.len(), file.mtime(), file.mtime_nsec()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Environment {
        Environment::of(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_store_is_the_most_specific_directory() {
        let home = ("HOME", "/home/jane");
        let xdg = ("XDG_CACHE_HOME", "/cache");
        let relative = ("XDG_CACHE_HOME", "cache");
        let own = ("GUESTSMITH_STORE", "/store");
        let store = |variables: &[_]| of(variables).store;
        assert_eq!(store(&[home]), Some("/home/jane/.cache/guestsmith".into()));
        assert_eq!(store(&[home, relative]), Some("/home/jane/.cache/guestsmith".into()));
        assert_eq!(store(&[home, xdg]), Some("/cache/guestsmith".into()));
        assert_eq!(store(&[home, xdg, own]), Some("/store".into()));
        assert_eq!(store(&[home, xdg, ("GUESTSMITH_STORE", "")]), Some("/cache/guestsmith".into()));
        assert_eq!(store(&[]), None);
    }

    #[test]
    fn the_configuration_is_the_users() {
        let config = |variables: &[_]| of(variables).config;
        let (home, xdg) = (("HOME", "/home/jane"), ("XDG_CONFIG_HOME", "/etc/jane"));
        assert_eq!(config(&[home]), Some("/home/jane/.config/guestsmith/config.toml".into()));
        assert_eq!(config(&[home, xdg]), Some("/etc/jane/guestsmith/config.toml".into()));
        assert_eq!(config(&[]), None);
    }

    #[test]
    fn tools_are_looked_for_in_absolute_directories_only() {
        let host = of(&[("PATH", "/a:.:b:/c"), ("CARGO_HOME", "/k"), ("EDITOR", "vi")]).host;
        assert_eq!(host.path, [PathBuf::from("/a"), "/c".into()]);
        assert_eq!(host.variables.keys().collect::<Vec<_>>(), ["CARGO_HOME"]);
    }

    #[test]
    fn mirrors_and_color() {
        let mirrors = of(&[("GUESTSMITH_MIRROR", " http://a/debian\nhttp://b/debian ")]).mirrors;
        assert_eq!(mirrors, ["http://a/debian", "http://b/debian"]);
        assert!(of(&[("NO_COLOR", ""), ("TERM", "xterm")]).color);
        assert!(!of(&[("NO_COLOR", "1")]).color);
        assert!(!of(&[("TERM", "dumb")]).color);
    }
}
