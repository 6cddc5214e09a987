//! Rules that types can't say, each with its place and a hint.

mod initrd;
mod machines;
mod setup;
mod text;

use std::collections::BTreeMap;

use super::error::{Origin, Problem, suggest};
use super::node::{Node, Value};
use super::path::Fault;
use super::{Firmware, Kernel, Loader, PackageFile, Recipe, Source, path};

/// Files by which TEEs make an image, as their rows of the table of TEEs call them.
const LOADERS: &[&str] = &["stage3a", "stage3b", "code"];

/// Everything that is wrong with `recipe`, which was read from `tree`.
pub(super) fn check(recipe: &Recipe, tree: &Node) -> Vec<Problem> {
    let mut check = Check { recipe, problems: Vec::new() };
    let root = Place { node: Some(tree), origin: &tree.origin };
    check.holds(&root.key("name"), text::name(&recipe.name));
    check.holds(&root.key("epoch"), super::epoch::parse(&recipe.epoch).map(drop));
    check.sources(&root.key("sources"));
    check.tools(&root.key("tools"));
    check.firmware(&root.key("firmware"));
    check.loaders(&root.key("loaders"));
    check.kernel(&root.key("kernel"));
    initrd::check(&mut check, &root.key("initrd"));
    check.cmdline(&root.key("cmdline"));
    machines::check(&mut check, &root.key("machines"));
    check.problems
}

/// What is wrong with `name` as the name of a recipe.
pub(super) fn name(name: &str) -> Result<(), Fault> {
    text::name(name)
}

/// A node on the way through recipe and tree in step; where the tree has none, its parent's place.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: Option<&'a Node>,
    origin: &'a Origin,
}

impl<'a> Place<'a> {
    fn key(&self, key: &str) -> Self {
        self.descend(self.node.and_then(|node| node.entry(key)).map(|entry| &entry.node))
    }

    fn item(&self, index: usize) -> Self {
        self.descend(self.node.and_then(|node| match &node.value {
            Value::List(items) => items.get(index),
            _ => None,
        }))
    }

    /// The place of the key itself.
    fn name(&self, key: &str) -> Self {
        let entry = self.node.and_then(|node| node.entry(key));
        Self { node: None, origin: entry.map_or(self.origin, |entry| &entry.origin) }
    }

    fn descend(&self, node: Option<&'a Node>) -> Self {
        Self { node, origin: node.map_or(self.origin, |node| &node.origin) }
    }
}

