//! Units of systemd: the links of `systemctl enable` and `systemctl mask` (systemd.unit(5), section
//! `[Install]`).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::super::tree::Tree;
use super::{link, text};

/// Where links of the image's own go.
const OWN: &str = "etc/systemd/system";
/// Where units are looked for, in order.
const PLACES: &[&str] = &[OWN, "usr/local/lib/systemd/system", "usr/lib/systemd/system"];
/// Keys of `[Install]` that name units which are to draw this one in, and the ending of the
/// directory that links go to.
const DRAWN_IN_BY: &[(&str, &str)] =
    &[("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];

/// Enables `unit` with all that its `Also=` names.
///
/// # Errors
/// There is no such unit, or it cannot be enabled.
pub fn enable(tree: &mut Tree, unit: &str) -> Result<()> {
    let (mut open, mut done) = (vec![unit.to_string()], BTreeSet::new());
    while let Some(unit) = open.pop() {
        if done.insert(unit.clone()) {
            open.extend(one(tree, &unit).with_context(|| format!("cannot enable {unit}"))?);
        }
    }
    Ok(())
}

/// Masks `unit`: nothing can start it.
///
/// # Errors
/// A file stands where the link must.
pub fn mask(tree: &mut Tree, unit: &str) -> Result<()> {
    let path = format!("{OWN}/{unit}");
    ensure!(tree.get(&path).is_none(), "cannot mask {unit}: there is a file /{path}");
    link(tree, &path, "/dev/null")
}

/// Enables one unit and gives the units that go with it.
fn one(tree: &mut Tree, unit: &str) -> Result<Vec<String>> {
    let file = template(unit)
        .map_or_else(|| unit.to_string(), |(prefix, _, kind)| format!("{prefix}@.{kind}"));
    let place = PLACES.iter().map(|place| format!("{place}/{file}"));
    let place = place.into_iter().find(|path| tree.file(path).is_ok());
    let place = place.with_context(|| format!("there is no unit {file} in the image"))?;
    let install = install(&text(tree, &place)?.unwrap_or_default());
    ensure!(!install.is_empty(), "it has no section [Install]");
    let of = |key: &'static str| install.iter().filter(move |(k, _)| k == key);
    let named = match (template(unit), of("DefaultInstance").next_back()) {
        (Some((prefix, "", kind)), Some((_, instance))) => format!("{prefix}@{instance}.{kind}"),
        (Some((_, "", _)), None) => {
            anyhow::bail!("it is a template without a default: name an instance")
        }
        _ => unit.to_string(),
    };
    let instance = template(&named).map_or("", |(_, instance, _)| instance).to_string();
    let target = format!("/{place}");
    for (_, alias) in of("Alias") {
        let alias = specified(alias, &instance)?;
        if alias != named {
            link(tree, &format!("{OWN}/{alias}"), &target)?;
        }
    }
    for (key, ending) in DRAWN_IN_BY {
        for (_, other) in of(key) {
            let other = specified(other, &instance)?;
            link(tree, &format!("{OWN}/{other}.{ending}/{named}"), &target)?;
        }
    }
    Ok(of("Also").map(|(_, other)| other.clone()).collect())
}

/// Name, instance and kind of a unit that has an `@`.
fn template(unit: &str) -> Option<(&str, &str, &str)> {
    let (prefix, rest) = unit.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    Some((prefix, instance, kind))
}

/// Keys and words of the section `[Install]`, in order; an empty value takes back what came before.
fn install(text: &str) -> Vec<(String, String)> {
    let (mut found, mut inside) = (Vec::<(String, String)>::new(), false);
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside)
            && !line.starts_with(['#', ';'])
        {
            let key = key.trim();
            if value.trim().is_empty() {
                found.retain(|(known, _)| known != key);
            }
            let words = value.split_whitespace();
            found.extend(words.map(|word| (key.to_string(), word.to_string())));
        }
    }
    found
}

/// A name in which `%i` stands for the instance; other specifiers depend on the running system.
fn specified(name: &str, instance: &str) -> Result<String> {
    let name = name.replace("%i", instance);
    ensure!(!name.contains('%'), "`{name}` has a specifier other than %i");
    Ok(name)
}
