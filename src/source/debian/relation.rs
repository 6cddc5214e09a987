//! Relations between packages (Debian policy chapter 7).

use std::cmp::Ordering;
use std::fmt;

use anyhow::{Context as _, Result};

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// One alternative: `python3:any (>= 3.11~)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Name of a package, real or virtual.
    pub name: &'a str,
    /// What stands behind a colon: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    /// What its version must be.
    pub version: Option<(Operator, &'a str)>,
}

/// Order of two versions (policy 5.6.12); what is no version compares by its bytes.
pub fn compare(a: &str, b: &str) -> Ordering {
    let parse = |text: &str| text.parse::<debversion::Version>().ok();
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

impl Relation<'_> {
    /// Whether `version` is one that this asks for.
    pub fn accepts(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else { return true };
        let order = compare(version, wanted);
        match operator {
            Operator::Earlier => order.is_lt(),
            Operator::EarlierOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::LaterOrEqual => order.is_ge(),
            Operator::Later => order.is_gt(),
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.qualifier.iter().try_for_each(|qualifier| write!(f, ":{qualifier}"))?;
        let Some((operator, version)) = self.version else { return Ok(()) };
        write!(f, " ({} {version})", symbol(operator))
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Earlier => "<<",
        Operator::EarlierOrEqual => "<=",
        Operator::Equal => "=",
        Operator::LaterOrEqual => ">=",
        Operator::Later => ">>",
    }
}

/// The groups of a field, all of which must hold; of the alternatives in a group one must.
///
/// # Errors
/// The field is not of that form.
pub fn groups(field: &str) -> Result<Vec<Vec<Relation<'_>>>> {
    let filled = field.split(',').map(str::trim).filter(|group| !group.is_empty());
    filled.map(|group| group.split('|').map(relation).collect()).collect()
}

fn relation(text: &str) -> Result<Relation<'_>> {
    parse(text.trim()).with_context(|| format!("`{}` is no relation to a package", text.trim()))
}

fn parse(text: &str) -> Option<Relation<'_>> {
    let end = text.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (name, qualifier) = match name.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (name, None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    let version = match rest.trim() {
        "" => None,
        rest => Some(constraint(rest.strip_prefix('(')?.strip_suffix(')')?.trim())?),
    };
    let sound = !name.is_empty() && name.chars().all(is_name);
    sound.then_some(Relation { name, qualifier, version })
}

fn constraint(text: &str) -> Option<(Operator, &str)> {
    let operators = [
        ("<<", Operator::Earlier),
        ("<=", Operator::EarlierOrEqual),
        (">=", Operator::LaterOrEqual),
        (">>", Operator::Later),
        ("=", Operator::Equal),
    ];
    let (rest, operator) = operators
        .into_iter()
        .find_map(|(symbol, operator)| Some((text.strip_prefix(symbol)?, operator)))?;
    Some((operator, rest.trim())).filter(|(_, version)| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_alternatives_read_and_show_the_same() {
        let field = "libc6 (>= 2.36), python3:any (<< 3.14) | python3:native, a(=1),\n b";
        let shown: Vec<_> = groups(field)
            .expect("sound")
            .iter()
            .map(|group| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "))
            .collect();
        let expected =
            ["libc6 (>= 2.36)", "python3:any (<< 3.14) | python3:native", "a (= 1)", "b"];
        assert_eq!(shown, expected);
        assert_eq!(groups("").expect("empty"), Vec::<Vec<_>>::new());
        for wrong in ["a |", "a (1)", "a (>= )", "(>= 1)", "a b", "a (>= 1", "ä"] {
            assert!(groups(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_order_as_dpkg_orders_them() {
        // dpkg --compare-versions
        let ascending = [
            "0~~",
            "0~a",
            "0",
            "0a",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0+x-1",
            "1:0",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_constraint_accepts_what_it_says() {
        let accepts = |text: &str, version: &str| relation(text).expect("sound").accepts(version);
        assert!(accepts("a", "1") && accepts("a (= 1.0-1)", "1.0-1"));
        assert!(
            accepts("a (>= 1)", "1") && !accepts("a (>> 1)", "1") && accepts("a (>> 1)", "1.1")
        );
        assert!(accepts("a (<= 1)", "1") && !accepts("a (<< 1)", "1") && accepts("a (<< 1)", "1~"));
        assert!(!accepts("a (= 1)", "1:1"));
    }
}
