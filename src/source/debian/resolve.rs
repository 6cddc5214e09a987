//! Which packages come with those that are asked for.
//!
//! Of alternatives the first that can be had is taken, as apt does: what is chosen already, else the
//! package of that name, else one that provides it. Where an alternative turns out to lack
//! something itself, the next is tried. Recommended packages and those marked essential do not come
//! by themselves: an image is what its recipe says.

use std::collections::{BTreeMap, BTreeSet};

use super::relation::Relation;
use super::universe::Universe;
use crate::lock::{Depth, Want};

/// Levels of dependencies below one package; beyond, an index is not meant well.
const MAX_DEPTH: usize = 500;
/// Attempts to choose a package, in all.
const MAX_STEPS: usize = 1_000_000;

/// The packages that were chosen, by number, with what each needs.
pub type Selection = BTreeMap<usize, BTreeSet<usize>>;

/// Why something cannot be had: what depends on what, from the recipe to the package that lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .chain.join("\n    "))]
pub struct Unsatisfiable {
    chain: Vec<String>,
}

impl Unsatisfiable {
    fn new(why: String) -> Self {
        Self { chain: vec![why] }
    }

    fn below(mut self, what: String) -> Self {
        self.chain.insert(0, what);
        self
    }
}

/// Chooses all of `wants`, then what they depend on.
///
/// # Errors
/// Something is not to be had; the message shows the whole chain that leads to it.
pub fn resolve(universe: &Universe<'_>, wants: &[Want]) -> Result<Selection, Unsatisfiable> {
    let mut solver = Solver { universe, chosen: Selection::new(), trail: Vec::new(), steps: 0 };
    let mut roots = Vec::new();
    for want in wants {
        let asks = || format!("{} asks for {}", want.why, want.name);
        let id = solver.root(&want.name).map_err(|error| error.below(asks()))?;
        roots.push((id, want));
        // What only lends files needn't get along with the rest.
        if want.depth == Depth::All {
            solver.admit(id).map_err(|error| error.below(asks()))?;
        }
    }
    for (id, want) in roots.iter().filter(|(_, want)| want.depth == Depth::All) {
        let asks = || format!("{} asks for {}", want.why, want.name);
        solver.complete(*id, 0).map_err(|error| error.below(asks()))?;
    }
    let mut chosen = solver.chosen;
    for (id, want) in roots {
        chosen.entry(id).or_default();
        if want.depth == Depth::Own {
            own(universe, id, &mut chosen);
        }
    }
    Ok(chosen)
}

/// What a metapackage stands for: packages of its own source, in exactly its own version.
fn own(universe: &Universe<'_>, id: usize, chosen: &mut Selection) {
    let package = universe.get(id);
    for relation in package.depends().unwrap_or_default().into_iter().flatten() {
        let exact = relation.version.is_some_and(|(_, version)| version == package.version);
        let Some(found) = universe.find(relation.name).filter(|_| exact) else { continue };
        let is_own =
            universe.get(found).source == package.source && relation.accepts(package.version);
        if is_own && chosen.entry(id).or_default().insert(found) {
            chosen.entry(found).or_default();
            own(universe, found, chosen);
        }
    }
}

struct Solver<'u, 'a> {
    universe: &'u Universe<'a>,
    chosen: Selection,
    /// Packages in the order in which they were chosen, to take a choice back.
    trail: Vec<usize>,
    steps: usize,
}

impl Solver<'_, '_> {
    fn root(&self, name: &str) -> Result<usize, Unsatisfiable> {
        self.universe.find(name).ok_or_else(|| {
            let by = self.universe.satisfying(&Relation { name, qualifier: None, version: None });
            let by: Vec<_> = by.into_iter().map(|id| self.universe.get(id).name).collect();
            let near = self.universe.nearest(name);
            Unsatisfiable::new(match (by.is_empty(), near) {
                (false, _) => format!("{name} is only provided, by: {}", by.join(", ")),
                (true, Some(near)) => format!("there is no such package; did you mean {near}?"),
                (true, None) => "there is no such package".into(),
            })
        })
    }

    /// Adds a package, unless it conflicts with one that is chosen.
    fn admit(&mut self, id: usize) -> Result<bool, Unsatisfiable> {
        if self.chosen.contains_key(&id) {
            return Ok(false);
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Unsatisfiable::new("there are too many ways to try".into()));
        }
        if let Some(other) = self.conflicting(id)? {
            let (name, other) = (self.universe.get(id).name, self.universe.get(other).name);
            return Err(Unsatisfiable::new(format!("{name} and {other} exclude each other")));
        }
        self.chosen.insert(id, BTreeSet::new());
        self.trail.push(id);
        Ok(true)
    }

    /// A chosen package that excludes `id`, or is excluded by it.
    fn conflicting(&self, id: usize) -> Result<Option<usize>, Unsatisfiable> {
        let malformed = |error: anyhow::Error| Unsatisfiable::new(format!("{error:#}"));
        let excludes = |a: usize, b: usize| {
            let conflicts = self.universe.get(a).conflicts().map_err(malformed)?;
            let mut hits = conflicts.iter().filter(|c| self.universe.satisfying(c).contains(&b));
            Ok(hits.next().is_some())
        };
        for other in self.chosen.keys().copied() {
            if excludes(id, other)? || excludes(other, id)? {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// Chooses what the chosen package `id` depends on.
    fn complete(&mut self, id: usize, depth: usize) -> Result<(), Unsatisfiable> {
        if depth > MAX_DEPTH {
            return Err(Unsatisfiable::new(format!("… and so on, {MAX_DEPTH} levels deep")));
        }
        let package = self.universe.get(id);
        let groups = package.depends();
        for group in groups.map_err(|error| Unsatisfiable::new(format!("{error:#}")))? {
            let found = self.satisfy(&group, depth).map_err(|error| {
                let (name, version) = (package.name, package.version);
                error.below(format!("{name} {version} depends on {}", shown(&group)))
            })?;
            self.chosen.entry(id).or_default().insert(found);
        }
        Ok(())
    }

    /// One of the alternatives, chosen with all that it depends on.
    fn satisfy(&mut self, group: &[Relation<'_>], depth: usize) -> Result<usize, Unsatisfiable> {
        let all: Vec<_> = group.iter().flat_map(|r| self.universe.satisfying(r)).collect();
        if let Some(chosen) = all.iter().find(|id| self.chosen.contains_key(id)) {
            return Ok(*chosen);
        }
        let mut first = None;
        for id in all {
            let before = self.trail.len();
            match self.admit(id).and_then(|_| self.complete(id, depth + 1)) {
                Ok(()) => return Ok(id),
                Err(error) => {
                    self.back_to(before);
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| Unsatisfiable::new(self.lacking(group))))
    }

    /// Takes back all choices since the trail was that long.
    fn back_to(&mut self, length: usize) {
        for id in self.trail.split_off(length) {
            self.chosen.remove(&id);
        }
        let chosen: BTreeSet<_> = self.chosen.keys().copied().collect();
        self.chosen.values_mut().for_each(|needs| needs.retain(|id| chosen.contains(id)));
    }

    fn lacking(&self, group: &[Relation<'_>]) -> String {
        let reasons = group.iter().map(|relation| match self.universe.find(relation.name) {
            Some(id) if !relation.accepts(self.universe.get(id).version) => {
                format!("{} has version {}", relation.name, self.universe.get(id).version)
            }
            Some(_) => format!("{relation} is for another architecture"),
            None => format!("there is no package {}", relation.name),
        });
        reasons.collect::<Vec<_>>().join(", and ")
    }
}

fn shown(group: &[Relation<'_>]) -> String {
    group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}
