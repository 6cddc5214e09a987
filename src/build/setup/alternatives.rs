//! One name for one of several programs, in the two links of update-alternatives(1).

use anyhow::{Context as _, Result, ensure};

use super::super::tree::{Kind, Tree, absolute};

/// Directory of the links that stand between.
const DIRECTORY: &str = "etc/alternatives";

/// Links `at` to what `to` names, through `/etc/alternatives/NAME`.
///
/// # Errors
/// There is nothing at `to`, or a file that is no link at `at`.
pub fn link(tree: &mut Tree, name: Option<&str>, at: &str, to: &str) -> Result<()> {
    let end = tree.resolve(&absolute(to)?)?;
    tree.get(&end).with_context(|| format!("there is no {to}"))?;
    let at = absolute(at)?;
    let old = tree.get(&at).map(|inode| &inode.kind);
    let kind = old.map_or("nothing", Kind::name);
    let linked = old.is_none_or(|kind| matches!(kind, Kind::Symlink(_)));
    ensure!(linked, "/{at} is {kind} of its own and not replaced by a link");
    let name = name.unwrap_or_else(|| at.rsplit('/').next().unwrap_or(&at)).to_string();
    super::link(tree, &at, &format!("/{DIRECTORY}/{name}"))?;
    super::link(tree, &format!("{DIRECTORY}/{name}"), to)
}
