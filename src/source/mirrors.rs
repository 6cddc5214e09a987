//! Where archives are: mirrors in the order in which they are tried, and archives of what mirrors no
//! longer have.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::debian::control;
use super::debian::date::Time;
use crate::store::location::Location;

/// The archive that keeps every release of Debian, used where nothing else is configured, and only
/// for locked files that every mirror has lost. `{archive}` stands for `debian` or
/// `debian-security`, `{date}` for a time as in `20261121T091544Z`.
pub const DEBIAN_SNAPSHOTS: &str = "https://snapshot.debian.org/archive/{archive}/{date}";

/// Seconds in which a release appears among the snapshots.
const SNAPSHOT_DELAY: u64 = 86_400;

/// The configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Mirrors, in order.
    pub mirrors: Vec<String>,
    /// Archives of old releases, in order, with `{archive}` and `{date}`.
    pub archives: Option<Vec<String>>,
    /// File of the public keys to trust in place of Debian's.
    pub keyring: Option<String>,
    /// Whether mirrors are taken from the system's apt where none are named.
    pub apt: bool,
    /// Beginnings of addresses, and what stands for them here: where sources of other kinds are
    /// mirrored. What they give is held against the lock all the same.
    pub rewrite: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            archives: None,
            keyring: None,
            apt: true,
            rewrite: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The configuration that `text` holds.
    ///
    /// # Errors
    /// It is no TOML of that form.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("it is no configuration of guestsmith")
    }
}

/// Where files of archives are fetched from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    live: Vec<Location>,
    archives: Vec<String>,
    rewrite: BTreeMap<String, String>,
}

impl Mirrors {
    /// The mirrors with those addresses, and archives in the form of [`DEBIAN_SNAPSHOTS`].
    ///
    /// # Errors
    /// An address is none.
    pub fn new(addresses: &[String], archives: &[String]) -> Result<Self> {
        let mut live = Vec::new();
        for address in
            addresses.iter().flat_map(|address| [Some(address.clone()), sibling(address)])
        {
            let location = address.map(|address| Location::parse(&address)).transpose();
            let location = location.context("a mirror's address is wrong")?;
            live.extend(location.filter(|location| !live.contains(location)));
        }
        Ok(Self { live, archives: archives.to_vec(), rewrite: BTreeMap::new() })
    }

    /// The same, with other places for addresses that begin in these ways.
    #[must_use]
    pub fn rewriting(self, rewrite: &BTreeMap<String, String>) -> Self {
        Self { rewrite: rewrite.clone(), ..self }
    }

    /// The address that stands for `address` here: by the longest beginning that is rewritten.
    pub fn rewritten(&self, address: &str) -> String {
        let fits = self.rewrite.iter().filter(|(from, _)| address.starts_with(*from));
        match fits.max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => format!("{to}{}", &address[from.len()..]),
            None => address.to_string(),
        }
    }

    /// True if no mirror is known.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Where the file at `path` of a release of `suite` may be: on the mirrors, those of security
    /// suites first for those suites, last for others.
    pub fn live(&self, suite: &str, path: &str) -> Vec<Location> {
        let security = |place: &Location| place.to_string().ends_with("-security");
        let mut places = self.live.clone();
        places.sort_by_key(|place| security(place) != is_security(suite));
        places.iter().map(|place| place.join(path)).collect()
    }

    /// Where it may be when no mirror has it any more: in the archives, at the time of its release
    /// and a day later, by when it was archived.
    pub fn archived(&self, suite: &str, date: Time, path: &str) -> Vec<Location> {
        let archive = if is_security(suite) { "debian-security" } else { "debian" };
        let dates = [date, Time(date.0 + SNAPSHOT_DELAY)];
        let bases = self.archives.iter().flat_map(|template| {
            dates.map(|date| {
                let date: String = date.to_string().replace(['-', ':'], "");
                template.replace("{archive}", archive).replace("{date}", &date)
            })
        });
        bases.filter_map(|base| Location::parse(&base).ok()).map(|base| base.join(path)).collect()
    }
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security")
}

/// Debian's security archive stands beside the main one on its own servers and on most mirrors.
fn sibling(address: &str) -> Option<String> {
    let address = address.trim_end_matches('/');
    address.ends_with("/debian").then(|| format!("{address}-security"))
}

