//! Globs of recipes: absolute paths in which `*` stays within a directory and `**` does not.

use anyhow::{Context as _, Result, ensure};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Matcher of `globs` for paths of a tree, which have no leading slash; none for no globs.
///
/// # Errors
/// A glob is not absolute or not well-formed.
pub(super) fn set(globs: &[String]) -> Result<Option<GlobSet>> {
    if globs.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let path = glob.strip_prefix('/');
        ensure!(path.is_some(), "glob `{glob}`: a path in an image starts with `/`");
        let built = GlobBuilder::new(path.unwrap_or_default()).literal_separator(true).build();
        set.add(built.with_context(|| format!("glob `{glob}`"))?);
    }
    Ok(Some(set.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        set(&[glob.to_string()]).unwrap().unwrap().is_match(path)
    }

    #[test]
    fn stars_and_directories() {
        assert!(matches("/boot/vmlinuz-*", "boot/vmlinuz-6.12"));
        assert!(!matches("/boot/vmlinuz-*", "boot/vmlinuz-6/x"));
        assert!(matches("/usr/share/doc/**", "usr/share/doc/a/b"));
        assert!(!matches("/usr/share/doc/**", "usr/share/docs"));
    }

    #[test]
    fn relative_and_broken_globs_are_refused() {
        assert!(set(&["usr/*".into()]).unwrap_err().to_string().contains("starts with `/`"));
        assert!(set(&["/[".into()]).is_err());
        assert!(set(&[]).unwrap().is_none());
    }
}
