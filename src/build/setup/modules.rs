//! What modules of the kernel depend on and which devices they drive: what `depmod` writes, byte for
//! byte but for the order of lines in `modules.symbols`, which has none there.

mod depends;
mod files;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use super::super::codec;
use super::super::tree::{Kind, Tree};
use super::put;
use crate::format::deb::Compression;
use crate::format::elf::Elf;
use depends::sorted;

/// Where modules are, by the version of their kernel.
const MODULES: &str = "usr/lib/modules";
/// Most bytes that one module may unpack to.
const LIMIT: u64 = 256 << 20;

/// What a module calls the entry of a symbol that it offers to others
/// (Linux `include/linux/export.h`).
const EXPORT: &str = "__ksymtab_";

/// A module.
#[derive(Debug, Clone, Default)]
struct Module {
    /// Path below the kernel's directory: `kernel/fs/fuse/fuse.ko.xz`.
    path: String,
    /// Name by which it is loaded: `fuse`.
    name: String,
    /// Key and value of its section `.modinfo`, in order.
    info: Vec<(String, String)>,
    /// Symbols that it offers.
    offers: Vec<String>,
    /// Symbols that it needs, in the order of its symbol table.
    needs: Vec<String>,
    /// Positions of the modules that it needs itself.
    direct: Vec<usize>,
    /// Positions of all modules that must be there before it, in the order of `modules.dep`.
    all: Vec<usize>,
}

impl Module {
    /// Values of `key` in the order of the section.
    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.info.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// Writes the files for every kernel in the tree. Where `keep` names modules, others that these do
/// not need are taken out first.
///
/// # Errors
/// There are no modules, one is broken, or `keep` names one that is not there.
pub fn write(tree: &mut Tree, keep: &[String]) -> Result<()> {
    let place = tree.resolve(MODULES)?;
    let prefix = format!("{place}/");
    let below = tree.below(&place).filter(|(_, inode)| inode.kind == Kind::Directory);
    let kernels = below.filter_map(|(path, _)| path.strip_prefix(&prefix));
    let kernels: Vec<_> =
        kernels.filter(|name| !name.contains('/')).map(|name| format!("{place}/{name}")).collect();
    ensure!(!kernels.is_empty(), "there are no modules in /{MODULES}");
    kernels
        .iter()
        .try_for_each(|kernel| of_kernel(tree, kernel, keep).with_context(|| format!("/{kernel}")))
}

fn of_kernel(tree: &mut Tree, kernel: &str, keep: &[String]) -> Result<()> {
    let mut modules = depends::resolve(read(tree, kernel)?)?;
    if !keep.is_empty() {
        let kept = depends::kept(&modules, keep)?;
        let gone = modules.iter().enumerate().filter(|(index, _)| !kept.contains(index));
        let gone: BTreeSet<_> = gone.map(|(_, m)| format!("{kernel}/{}", m.path)).collect();
        tree.retain(|path, _| !gone.contains(path));
        modules = depends::resolve(read(tree, kernel)?)?;
    }
    for (name, contents) in files::all(tree, kernel, &modules)? {
        put(tree, &format!("{kernel}/{name}"), contents, 0o644)?;
    }
    Ok(())
}

/// Modules of one kernel, in the order of `modules.order`; what does not stand there comes last, by
/// path.
fn read(tree: &Tree, kernel: &str) -> Result<Vec<Module>> {
    let prefix = format!("{kernel}/");
    let order = super::text(tree, &format!("{kernel}/modules.order"))?.unwrap_or_default();
    let order: Vec<_> = order.lines().collect();
    let mut modules = Vec::new();
    for (path, inode) in tree.below(kernel) {
        let Some(bytes) = inode.contents() else { continue };
        let Some((stem, compression)) = module_path(path) else { continue };
        let bytes = codec::decompress(compression, bytes, LIMIT);
        let module =
            bytes.and_then(|bytes| module(path, &bytes)).with_context(|| path.to_string())?;
        let below = stem.strip_prefix(&prefix).unwrap_or(stem);
        let position = order.iter().position(|line| *line == below).unwrap_or(order.len());
        let path = path.strip_prefix(&prefix).unwrap_or(path).to_string();
        modules.push((position, Module { path, ..module }));
    }
    Ok(sorted(modules))
}

/// Path without the ending of its compression, and the compression.
fn module_path(path: &str) -> Option<(&str, Compression)> {
    let forms = [("", Compression::None), (".xz", Compression::Xz), (".zst", Compression::Zstd)];
    let forms = [&forms[..], &[(".gz", Compression::Gzip)]].concat();
    let of = |(ending, form): (&str, Compression)| Some((path.strip_suffix(ending)?, form));
    forms.into_iter().filter_map(of).find(|(stem, _)| stem.ends_with(".ko"))
}

/// Name of the module at `path` (kmod `path_to_modname`).
fn name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    base.split('.').next().unwrap_or(base).replace('-', "_")
}

fn module(path: &str, bytes: &[u8]) -> Result<Module> {
    let elf = Elf::parse(bytes)?;
    let texts = |section: &str| -> Result<Vec<String>> {
        let bytes = elf.section(section)?.unwrap_or_default();
        let texts = bytes.split(|byte| *byte == 0).filter(|text| !text.is_empty());
        Ok(texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    };
    let pair = |text: String| {
        let (key, value) = text.split_once('=')?;
        Some((key.to_string(), value.to_string()))
    };
    let symbols = elf.symbols()?;
    let defined = symbols.iter().filter(|symbol| symbol.defined);
    let used = symbols.iter().filter(|symbol| !symbol.defined);
    Ok(Module {
        name: name(path),
        info: texts(".modinfo")?.into_iter().filter_map(pair).collect(),
        offers: defined.filter_map(|s| s.name.strip_prefix(EXPORT)).map(str::to_string).collect(),
        needs: used.map(|symbol| symbol.name.to_string()).collect(),
        ..Module::default()
    })
}
