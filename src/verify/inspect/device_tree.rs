//! Flattened device trees, as far as a boot depends on them.

use super::Facts;
use crate::format::fdt::{MAGIC, Node};

pub(super) fn is_tree(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let root = Node::parse(bytes)?;
    let text = |node: &Node, name: &str| {
        let value = node.property(name)?;
        Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_string())
    };
    let chosen = root.node("chosen").cloned().unwrap_or_default();
    let random: Vec<_> =
        ["kaslr-seed", "rng-seed"].into_iter().filter(|n| chosen.property(n).is_some()).collect();
    let warnings: Vec<_> = random
        .iter()
        .map(|name| format!("{name} is random: the tree differs from boot to boot"))
        .collect();
    let cpus = root.node("cpus").map_or(0, |cpus| {
        cpus.children.iter().filter(|child| child.name.starts_with("cpu@")).count()
    });
    let nodes: Vec<_> = root.children.iter().map(|child| child.name.clone()).collect();
    Ok(Facts::default()
        .with_some("model", text(&root, "model"))
        .with_some("compatible", text(&root, "compatible"))
        .with_some("bootargs", text(&chosen, "bootargs"))
        .with("cpus", cpus)
        .with("nodes", nodes)
        .with("warnings", warnings))
}
