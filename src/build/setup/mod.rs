//! Typed steps of an image: what maintainer scripts would have done, done to the tree itself.
//!
//! Each step reads and writes the tree alone, so its result depends on nothing of the host; the
//! tests compare it with that of the tool whose place it takes.

pub mod accounts;
pub mod alternatives;
pub mod ca_bundle;
pub mod ld_cache;
pub mod modules;
pub mod systemd;

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::tree::{Inode, Kind, Tree};
use crate::recipe::SetupStep;

/// Does `steps` in their order; `time` is the recipe's epoch.
///
/// # Errors
/// The tree lacks what a step works on, or it is broken.
pub fn apply(tree: &mut Tree, steps: &[SetupStep], time: u32) -> Result<()> {
    steps.iter().try_for_each(|step| one(tree, step, time))
}

fn one(tree: &mut Tree, step: &SetupStep, time: u32) -> Result<()> {
    match step {
        SetupStep::User(user) => {
            accounts::user(tree, user, time).with_context(|| format!("user {}", user.name))
        }
        SetupStep::Group(group) => {
            accounts::group(tree, group).with_context(|| format!("group {}", group.name))
        }
        SetupStep::Alternative(step) => {
            alternatives::link(tree, step.name.as_deref(), &step.at, &step.to)
                .with_context(|| format!("alternative {}", step.at))
        }
        SetupStep::SystemdUnit(step) => {
            let enabled = step.enable.iter().try_for_each(|unit| systemd::enable(tree, unit));
            enabled.and_then(|()| step.mask.iter().try_for_each(|unit| systemd::mask(tree, unit)))
        }
        SetupStep::CaBundle => ca_bundle::write(tree).context("ca-bundle"),
        SetupStep::LdCache => ld_cache::write(tree).context("ld-cache"),
        SetupStep::Modules(step) => modules::write(tree, &step.keep).context("modules"),
    }
}

/// Puts a file of a step in place of what is there. Links on the way are followed, as the tools do.
fn put(tree: &mut Tree, path: &str, text: Vec<u8>, mode: u32) -> Result<()> {
    let path = tree.resolve(path)?;
    tree.replace(&path, Inode::new(Kind::File(text.into()), mode, &origin()))
}

/// Puts a symbolic link of a step in place of what is there; links on the way to it are followed.
fn link(tree: &mut Tree, path: &str, target: &str) -> Result<()> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = tree.resolve(parent)?;
    let path = if parent.is_empty() { name.to_string() } else { format!("{parent}/{name}") };
    tree.replace(&path, Inode::new(Kind::Symlink(target.into()), 0o777, &origin()))
}

/// Text of the file at `path`; none where there is none.
fn text(tree: &Tree, path: &str) -> Result<Option<String>> {
    let Ok(bytes) = tree.file(path) else { return Ok(None) };
    let text = std::str::from_utf8(bytes).with_context(|| format!("/{path} is not UTF-8"))?;
    Ok(Some(text.to_string()))
}

fn origin() -> Arc<str> {
    Arc::from("setup")
}
