//! A repository by its files: a directory of this machine, or the same behind a web server that
//! knows nothing of Git (gitprotocol-http, «Dumb Clients»; gitrepository-layout).

use anyhow::{Context as _, Result, bail, ensure};

use super::objects::{Objects, Pack};
use crate::digest::Sha1;
use crate::store::entries;
use crate::store::http::Client;
use crate::store::location::Location;

/// Most bytes of a list of references, and of a pack.
const MAX_LIST: u64 = 64 << 20;
const MAX_PACK: u64 = 4 << 30;

/// A repository whose files can be read.
pub(super) struct Files<'w> {
    client: &'w Client,
    base: Location,
}

impl<'w> Files<'w> {
    /// The repository at `place`: that directory, its `.git`, or its neighbour of that ending.
    pub(super) fn at(client: &'w Client, place: &Location) -> Result<Self> {
        let suffixed = Location::parse(&format!("{}.git", address(place)))?;
        for base in [place.clone(), place.join(".git"), suffixed] {
            // A file that is no HEAD, or a directory of that name, is no repository either.
            if client.read(&base.join("HEAD"), MAX_LIST).is_ok_and(|head| head.is_some()) {
                return Ok(Self { client, base });
            }
        }
        bail!("there is no Git repository at {place}: it has no HEAD, nor has its .git")
    }

    /// The object that the tag or branch `rev` names.
    pub(super) fn resolve(&self, rev: &str) -> Result<Sha1> {
        let names = [format!("refs/tags/{rev}"), format!("refs/heads/{rev}"), rev.to_string()];
        for name in names.iter().filter(|name| name.starts_with("refs/") || *name == "HEAD") {
            if let Some(found) = self.reference(name)? {
                return Ok(found);
            }
        }
        bail!("it has no tag or branch `{rev}`")
    }

    fn reference(&self, name: &str) -> Result<Option<Sha1>> {
        let mut name = name.to_string();
        for _ in 0..5 {
            let alone = self.client.read(&self.base.join(&name), MAX_LIST).ok().flatten();
            let Some(text) = alone else { return self.listed(&name) };
            let text = String::from_utf8_lossy(&text).trim().to_string();
            match text.strip_prefix("ref: ") {
                Some(next) => name = next.to_string(),
                None => return text.parse().map(Some).with_context(|| format!("the file {name}")),
            }
        }
        bail!("the reference {name} leads round in a circle")
    }

    /// What `packed-refs`, or the list for web servers, says of `name`.
    fn listed(&self, name: &str) -> Result<Option<Sha1>> {
        for list in ["packed-refs", "info/refs"] {
            let text = self.client.read(&self.base.join(list), MAX_LIST)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let mut lines = text.lines().filter_map(|line| line.split_once([' ', '\t']));
            if let Some((object, _)) = lines.find(|(_, reference)| *reference == name) {
                return object.parse().map(Some).with_context(|| format!("the file {list}"));
            }
        }
        Ok(None)
    }

    /// All objects.
    pub(super) fn objects(self) -> Result<Objects<'w>> {
        let directory = self.base.join("objects");
        let borrowed = self.client.read(&directory.join("info/alternates"), MAX_LIST);
        ensure!(
            borrowed.is_ok_and(|found| found.is_none_or(|text| text.is_empty())),
            "it borrows objects of another repository (objects/info/alternates); name that one"
        );
        let packs = self.packs(&directory)?.into_iter().map(|name| self.pack(&directory, &name));
        let packs = packs.collect::<Result<_>>()?;
        Ok(Objects { packs, loose: Some((self.client, directory)) })
    }

    /// Names of its packs, without their ending.
    fn packs(&self, objects: &Location) -> Result<Vec<String>> {
        let names: Vec<String> = match objects.join("pack") {
            Location::File(dir) if !dir.is_dir() => Vec::new(),
            Location::File(dir) => {
                let paths = entries::sorted(&dir)?;
                let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
                names.map(str::to_string).collect()
            }
            Location::Http(_) => {
                let list = self.client.read(&objects.join("info/packs"), MAX_LIST)?;
                let list = String::from_utf8_lossy(&list.unwrap_or_default()).into_owned();
                list.lines()
                    .filter_map(|line| line.strip_prefix("P "))
                    .map(str::to_string)
                    .collect()
            }
        };
        let packs = names.iter().filter_map(|name| name.strip_suffix(".pack"));
        let sound = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        Ok(packs.filter(sound).map(str::to_string).collect())
    }

    fn pack(&self, objects: &Location, name: &str) -> Result<Pack> {
        let read = |ending: &str| {
            let place = objects.join(&format!("pack/{name}.{ending}"));
            self.client.read(&place, MAX_PACK)?.with_context(|| format!("there is no {place}"))
        };
        Pack::indexed(read("pack")?, &read("idx")?).with_context(|| format!("the pack {name}"))
    }
}

fn address(place: &Location) -> String {
    match place {
        Location::Http(address) => address.clone(),
        Location::File(path) => path.display().to_string(),
    }
}
