//! Accounts and groups, in the files of passwd(5), shadow(5) and group(5).

use anyhow::{Result, ensure};

use super::super::tree::Tree;
use super::{put, text};
use crate::recipe::{GroupStep, UserStep};

const PASSWD: &str = "etc/passwd";
const SHADOW: &str = "etc/shadow";
const GROUP: &str = "etc/group";

/// Where `base-passwd` keeps Debian's own accounts and groups, which its script copies to `/etc`.
const MASTERS: &[(&str, &str)] = &[
    (PASSWD, "usr/share/base-passwd/passwd.master"),
    (GROUP, "usr/share/base-passwd/group.master"),
];

/// Adds an account, as `useradd` without a password does, and its group where there is none.
///
/// # Errors
/// The name or the number is taken.
pub fn user(tree: &mut Tree, step: &UserStep, time: u32) -> Result<()> {
    let UserStep { name, uid, gid, home, shell } = step;
    let gid = gid.unwrap_or(*uid);
    let groups = lines(tree, GROUP)?;
    if !groups.iter().any(|line| field(line, 2) == gid.to_string()) {
        group(tree, &GroupStep { name: name.clone(), gid, members: Vec::new() })?;
    }
    let mut accounts = lines(tree, PASSWD)?;
    free(&accounts, name, *uid)?;
    let mut passwords = shadow(tree, &accounts, time)?;
    let home = home.as_deref().unwrap_or("/nonexistent");
    let shell = shell.as_deref().unwrap_or("/usr/sbin/nologin");
    accounts.push(format!("{name}:x:{uid}:{gid}::{home}:{shell}"));
    passwords.push(password(name, "!", time));
    write(tree, PASSWD, &accounts, 0o644)?;
    write(tree, SHADOW, &passwords, 0o600)
}

/// Adds a group, as `groupadd` does, with its members.
///
/// # Errors
/// The name or the number is taken.
pub fn group(tree: &mut Tree, step: &GroupStep) -> Result<()> {
    let mut groups = lines(tree, GROUP)?;
    free(&groups, &step.name, step.gid)?;
    groups.push(format!("{}:x:{}:{}", step.name, step.gid, step.members.join(",")));
    write(tree, GROUP, &groups, 0o644)
}

fn free(entries: &[String], name: &str, number: u32) -> Result<()> {
    for entry in entries {
        ensure!(field(entry, 0) != name, "the name `{name}` is taken");
        let taken = field(entry, 2) == number.to_string();
        ensure!(!taken, "the number {number} is taken, by `{}`", field(entry, 0));
    }
    Ok(())
}

/// Lines of a file; where there is none those of Debian's master, else `root` alone. Passwords stand
/// in the shadow file.
fn lines(tree: &Tree, path: &str) -> Result<Vec<String>> {
    let master = MASTERS.iter().find(|(file, _)| *file == path).map(|(_, master)| *master);
    let found = match (text(tree, path)?, master) {
        (None, Some(master)) => text(tree, master)?,
        (found, _) => found,
    };
    let usual = if path == PASSWD { "root:x:0:0:root:/root:/bin/sh" } else { "root:x:0:" };
    let entry = |line: &str| match line.split(':').collect::<Vec<_>>()[..] {
        [name, "" | "*", ref rest @ ..] => [&[name, "x"], rest].concat().join(":"),
        _ => line.to_string(),
    };
    Ok(found.unwrap_or_else(|| usual.to_string()).lines().map(entry).collect())
}

/// The shadow file; where there is none, one that locks every account, as `pwconv` makes it.
fn shadow(tree: &Tree, accounts: &[String], time: u32) -> Result<Vec<String>> {
    Ok(match text(tree, SHADOW)? {
        Some(found) => found.lines().map(str::to_string).collect(),
        None => accounts.iter().map(|line| password(field(line, 0), "*", time)).collect(),
    })
}

/// An entry of shadow(5): when the password was last changed, in days since 1970, and for how long
/// it holds (login.defs(5), Debian's values).
fn password(name: &str, locked: &str, time: u32) -> String {
    format!("{name}:{locked}:{}:0:99999:7:::", time / 86_400)
}

fn field(line: &str, index: usize) -> &str {
    line.split(':').nth(index).unwrap_or_default()
}

fn write(tree: &mut Tree, path: &str, lines: &[String], mode: u32) -> Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    put(tree, path, text.into_bytes(), mode)
}
