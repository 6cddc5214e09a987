//! Which module needs which, and in what order they are loaded (kmod `tools/depmod.c`).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::Module;

/// Modules in the order of their positions; of equal ones as they came.
pub(super) fn sorted(mut modules: Vec<(usize, Module)>) -> Vec<Module> {
    modules.sort_by_key(|(position, _)| *position);
    modules.into_iter().map(|(_, module)| module).collect()
}

/// Owners of all symbols, by position; of two the later.
pub(super) fn owners(modules: &[Module]) -> BTreeMap<&str, usize> {
    let mut owners = BTreeMap::new();
    for (index, module) in modules.iter().enumerate() {
        owners.extend(module.offers.iter().map(|symbol| (symbol.as_str(), index)));
    }
    owners
}

/// Fills in what each of `modules` depends on.
///
/// # Errors
/// Modules depend on each other in a circle.
pub(super) fn resolve(mut modules: Vec<Module>) -> Result<Vec<Module>> {
    let owners = owners(&modules);
    let mut direct: Vec<Vec<usize>> = Vec::new();
    for module in &modules {
        let mut needed = Vec::new();
        for owner in module.needs.iter().filter_map(|symbol| owners.get(symbol.as_str())) {
            if !needed.contains(owner) {
                needed.push(*owner);
            }
        }
        direct.push(needed);
    }
    let ranks = ranks(&direct);
    for (index, module) in modules.iter_mut().enumerate() {
        let mut all: Vec<_> = below(&direct, index).into_iter().collect();
        ensure!(!all.contains(&index), "the module {} depends on itself", module.name);
        all.sort_by_key(|other| ranks[*other]);
        module.all = all;
        module.direct = direct[index].clone();
    }
    Ok(modules)
}

/// Everything that the module at `index` depends on.
fn below(direct: &[Vec<usize>], index: usize) -> BTreeSet<usize> {
    let (mut open, mut found) = (direct[index].clone(), BTreeSet::new());
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(&direct[next]);
        }
    }
    found
}

/// A place for each module: what nobody uses first, then what only those use, the last found first.
fn ranks(direct: &[Vec<usize>]) -> Vec<usize> {
    let mut users = vec![0_usize; direct.len()];
    direct.iter().flatten().for_each(|used| users[*used] += 1);
    let unused = users.iter().enumerate().filter(|(_, users)| **users == 0);
    let mut roots: Vec<_> = unused.map(|(index, _)| index).collect();
    let (mut ranks, mut next) = (vec![usize::MAX; direct.len()], 0);
    while let Some(index) = roots.pop() {
        ranks[index] = next;
        next += 1;
        for used in &direct[index] {
            users[*used] -= 1;
            if users[*used] == 0 {
                roots.push(*used);
            }
        }
    }
    ranks
}

/// Positions of the modules called as `keep` says, and of all that these need, soft dependencies
/// included.
///
/// # Errors
/// There is no module of a name.
pub(super) fn kept(modules: &[Module], keep: &[String]) -> Result<BTreeSet<usize>> {
    let find = |name: &str| {
        let name = name.replace('-', "_");
        modules.iter().position(|module| module.name == name)
    };
    let mut open = Vec::new();
    for name in keep {
        open.push(find(name).with_context(|| format!("there is no module `{name}`"))?);
    }
    let mut kept = BTreeSet::new();
    while let Some(index) = open.pop() {
        if kept.insert(index) {
            open.extend(&modules[index].all);
            let soft = modules[index].values("softdep").flat_map(str::split_whitespace);
            open.extend(soft.filter_map(find)); // what is built in is no module
        }
    }
    Ok(kept)
}