/// Mirrors of Debian in a source list of apt: its one-line form (sources.list(5)).
pub fn of_one_line_list(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mirrors = lines.filter_map(|line| {
        let rest = line.trim().strip_prefix("deb")?;
        let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let address = rest.split_whitespace().next()?;
        is_of_debian(address, options).then(|| address.to_string())
    });
    mirrors.collect()
}

/// Mirrors of Debian in a source list of apt: its deb822 form.
pub fn of_deb822_list(text: &str) -> Vec<String> {
    let sound = control::stanzas(text).filter_map(Result::ok);
    let enabled = sound.filter(|stanza| {
        let types = stanza.get("Types").unwrap_or_default();
        stanza.get("Enabled") != Some("no") && types.split_whitespace().any(|kind| kind == "deb")
    });
    let mirrors = enabled.flat_map(|stanza| {
        let signed_by = stanza.get("Signed-By").unwrap_or_default();
        let addresses = stanza.get("URIs").unwrap_or_default().split_whitespace();
        let of_debian = addresses.filter(|address| is_of_debian(address, signed_by));
        of_debian.map(str::to_string).collect::<Vec<_>>()
    });
    mirrors.collect()
}

/// A list names archives of others too; they are not asked what they have. Debian's are known by
/// their directory, or by the keys that their entry trusts.
fn is_of_debian(address: &str, options: &str) -> bool {
    let directory = address.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let of_debian = directory == "debian" || directory.starts_with("debian-");
    let reachable = Location::parse(address).is_ok();
    reachable && (of_debian || options.contains("debian-archive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(places: &[Location]) -> Vec<String> {
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mirror_brings_its_security_archive() {
        let mirrors = Mirrors::new(&["http://a/debian/".into(), "/srv/own".into()], &[]);
        let mirrors = mirrors.expect("addresses");
        assert_eq!(
            shown(&mirrors.live("trixie", "x")),
            ["http://a/debian/x", "/srv/own/x", "http://a/debian-security/x"]
        );
        assert_eq!(
            shown(&mirrors.live("trixie-security", "x")),
            ["http://a/debian-security/x", "http://a/debian/x", "/srv/own/x"]
        );
        assert!(Mirrors::new(&["a/debian".into()], &[]).is_err());
        assert!(Mirrors::default().is_empty());
    }

    #[test]
    fn archives_are_asked_for_the_time_of_the_release() {
        let template = "https://s/archive/{archive}/{date}".to_string();
        let mirrors = Mirrors::new(&[], &[template]).expect("addresses");
        let date = Time::of_lock("2026-11-21T09:15:44Z").expect("a time");
        assert_eq!(
            shown(&mirrors.archived("trixie-security", date, "pool/x")),
            [
                "https://s/archive/debian-security/20261121T091544Z/pool/x",
                "https://s/archive/debian-security/20261122T091544Z/pool/x"
            ]
        );
    }

    #[test]
    fn the_lists_of_apt_name_mirrors_of_debian_and_others() {
        let one_line = "# deb http://no/debian sid main\n\
            deb http://a.example/debian trixie main contrib # comment\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://b/x sid main\n\
            deb-src http://src/debian sid main\n\
            deb cdrom:[Debian]/ sid main\n\
            deb https://packages.example/apt stable main\n";
        assert_eq!(of_one_line_list(one_line), ["http://a.example/debian", "http://b/x"]);
        let deb822 = "Types: deb deb-src\nURIs: http://a/debian http://b/debian-security\nSuites: sid\n\
            Components: main\n\nTypes: deb\nURIs: http://c/debian\nEnabled: no\nSuites: sid\n\n\
            Types: deb-src\nURIs: http://d/debian\n\nTypes: deb\nURIs: https://e/node_20.x\n";
        assert_eq!(of_deb822_list(deb822), ["http://a/debian", "http://b/debian-security"]);
    }

    #[test]
    fn the_configuration_is_strict() {
        let config = Config::parse("mirrors = ['http://a/debian']\narchives = []").expect("sound");
        assert_eq!(config.mirrors, ["http://a/debian"]);
        assert_eq!(config.archives, Some(Vec::new()));
        assert!(Config::parse("mirror = 'http://a'").is_err());
    }
}
