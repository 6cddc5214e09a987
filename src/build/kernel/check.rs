//! Whether every line of every fragment holds in the `.config` that came of them.
//!
//! `make allnoconfig` drops silently what an option's dependencies forbid or what this kernel has
//! never heard of; a hardening option that is quietly off is the worst kind of on.

use std::collections::BTreeMap;
use std::fmt;

use super::fragments::Line;

/// A line that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// What was asked for, and where.
    pub line: Line,
    /// What stands in the `.config`; `n` for nothing.
    pub found: String,
    /// Where this kernel defines the option and what it depends on; empty if it does not.
    pub definitions: Vec<String>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}: ", self.line)?;
        match self.definitions.is_empty() && self.found == "n" {
            true => write!(f, "this kernel has no such option"),
            false => write!(f, "it is {}; {}", self.found, self.definitions.join("; ")),
        }
    }
}

/// The lines that do not hold in `config`. `definitions` has lines `NAME<tab>text`.
pub fn unmet(lines: &[Line], config: &str, definitions: &str) -> Vec<Unmet> {
    let set = values(config);
    let found = |name: &str| set.get(name).copied().unwrap_or("n").to_string();
    let broken = lines.iter().filter(|line| found(&line.name) != line.value);
    let unmet = broken.map(|line| Unmet {
        line: line.clone(),
        found: found(&line.name),
        definitions: of(&line.name, definitions),
    });
    // An option that must be off and that does not exist is off: `found` is then `n` as well.
    unmet.collect()
}

/// Options of a `.config` and their values.
pub(super) fn values(config: &str) -> BTreeMap<&str, &str> {
    config
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|l| l.split_once('='))
        .collect()
}

fn of(name: &str, definitions: &str) -> Vec<String> {
    let wanted = name.trim_start_matches("CONFIG_");
    let lines = definitions.lines().filter_map(|line| line.split_once('\t'));
    lines.filter(|(name, _)| *name == wanted).map(|(_, text)| text.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, value: &str) -> Line {
        Line { name: name.into(), value: value.into(), place: "f.config:1".into() }
    }

    #[test]
    fn every_line_is_held_against_the_result() {
        let config = "# a comment\nCONFIG_A=y\nCONFIG_S=\"a=b\"\n# CONFIG_OFF is not set\n";
        let definitions = "B\tdefined in init/Kconfig:7\nB\tdepends on A && NET\n";
        let wanted = [
            line("CONFIG_A", "y"),
            line("CONFIG_S", "\"a=b\""),
            line("CONFIG_OFF", "n"),
            line("CONFIG_NEVER_HEARD_OF", "n"),
            line("CONFIG_B", "y"),
            line("CONFIG_A", "n"),
            line("CONFIG_NEW", "y"),
        ];
        let unmet: Vec<_> =
            unmet(&wanted, config, definitions).iter().map(Unmet::to_string).collect();
        assert_eq!(
            unmet,
            [
                "  CONFIG_B=y (f.config:1): it is n; defined in init/Kconfig:7; depends on A && NET",
                "  CONFIG_A=n (f.config:1): it is y; ",
                "  CONFIG_NEW=y (f.config:1): this kernel has no such option",
            ]
        );
    }
}
