//! A commit of a Git repository: the lock pins commit and tree by Git's own names, and the archive
//! of the tree by SHA-256, so that whoever serves it need not be trusted, nor SHA-1 alone.
//!
//! Repositories are read here, without Git: over smart HTTP (protocol 2, one commit deep), over dumb
//! HTTP, or from a directory.

mod files;
mod objects;
mod smart;
mod snapshot;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Resolver, Update, World};
use crate::digest::Sha1;
use crate::lock::{Commit, Lock};
use crate::recipe::{GitSource, Recipe, Source};
use crate::store::Expected;
use crate::store::location::Location;
use objects::Objects;

/// A repository that can be asked for names and commits.
enum Repository<'w> {
    /// Its files, of this machine or of a web server.
    Files(files::Files<'w>),
    /// A server that packs what it is asked for.
    Smart(smart::Server<'w>),
}

impl<'w> Repository<'w> {
    fn open(world: &World<'w>, url: &str) -> Result<Self> {
        let place = Location::parse(&world.mirrors.rewritten(url))?;
        if let Location::Http(address) = &place
            && let Some(server) = smart::Server::at(world.client, address)?
        {
            return Ok(Self::Smart(server));
        }
        Ok(Self::Files(files::Files::at(world.client, &place)?))
    }

    /// The object that `rev` names: a commit, or a tag of one.
    fn resolve(&self, rev: &str) -> Result<Sha1> {
        if let Ok(name) = rev.parse() {
            return Ok(name);
        }
        match self {
            Self::Files(files) => files.resolve(rev),
            Self::Smart(server) => server.resolve(rev),
        }
    }

    /// `commit` with its tree.
    fn objects(self, commit: &Sha1) -> Result<Objects<'w>> {
        match self {
            Self::Files(files) => files.objects(),
            Self::Smart(server) => server.fetch(commit),
        }
    }
}

/// Locks the commit, or keeps the one locked before.
///
/// # Errors
/// The repository cannot be read, or has no such commit.
pub fn lock(r: &Resolver<'_>, name: &str, source: &Source, lock: &mut Lock) -> Result<()> {
    let Source::Git(git) = source else { return Ok(()) };
    let fresh = match r.update {
        Update::Nothing | Update::Package(_) => false,
        Update::Source(updated) => updated == name,
        Update::Everything => true,
    };
    let known = r.before.and_then(|before| before.commits.iter().find(|c| c.source == name));
    let named = |commit: &&Commit| git.rev.parse::<Sha1>().is_err() || git.rev == commit.commit;
    let kept = known.filter(|_| !fresh).filter(named);
    let rev = kept.map_or(git.rev.as_str(), |commit| commit.commit.as_str());
    let (commit, archive) = take(r.world, git, rev, name)?;
    if let Some(before) = kept.filter(|before| **before != commit) {
        let (found, tree) = (&commit.tree, &before.tree);
        bail!("commit {} was locked with the tree {tree}, it has {found}", before.commit);
    }
    r.world.store.put(&archive)?;
    lock.commits.push(commit);
    Ok(())
}

/// Puts the archive of every locked commit into the store that is not there yet.
///
/// # Errors
/// A repository cannot be read, or gives another tree than was locked.
pub fn fetch(world: &World<'_>, recipe: &Recipe, lock: &Lock) -> Result<()> {
    for commit in &lock.commits {
        let wanted = Expected { sha256: commit.sha256, size: commit.size };
        if world.store.holds(&wanted) {
            continue;
        }
        let name = &commit.source;
        let Some(Source::Git(git)) = recipe.sources.get(name) else {
            bail!("the recipe does not say where the commit of `{name}` is");
        };
        let taken = take(world, git, &commit.commit, name);
        let (found, archive) =
            taken.with_context(|| format!("cannot fetch the source `{name}`"))?;
        ensure!(
            found == *commit,
            "{} gives commit {} the tree {} (SHA-256 {}), the lock has {} ({})",
            git.url,
            found.commit,
            found.tree,
            found.sha256,
            commit.tree,
            commit.sha256
        );
        world.store.put(&archive)?;
    }
    Ok(())
}

/// Commit and archive of what `rev` names; every object has been hashed on the way.
fn take(world: &World<'_>, git: &GitSource, rev: &str, source: &str) -> Result<(Commit, Vec<u8>)> {
    let context = || format!("the repository {}", git.url);
    let repository = Repository::open(world, &git.url).with_context(context)?;
    let named = repository.resolve(rev).with_context(context)?;
    let objects = repository.objects(&named).with_context(context)?;
    let (commit, tree) = objects.commit(&named).with_context(context)?;
    let top = format!("{source}-{commit}");
    let archive = snapshot::archive(&objects, &tree, &top).with_context(context)?;
    let Expected { sha256, size } = Expected::of(&archive);
    let (commit, tree) = (commit.to_string(), tree.to_string());
    Ok((Commit { source: source.into(), commit, tree, size, sha256 }, archive))
}
