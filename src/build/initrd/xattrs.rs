//! Extended attributes of an initial RAM disk: the archive has no place for them, so the recipe says
//! what becomes of them.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::super::tree::{Inode, Kind, Tree, absolute};
use crate::digest::base64;
use crate::recipe::Xattrs;

/// Does with the attributes in `tree` what `wanted` says.
///
/// # Errors
/// There are some and they are to be refused, or their list cannot stand where it is wanted.
pub(super) fn settle(tree: &mut Tree, wanted: &Xattrs) -> Result<()> {
    match wanted {
        Xattrs::Drop => Ok(()),
        Xattrs::Refuse => refuse(tree),
        Xattrs::List(at) => {
            let text = list(tree).into_bytes();
            tree.replace(
                &absolute(at)?,
                Inode::new(Kind::File(text.into()), 0o644, &Arc::from("extended attributes")),
            )
        }
    }
}

fn refuse(tree: &Tree) -> Result<()> {
    for (path, inode) in tree.iter() {
        let names: Vec<_> = inode.xattrs.keys().map(String::as_str).collect();
        ensure!(
            names.is_empty(),
            "/{path} (from {}) has extended attributes ({}), for which an initrd has no place; \
             `xattrs: drop` leaves them out, `xattrs: {{list: /etc/xattrs}}` lists them for \
             `setfattr --restore`",
            inode.origin,
            names.join(", ")
        );
    }
    Ok(())
}

/// The attributes as getfattr(1) dumps them, by path, values in base64.
fn list(tree: &Tree) -> String {
    let with = tree.iter().filter(|(_, inode)| !inode.xattrs.is_empty());
    let file = |(path, inode): (&str, &Arc<Inode>)| {
        let values = inode.xattrs.iter();
        let values = values.map(|(name, value)| format!("{name}=0s{}\n", base64(value)));
        format!("# file: {}\n{}\n", quoted(path), values.collect::<String>())
    };
    with.map(file).collect()
}

/// A path as getfattr(1) quotes it: control characters and backslashes in octal.
fn quoted(path: &str) -> String {
    let one = |c: char| match c.is_control() || c == '\\' {
        true => format!("\\{:03o}", u32::from(c)),
        false => c.to_string(),
    };
    path.chars().map(one).collect()
}
