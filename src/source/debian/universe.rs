//! All packages that a source offers for one architecture.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

use super::control::{self, Stanza};
use super::relation::{self, Relation};
use crate::store::Expected;

/// A package as an index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Name.
    pub name: &'a str,
    /// Version.
    pub version: &'a str,
    /// Its own architecture, or `all`.
    pub arch: &'a str,
    /// Name of the source package.
    pub source: &'a str,
    /// Path relative to the mirror.
    pub path: &'a str,
    /// Size and SHA-256.
    pub expected: Expected,
    /// Position of its release among those that were read.
    pub release: usize,
    stanza: Stanza<'a>,
}

impl<'a> Candidate<'a> {
    fn parse(stanza: Stanza<'a>, release: usize) -> Result<Self> {
        let line = stanza.line;
        let bad = |name: &str| format!("the entry at line {line}: field `{name}` is no such thing");
        let (name, version) = (stanza.need("Package")?, stanza.need("Version")?);
        let path = stanza.need("Filename")?;
        if !crate::lock::is_relative(path) {
            bail!("the entry at line {line}: `{path}` leads out of the archive");
        }
        let sha256 = stanza.need("SHA256")?.parse().with_context(|| bad("SHA256"))?;
        let size = stanza.need("Size")?.parse().with_context(|| bad("Size"))?;
        Ok(Self {
            name,
            version,
            arch: stanza.need("Architecture")?,
            source: stanza.get("Source").and_then(|s| s.split(' ').next()).unwrap_or(name),
            path,
            expected: Expected { sha256, size },
            release,
            stanza,
        })
    }

    /// What must be there with it: `Pre-Depends` and `Depends`.
    ///
    /// # Errors
    /// A field is not of its form.
    pub fn depends(&self) -> Result<Vec<Vec<Relation<'a>>>> {
        Ok([self.relations("Pre-Depends")?, self.relations("Depends")?].concat())
    }

    /// What must not be there with it: `Conflicts` and `Breaks`.
    ///
    /// # Errors
    /// A field is not of its form.
    pub fn conflicts(&self) -> Result<Vec<Relation<'a>>> {
        Ok([self.relations("Conflicts")?, self.relations("Breaks")?].concat().concat())
    }

    /// Virtual packages that it stands for.
    ///
    /// # Errors
    /// The field is not of its form.
    pub fn provides(&self) -> Result<Vec<Relation<'a>>> {
        Ok(self.relations("Provides")?.concat())
    }

    fn relations(&self, field: &str) -> Result<Vec<Vec<Relation<'a>>>> {
        let groups = relation::groups(self.stanza.get(field).unwrap_or_default());
        groups.with_context(|| format!("field `{field}` of the package {}", self.name))
    }

    /// Whether a relation with that qualifier may mean it. `:any` asks for a package that lets
    /// itself be used so (<https://wiki.ubuntu.com/MultiarchSpec>); other architectures than
    /// `target` are not part of the universe.
    pub fn answers_to(&self, qualifier: Option<&str>, target: &str) -> bool {
        match qualifier {
            None | Some("native") => true,
            Some("any") => self.stanza.get("Multi-Arch") == Some("allowed"),
            Some(arch) => arch == target,
        }
    }

    /// Rank of its priority (policy 2.5), the most important first.
    pub fn rank(&self) -> usize {
        let order = ["required", "important", "standard", "optional"];
        let priority = self.stanza.get("Priority").unwrap_or_default();
        order.iter().position(|known| *known == priority).unwrap_or(order.len())
    }
}

/// The text of an index.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a, 'o> {
    /// The text.
    pub text: &'a str,
    /// Position of its release.
    pub release: usize,
    /// Names of the packages that count; all where this is none.
    pub only: Option<&'o BTreeSet<String>>,
}

/// The packages of a source: of each name the latest version.
#[derive(Debug, Default)]
pub struct Universe<'a> {
    /// Architecture that it is for.
    pub target: String,
    packages: Vec<Candidate<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    provided: BTreeMap<&'a str, Vec<(usize, Relation<'a>)>>,
}

impl<'a> Universe<'a> {
    /// The packages in `indices`. Of equal versions the one of the earlier index counts.
    ///
    /// # Errors
    /// An index is not of its form; the message names the line.
    pub fn read(target: &str, indices: &[Text<'a, '_>]) -> Result<Self> {
        let mut universe = Self { target: target.into(), ..Self::default() };
        for Text { text, release, only } in indices {
            for stanza in control::stanzas(text) {
                let candidate = Candidate::parse(stanza?, *release)?;
                let taken = only.is_none_or(|only| only.contains(candidate.name));
                if taken && [target, "all"].contains(&candidate.arch) {
                    universe.add(candidate);
                }
            }
        }
        for (id, package) in universe.packages.iter().enumerate() {
            for virtual_package in package.provides()? {
                let providers = universe.provided.entry(virtual_package.name).or_default();
                providers.push((id, virtual_package));
            }
        }
        Ok(universe)
    }

    fn add(&mut self, candidate: Candidate<'a>) {
        match self.by_name.get(candidate.name).copied() {
            None => {
                self.by_name.insert(candidate.name, self.packages.len());
                self.packages.push(candidate);
            }
            Some(id) => {
                let known = &mut self.packages[id];
                if relation::compare(candidate.version, known.version).is_gt() {
                    *known = candidate;
                }
            }
        }
    }

    /// The package with that number.
    pub fn get(&self, id: usize) -> &Candidate<'a> {
        &self.packages[id]
    }

    /// Number of the package of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The nearest name to one that does not exist.
    pub fn nearest(&self, name: &str) -> Option<&'a str> {
        let near = |known: &&&str| strsim::damerau_levenshtein(known, name) <= 2;
        let found = self.by_name.keys().filter(near);
        found.min_by_key(|known| strsim::damerau_levenshtein(known, name)).copied()
    }

    /// What satisfies `relation`, in order of preference: the package of that name, then those that
    /// provide it, the most important first.
    pub fn satisfying(&self, relation: &Relation<'_>) -> Vec<usize> {
        let real = self.find(relation.name).filter(|id| {
            let package = self.get(*id);
            let answers = package.answers_to(relation.qualifier, &self.target);
            answers && relation.accepts(package.version)
        });
        let mut providers = self.providers(relation);
        providers.sort_by_key(|id| (self.get(*id).rank(), self.get(*id).name));
        real.into_iter().chain(providers).collect()
    }

    /// Policy 7.5: an unversioned `Provides` satisfies no versioned relation.
    fn providers(&self, relation: &Relation<'_>) -> Vec<usize> {
        let all = self.provided.get(relation.name).into_iter().flatten();
        let fitting = all.filter(|(id, provided)| {
            let answers = self.get(*id).answers_to(relation.qualifier, &self.target);
            let accepted = match (relation.version, provided.version) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(_), Some((_, version))) => relation.accepts(version),
            };
            answers && accepted && self.get(*id).name != relation.name
        });
        fitting.map(|(id, _)| *id).collect()
    }
}
