//! Paths of a tree: relative, without `.`, `..` or empty parts.

use anyhow::{Result, ensure};

/// The path of a tree that `stored`, a name in an archive, means; empty for the root itself.
///
/// # Errors
/// The name is absolute, or a part of it is `..`, so that it might lie outside.
pub fn confine(stored: &str) -> Result<String> {
    ensure!(!stored.starts_with('/'), "`{stored}` is absolute; names in an archive are relative");
    let parts: Vec<_> = stored.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    ensure!(!parts.contains(&".."), "`{stored}` has a `..`: it might lie outside of the root");
    ensure!(!stored.contains('\0'), "`{}` has a NUL in it", stored.escape_default());
    Ok(parts.join("/"))
}

/// The path of a tree that `stated`, an absolute path in an image, means.
///
/// # Errors
/// The path is not absolute, is the root, or a part of it is `..`.
pub fn absolute(stated: &str) -> Result<String> {
    let relative = stated.strip_prefix('/');
    ensure!(relative.is_some(), "`{stated}`: a path in an image starts with `/`");
    let path = confine(stated.trim_start_matches('/'))?;
    ensure!(!path.is_empty(), "`{stated}` is the root itself");
    Ok(path)
}

/// Checks that the symbolic link at `path` to `target` stays within the root. An absolute target
/// means the image's own root.
///
/// # Errors
/// The target is empty, or climbs above the root.
pub fn confine_target(path: &str, target: &str) -> Result<()> {
    ensure!(!target.is_empty(), "/{path} is a symbolic link to nothing");
    ensure!(!target.contains('\0'), "/{path}: its target has a NUL in it");
    let mut depth = if target.starts_with('/') { 0 } else { path.matches('/').count() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                ensure!(depth > 0, "/{path} is a symbolic link to `{target}`, out of the root");
                depth -= 1;
            }
            _ => depth += 1,
        }
    }
    Ok(())
}
