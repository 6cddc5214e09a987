//! The files of depmod (kmod `tools/depmod.c`, `depmod_output`).

use anyhow::Result;

use super::super::super::tree::Tree;
use super::super::text;
use super::depends::owners;
use super::{Module, name};
use crate::format::kmod_index::Index;

type File = (&'static str, Vec<u8>);

/// Name and contents of each file.
pub(super) fn all(tree: &Tree, kernel: &str, modules: &[Module]) -> Result<Vec<File>> {
    let builtin = text(tree, &format!("{kernel}/modules.builtin"))?;
    let modinfo = tree.file(&format!("{kernel}/modules.builtin.modinfo"));
    let modinfo = modinfo.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let aliases = "# Aliases extracted from modules themselves.\n";
    let soft = "# Soft dependencies extracted from modules themselves.\n";
    let weak = "# Weak dependencies extracted from modules themselves.\n";
    Ok(vec![
        ("modules.dep", lines(modules.iter().map(|module| dependencies(modules, module)))),
        ("modules.dep.bin", dependency_index(modules)),
        (
            "modules.alias",
            stated(aliases, modules, ("alias", |name, value| format!("alias {value} {name}\n"))),
        ),
        ("modules.alias.bin", alias_index(modules)),
        (
            "modules.softdep",
            stated(soft, modules, ("softdep", |name, value| format!("softdep {name} {value}\n"))),
        ),
        (
            "modules.weakdep",
            stated(weak, modules, ("weakdep", |name, value| format!("weakdep {name} {value}\n"))),
        ),
        ("modules.symbols", symbols(modules)),
        ("modules.symbols.bin", symbol_index(modules)),
        ("modules.builtin.bin", builtin_index(builtin.as_deref().unwrap_or_default())),
        ("modules.builtin.alias.bin", builtin_alias_index(&modinfo)),
        ("modules.devname", device_names(modules)),
    ])
}

fn lines(lines: impl Iterator<Item = String>) -> Vec<u8> {
    lines.map(|line| line + "\n").collect::<String>().into_bytes()
}

/// `PATH: PATH PATH`.
fn dependencies(modules: &[Module], module: &Module) -> String {
    let all = module.all.iter().map(|other| format!(" {}", modules[*other].path));
    format!("{}:{}", module.path, all.collect::<String>())
}

fn dependency_index(modules: &[Module]) -> Vec<u8> {
    let mut index = Index::default();
    for (number, module) in (0..).zip(modules) {
        index.insert(&module.name, &dependencies(modules, module), number);
    }
    index.write()
}

/// A line for every value of a key.
fn stated(
    head: &str,
    modules: &[Module],
    (key, line): (&str, fn(&str, &str) -> String),
) -> Vec<u8> {
    let of =
        |module: &Module| module.values(key).map(|v| line(&module.name, v)).collect::<String>();
    format!("{head}{}", modules.iter().map(of).collect::<String>()).into_bytes()
}

fn alias_index(modules: &[Module]) -> Vec<u8> {
    let mut index = Index::default();
    for (number, module) in (0..).zip(modules) {
        for alias in module.values("alias").filter_map(normal) {
            index.insert(&alias, &module.name, number);
        }
    }
    index.write()
}

/// An alias with `_` for `-`, but in brackets, where `-` is a range; none if a bracket is left open.
fn normal(alias: &str) -> Option<String> {
    let mut inside = false;
    let one = |c: char| match c {
        '[' => {
            inside = true;
            c
        }
        ']' => {
            inside = false;
            c
        }
        '-' if !inside => '_',
        other => other,
    };
    let text: String = alias.chars().map(one).collect();
    Some(text).filter(|_| !inside)
}

fn symbols(modules: &[Module]) -> Vec<u8> {
    let owners = owners(modules).into_iter();
    let alias =
        |(symbol, owner): (&str, usize)| format!("alias symbol:{symbol} {}\n", modules[owner].name);
    let head = "# Aliases for symbols, used by symbol_request().\n";
    format!("{head}{}", owners.map(alias).collect::<String>()).into_bytes()
}

fn symbol_index(modules: &[Module]) -> Vec<u8> {
    let mut index = Index::default();
    for (symbol, owner) in owners(modules) {
        let number = u32::try_from(owner).unwrap_or(u32::MAX);
        index.insert(&format!("symbol:{symbol}"), &modules[owner].name, number);
    }
    index.write()
}

fn builtin_index(list: &str) -> Vec<u8> {
    let mut index = Index::default();
    list.lines().for_each(|path| index.insert(&name(path), "", 0));
    index.write()
}

/// Aliases in `modules.builtin.modinfo`: `NAME.alias=VALUE`, ended by NUL each.
fn builtin_alias_index(modinfo: &[u8]) -> Vec<u8> {
    let mut index = Index::default();
    for text in modinfo.split(|byte| *byte == 0) {
        let text = String::from_utf8_lossy(text);
        let Some((key, value)) = text.split_once('=') else { continue };
        if let (Some((module, "alias")), Some(alias)) = (key.split_once('.'), normal(value)) {
            index.insert(&alias, module, 0);
        }
    }
    index.write()
}

/// Device nodes that load their module when they are opened.
fn device_names(modules: &[Module]) -> Vec<u8> {
    let nodes: Vec<_> = modules.iter().filter_map(device_name).collect();
    match nodes.is_empty() {
        true => Vec::new(),
        false => {
            let head = "# Device nodes to trigger on-demand module loading.\n";
            format!("{head}{}", nodes.concat()).into_bytes()
        }
    }
}

/// `NAME DEVICE cMAJOR:MINOR`, where the module's aliases tell both.
fn device_name(module: &Module) -> Option<String> {
    let (mut device, mut number) = (None, None);
    for alias in module.values("alias") {
        let numbers = |prefix: &str, kind: char| {
            let (major, minor) = alias.strip_prefix(prefix)?.split_once('-')?;
            let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
            Some(format!("{kind}{major}:{minor}"))
        };
        device = alias.strip_prefix("devname:").or(device);
        number = numbers("char-major-", 'c').or_else(|| numbers("block-major-", 'b')).or(number);
        if let (Some(device), Some(number)) = (device, &number) {
            return Some(format!("{} {device} {number}\n", module.name));
        }
    }
    None
}