/// The checks so far.
struct Check<'a> {
    recipe: &'a Recipe,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn fail(&mut self, place: &Place<'_>, what: impl Into<String>, hint: &str) {
        self.problems.push(Fault::new(what, hint).at(place.origin));
    }

    fn holds(&mut self, place: &Place<'_>, checked: Result<(), Fault>) {
        self.problems.extend(checked.err().map(|fault| fault.at(place.origin)));
    }

    /// `each` for every text of a list.
    fn texts(
        &mut self,
        place: &Place<'_>,
        list: &[String],
        each: impl Fn(&str) -> Result<(), Fault>,
    ) {
        for (index, item) in list.iter().enumerate() {
            self.holds(&place.item(index), each(item));
        }
    }

    fn names<T>(&mut self, place: &Place<'_>, map: &BTreeMap<String, T>) {
        for name in map.keys() {
            self.holds(&place.name(name), text::name(name));
        }
    }

    fn sources(&mut self, place: &Place<'a>) {
        self.names(place, &self.recipe.sources);
        for (name, source) in &self.recipe.sources {
            self.source(&place.key(name), source);
        }
    }

    fn source(&mut self, place: &Place<'a>, source: &Source) {
        match source {
            Source::Debian(debian) => {
                let place = place.key("debian");
                if debian.suites.is_empty() {
                    self.fail(&place.key("suites"), "no suite is named", "write [trixie]");
                }
                self.texts(&place.key("suites"), &debian.suites, text::suite);
                self.texts(&place.key("components"), &debian.components, text::suite);
            }
            Source::Package(package) => self.package(&place.key("package"), package),
            Source::DebianSource(source) => {
                let place = place.key("debian-source");
                self.holds(&place.key("name"), text::package(&source.name));
                self.debian(&place.key("from"), &source.from);
            }
            Source::Local(local) => self.holds(&place.key("local"), path::relative(local)),
            Source::Git(git) => {
                let place = place.key("git");
                self.holds(&place.key("url"), text::repository(&git.url));
                self.holds(&place.key("rev"), text::revision(&git.rev));
            }
            Source::Archive(archive) => {
                let place = place.key("archive");
                self.holds(&place.key("url"), text::url(&archive.url));
                self.holds(&place.key("sha256"), text::sha256(&archive.sha256));
            }
            Source::Crate(krate) => {
                let place = place.key("crate");
                self.holds(&place.key("name"), text::crate_name(&krate.name));
                self.holds(&place.key("version"), text::crate_version(&krate.version));
            }
            Source::Oci(oci) => self.holds(&place.key("oci").key("image"), text::image(&oci.image)),
        }
    }

    fn package(&mut self, place: &Place<'a>, package: &PackageFile) {
        self.holds(&place.key("name"), text::package(&package.name));
        self.debian(&place.key("from"), &package.from);
        self.holds(&place.key("file"), text::file_pattern(&package.file));
    }

    /// `name` is a source of suites, from which packages come.
    fn debian(&mut self, place: &Place<'_>, name: &str) {
        let known = self.recipe.sources.iter().filter(|(_, s)| matches!(s, Source::Debian(_)));
        let known: Vec<_> = known.map(|(name, _)| name.as_str()).collect();
        match self.recipe.sources.get(name) {
            Some(Source::Debian(_)) => {}
            Some(_) => {
                let hint = format!("packages come from a `debian` source: {}", known.join(", "));
                self.fail(place, format!("the source `{name}` has no packages"), &hint);
            }
            None => self.unknown(place, "source", name, &known),
        }
    }

    /// `name` is a source that holds a tree of files.
    fn tree(&mut self, place: &Place<'_>, name: &str) {
        let known = self.recipe.sources.iter().filter(|(_, s)| !matches!(s, Source::Debian(_)));
        let known: Vec<_> = known.map(|(name, _)| name.as_str()).collect();
        match self.recipe.sources.get(name) {
            Some(Source::Debian(_)) => {
                let hint = "name one of its packages as a source of its own: {debian-source: …}";
                self.fail(place, format!("the source `{name}` is an archive of packages"), hint);
            }
            Some(_) => {}
            None => self.unknown(place, "source", name, &known),
        }
    }

    fn unknown(&mut self, place: &Place<'_>, what: &str, name: &str, known: &[&str]) {
        let hint = suggest(name, known).unwrap_or_else(|| format!("the recipe has no {what}"));
        self.fail(place, format!("there is no {what} `{name}`"), &hint);
    }

    fn tools(&mut self, place: &Place<'a>) {
        if let Some(tools) = &self.recipe.tools {
            self.debian(&place.key("from"), &tools.from);
        }
    }

    fn firmware(&mut self, place: &Place<'a>) {
        self.names(place, &self.recipe.firmware);
        for (name, firmware) in &self.recipe.firmware {
            let place = place.key(name);
            match firmware {
                Firmware::Package(package) => self.package(&place.key("package"), package),
                Firmware::File(file) => {
                    self.holds(&place.key("file"), path::beside_recipe(file));
                }
                Firmware::Edk2(edk2) => {
                    let place = place.key("edk2");
                    self.tree(&place.key("source"), &edk2.source);
                    self.holds(&place.key("platform"), text::platform(&edk2.platform));
                }
            }
        }
    }

    fn loaders(&mut self, place: &Place<'a>) {
        for (name, loader) in &self.recipe.loaders {
            if !LOADERS.contains(&name.as_str()) {
                self.unknown(&place.name(name), "loader", name, LOADERS);
            }
            let place = place.key(name);
            match loader {
                Loader::Package(package) => self.package(&place.key("package"), package),
                Loader::File(file) => self.holds(&place.key("file"), path::beside_recipe(file)),
            }
        }
    }

    fn kernel(&mut self, place: &Place<'a>) {
        match &self.recipe.kernel {
            None => {}
            Some(Kernel::Package(package)) => self.package(&place.key("package"), package),
            Some(Kernel::File(file)) => self.holds(&place.key("file"), path::beside_recipe(file)),
            Some(Kernel::Linux(linux)) => {
                let place = place.key("linux");
                self.tree(&place.key("source"), &linux.source);
                self.texts(&place.key("config"), &linux.config, text::fragment);
            }
        }
    }

    fn cmdline(&mut self, place: &Place<'a>) {
        self.texts(place, &self.recipe.cmdline, text::word);
        let length = self.recipe.cmdline.join(" ").len();
        let limit = text::cmdline_limit(self.recipe.arch);
        if length > limit {
            let what = format!("the command line has {length} bytes, the kernel takes {limit}");
            self.fail(place, what, "it would cut the rest off without a word");
        }
    }
}
