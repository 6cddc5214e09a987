//! Certificates of authorities, in the forms that programs look for: one file with all of them, a
//! link for each by name, and a link by the hash of its subject (update-ca-certificates(8) and
//! openssl-rehash(1)).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::super::tree::Tree;
use super::{link, put, text};
use crate::format::{pem, x509_name};

/// Which certificates of [`CERTIFICATES`] are trusted; all where there is no such file.
const CONFIGURATION: &str = "etc/ca-certificates.conf";
const CERTIFICATES: &str = "usr/share/ca-certificates";
const LOCAL: &str = "usr/local/share/ca-certificates";
const LINKS: &str = "etc/ssl/certs";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Writes bundle and links.
///
/// # Errors
/// There are no certificates, or one is broken.
pub fn write(tree: &mut Tree) -> Result<()> {
    let trusted = trusted(tree)?;
    ensure!(!trusted.is_empty(), "there are no certificates in /{CERTIFICATES}");
    let (mut bundle, mut names) = (Vec::new(), BTreeMap::new());
    for path in &trusted {
        let bytes = tree.file(path)?;
        bundle.extend_from_slice(bytes);
        if bytes.last() != Some(&b'\n') {
            bundle.push(b'\n');
        }
        names.insert(name(path), path.clone());
    }
    let hashes = hashes(tree, &names)?;
    for (name, path) in &names {
        link(tree, &format!("{LINKS}/{name}"), &format!("/{path}"))?;
    }
    for (hash, name) in hashes {
        link(tree, &format!("{LINKS}/{hash}"), &name)?;
    }
    put(tree, BUNDLE, bundle, 0o644)
}

/// Paths of the certificates that are trusted, in the order of the bundle.
fn trusted(tree: &Tree) -> Result<Vec<String>> {
    let all = |place: &str| -> Vec<_> {
        let files = tree.below(place).filter(|(path, _)| path.ends_with(".crt"));
        let files = files.filter(|(path, _)| tree.file(path).is_ok());
        files.map(|(path, _)| path.to_string()).collect()
    };
    let chosen = match text(tree, CONFIGURATION)? {
        None => all(CERTIFICATES),
        Some(text) => {
            let lines =
                text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
            let paths = lines.map(|line| format!("{CERTIFICATES}/{line}"));
            paths.filter(|path| tree.file(path).is_ok()).collect()
        }
    };
    Ok([chosen, all(LOCAL)].concat())
}

/// Name of a certificate's link.
fn name(path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    let base = base.strip_suffix(".crt").unwrap_or(base);
    let plain = base.replace([' ', ','], "_").replace(['(', ')'], "=");
    format!("{plain}.pem")
}

/// Names by hash of the subject, of each certificate once. Where two subjects have one hash, they
/// are numbered in the order of their names.
fn hashes(tree: &Tree, names: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
    for (name, path) in names {
        let blocks = pem::blocks(tree.file(path)?).with_context(|| format!("/{path}"))?;
        let certificates: Vec<_> = blocks.iter().filter(|b| b.label == "CERTIFICATE").collect();
        // A file of several certificates has no one subject: openssl leaves it out, too.
        let [certificate] = certificates[..] else { continue };
        if !seen.insert(certificate.bytes.clone()) {
            continue;
        }
        let hash = x509_name::subject_hash(&certificate.bytes);
        let hash = hash.with_context(|| format!("/{path}"))?;
        let number = numbers.entry(hash).or_default();
        found.push((format!("{hash:08x}.{number}"), name.clone()));
        *number += 1;
    }
    Ok(found)
}
