//! A server of Git over HTTP (gitprotocol-http, gitprotocol-v2): asked for names, and for one commit
//! with its tree.

use anyhow::{Context as _, Result, bail, ensure};

use super::objects::{Objects, Pack};
use crate::digest::Sha1;
use crate::store::ask::{Question, Reply};
use crate::store::http::Client;

/// Most bytes of a list of references, and of a pack with what is around it.
const MAX_LIST: u64 = 64 << 20;
const MAX_PACK: u64 = 4 << 30;

/// The header that asks for version 2.
const VERSION: (&str, &str) = ("git-protocol", "version=2");

/// A server that speaks version 2 of the protocol.
pub(super) struct Server<'w> {
    client: &'w Client,
    address: String,
}

impl<'w> Server<'w> {
    /// The server of the repository at `address`; none where only its files are served.
    pub(super) fn at(client: &'w Client, address: &str) -> Result<Option<Self>> {
        let question = format!("{address}/info/refs?service=git-upload-pack");
        let reply = client.ask(&Question {
            address: &question,
            headers: &[VERSION],
            body: None,
            limit: MAX_LIST,
        })?;
        if reply.kind != "application/x-git-upload-pack-advertisement" {
            return Ok(None);
        }
        let lines = lines(&reply.body)?;
        let speaks =
            |line: &Line<'_>| matches!(line, Line::Data(text) if text.trim_ascii() == b"version 2");
        ensure!(lines.iter().any(speaks), "the server does not speak version 2 of Git's protocol");
        Ok(Some(Self { client, address: address.into() }))
    }

    /// The object that the tag or branch `rev` names; of an annotated tag, what it stands for.
    pub(super) fn resolve(&self, rev: &str) -> Result<Sha1> {
        let names = [format!("refs/tags/{rev}"), format!("refs/heads/{rev}"), rev.to_string()];
        let prefixes = names.iter().map(|name| format!("ref-prefix {name}\n"));
        let arguments: Vec<_> = std::iter::once("peel\n".to_string()).chain(prefixes).collect();
        let reply = self.ask("ls-refs", &arguments, MAX_LIST)?;
        let mut found: Vec<(String, Sha1)> = Vec::new();
        for line in lines(&reply.body)? {
            let Line::Data(text) = line else { continue };
            let text = String::from_utf8_lossy(text);
            let mut words = text.split_whitespace();
            let (Some(object), Some(name)) = (words.next(), words.next()) else { continue };
            let peeled = words.find_map(|word| word.strip_prefix("peeled:"));
            found.push((name.into(), peeled.unwrap_or(object).parse().context("ls-refs")?));
        }
        let by_name = |name: &String| found.iter().find(|(known, _)| known == name);
        let found = names.iter().find_map(by_name).map(|(_, object)| *object);
        found.with_context(|| format!("it has no tag or branch `{rev}`"))
    }

    /// `commit` with its tree, and nothing of its history.
    pub(super) fn fetch(self, commit: &Sha1) -> Result<Objects<'w>> {
        let want = format!("want {commit}\n");
        let arguments = ["ofs-delta\n", "no-progress\n", "deepen 1\n", &want, "done\n"];
        let reply = self.ask("fetch", &arguments.map(String::from), MAX_PACK)?;
        Ok(Objects { packs: vec![Pack::new(packfile(&reply.body)?)?], loose: None })
    }

    fn ask(&self, command: &str, arguments: &[String], limit: u64) -> Result<Reply> {
        let mut body = line(&format!("command={command}\n"));
        body.extend(line("object-format=sha1\n"));
        body.extend(b"0001");
        arguments.iter().for_each(|argument| body.extend(line(argument)));
        body.extend(b"0000");
        let reply = self.client.ask(&Question {
            address: &format!("{}/git-upload-pack", self.address),
            headers: &[VERSION, ("content-type", "application/x-git-upload-pack-request")],
            body: Some(&body),
            limit,
        })?;
        ensure!(reply.status == 200, "the server answered {} to {command}", reply.status);
        Ok(reply)
    }
}

/// The pack in the answer to `fetch`: sections by name, the last one in bands, of which the first is
/// the pack and the third an error.
fn packfile(body: &[u8]) -> Result<Vec<u8>> {
    let mut pack = Vec::new();
    let mut within = false;
    for line in lines(body)? {
        match line {
            Line::Data(text) if !within => {
                within = text.trim_ascii() == b"packfile";
                if let Some(error) = text.strip_prefix(b"ERR ") {
                    bail!("the server says: {}", error.escape_ascii());
                }
            }
            Line::Data([1, data @ ..]) => pack.extend_from_slice(data),
            Line::Data([3, error @ ..]) => bail!("the server says: {}", error.escape_ascii()),
            Line::Data(_) | Line::Mark => {}
        }
    }
    ensure!(within, "the server sent no pack");
    Ok(pack)
}

/// A line of the protocol (gitprotocol-common, «pkt-line Format»).
enum Line<'a> {
    Data(&'a [u8]),
    /// The end of a section or of a message.
    Mark,
}

fn lines(mut bytes: &[u8]) -> Result<Vec<Line<'_>>> {
    let mut lines = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(4) {
        let length = std::str::from_utf8(head).ok().and_then(|h| usize::from_str_radix(h, 16).ok());
        let length = length.with_context(|| format!("`{}` is no length", head.escape_ascii()))?;
        let (line, after) = match length {
            0..=2 => (Line::Mark, rest),
            3 => bail!("a line of 3 bytes"),
            _ => {
                let split = rest.split_at_checked(length - 4);
                let (data, after) = split.context("the server's answer ends within a line")?;
                (Line::Data(data), after)
            }
        };
        lines.push(line);
        bytes = after;
    }
    ensure!(bytes.is_empty(), "the server's answer ends within a line");
    Ok(lines)
}

fn line(text: &str) -> Vec<u8> {
    format!("{:04x}{text}", text.len() + 4).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pack_is_what_the_first_band_carries() {
        let body = b"0010shallow-info0001000dpackfile\n0007\x01PA0006\x02x0007\x01CK0000";
        assert_eq!(packfile(body).expect("a pack"), b"PACK");
        let error = packfile(b"000dpackfile\n0008\x03why0000").expect_err("an error").to_string();
        assert_eq!(error, "the server says: why");
        for wrong in [&b"0000"[..], b"0003", b"xyz0", b"0009abc", b"00"] {
            assert!(packfile(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
