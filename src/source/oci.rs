//! An OCI image by digest: out of a registry (OCI Distribution Specification 1.1) or a directory
//! (OCI Image Layout 1.0). The lock pins its layers, lowest first.

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{Resolver, World};
use crate::digest::Sha256;
use crate::lock::{File, Lock};
use crate::recipe::{OciSource, Recipe, Source};
use crate::store::Expected;
use crate::store::ask::{Question, Reply};
use crate::store::location::Location;

/// Most bytes of a manifest (the specification asks for no more than 4 MiB), and of a layer.
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_LAYER: u64 = 8 << 30;

/// What a registry may answer with: an image, or a list of images of several platforms.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// An image's manifest or an index, as far as it is read (OCI Image Specification 1.1).
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// Locks the layers of the image; of an index, those of the recipe's architecture.
///
/// # Errors
/// The image cannot be had, is not what its digest says, or has no layers.
pub fn lock(r: &Resolver<'_>, name: &str, source: &Source, lock: &mut Lock) -> Result<()> {
    let Source::Oci(source) = source else { return Ok(()) };
    let image = Image::parse(r.world, source)?;
    let mut manifest = image.manifest(&image.digest)?;
    if !manifest.manifests.is_empty() {
        let wanted = r.recipe.arch.debian(); // Go's names of architectures are Debian's
        let fits = |d: &&Descriptor| {
            d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == wanted)
        };
        let found = manifest.manifests.iter().find(fits);
        let found = found.with_context(|| format!("the image has no platform linux/{wanted}"))?;
        manifest = image.manifest(&digest(&found.digest)?)?;
    }
    ensure!(!manifest.layers.is_empty(), "the image has no layers");
    for (index, layer) in manifest.layers.iter().enumerate() {
        let expected = Expected { sha256: digest(&layer.digest)?, size: layer.size };
        image.take(expected)?;
        lock.files.push(File {
            source: name.into(),
            name: format!("layer-{index:03}"),
            version: Some(image.digest.to_string()),
            release: None,
            path: None,
            size: expected.size,
            sha256: expected.sha256,
        });
    }
    Ok(())
}

/// Puts every locked layer into the store that is not there yet.
///
/// # Errors
/// One cannot be had.
pub fn fetch(world: &World<'_>, recipe: &Recipe, lock: &Lock) -> Result<()> {
    for file in &lock.files {
        let Some(Source::Oci(source)) = recipe.sources.get(&file.source) else { continue };
        let wanted = Expected { sha256: file.sha256, size: file.size };
        let taken = Image::parse(world, source).and_then(|image| image.take(wanted));
        taken.with_context(|| format!("cannot fetch {} of `{}`", file.name, file.source))?;
    }
    Ok(())
}

fn digest(text: &str) -> Result<Sha256> {
    let hex = text.strip_prefix("sha256:");
    let hex = hex.with_context(|| format!("the digest `{text}` is no sha256"))?;
    hex.parse().with_context(|| format!("the digest `{text}`"))
}

/// An image, and where it is.
struct Image<'w> {
    world: &'w World<'w>,
    place: Location,
    digest: Sha256,
}

impl<'w> Image<'w> {
    fn parse(world: &'w World<'w>, source: &OciSource) -> Result<Self> {
        let (name, hex) = source.image.rsplit_once("@sha256:").context("it names no digest")?;
        let address = match name.contains("://") {
            true => name.to_string(),
            false => of_registry(name)?,
        };
        let place = Location::parse(&world.mirrors.rewritten(&address))?;
        Ok(Self { world, place, digest: hex.parse()? })
    }

    fn manifest(&self, digest: &Sha256) -> Result<Manifest> {
        let bytes = self.read("manifests", digest, MAX_MANIFEST)?;
        serde_json::from_slice(&bytes).with_context(|| format!("the manifest {digest}"))
    }

    /// Puts a layer into the store.
    fn take(&self, layer: Expected) -> Result<()> {
        if self.world.store.holds(&layer) {
            return Ok(());
        }
        ensure!(layer.size <= MAX_LAYER, "a layer of {} bytes", layer.size);
        let bytes = self.read("blobs", &layer.sha256, layer.size)?;
        let found = bytes.len();
        ensure!(Expected::of(&bytes) == layer, "a layer of {} bytes has {found}", layer.size);
        self.world.store.put(&bytes).map(drop)
    }

    /// What `digest` names, which is checked.
    fn read(&self, kind: &str, digest: &Sha256, limit: u64) -> Result<Vec<u8>> {
        let bytes = match &self.place {
            Location::File(_) => {
                let place = self.place.join(&format!("blobs/sha256/{digest}"));
                let bytes = self.world.client.read(&place, limit)?;
                bytes.with_context(|| format!("there is no {place}"))?
            }
            Location::Http(address) => {
                self.ask(&format!("{address}/{kind}/sha256:{digest}"), limit)?
            }
        };
        let found = Sha256::of(&bytes);
        ensure!(found == *digest, "{} gives other bytes for {digest}: {found}", self.place);
        Ok(bytes)
    }

    /// Asks a registry; where it wants a token, as anybody may have one.
    fn ask(&self, address: &str, limit: u64) -> Result<Vec<u8>> {
        let first = self.ask_as(address, None, limit)?;
        let reply = match (first.status, &first.challenge) {
            (401, Some(challenge)) => self.ask_as(address, Some(&self.token(challenge)?), limit)?,
            _ => first,
        };
        match reply.status {
            200 => Ok(reply.body),
            401 | 403 => bail!("{address}: the registry wants credentials; mirror the image"),
            other => bail!("{address}: the registry answered {other}"),
        }
    }

    fn ask_as(&self, address: &str, token: Option<&str>, limit: u64) -> Result<Reply> {
        let mut headers = vec![("accept", MANIFESTS)];
        headers.extend(token.map(|token| ("authorization", token)));
        self.world.client.ask(&Question { address, headers: &headers, body: None, limit })
    }

    /// Distribution «Token Authentication»: `Bearer realm="…",service="…",scope="…"`.
    fn token(&self, challenge: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(alias = "access_token")]
            token: String,
        }
        let word = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let realm = word("realm").context("the registry wants a password")?;
        let (service, scope) = (word("service").unwrap_or(""), word("scope").unwrap_or(""));
        let address = format!("{realm}?service={service}&scope={scope}");
        let reply = self.world.client.ask(&Question {
            address: &address,
            headers: &[],
            body: None,
            limit: MAX_MANIFEST,
        })?;
        ensure!(reply.status == 200, "{realm} answered {}", reply.status);
        let token: Token = serde_json::from_slice(&reply.body).context("the registry's token")?;
        Ok(format!("Bearer {}", token.token))
    }
}

/// Address of the repository `name`, `registry/path`: by TLS, but on this machine.
fn of_registry(name: &str) -> Result<String> {
    let (host, path) = name.split_once('/').context("it names no registry")?;
    let registry = host.contains(['.', ':']) || host == "localhost";
    ensure!(registry, "`{name}` names no registry; write it in full, as in docker.io/{name}");
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
    ensure!(!path.is_empty() && path.chars().all(sound), "`{path}` is no name of a repository");
    let own = host.split(':').next().is_some_and(|host| ["localhost", "127.0.0.1"].contains(&host));
    Ok(match (host, own) {
        ("docker.io", _) if !path.contains('/') => {
            format!("https://registry-1.docker.io/v2/library/{path}")
        }
        ("docker.io", _) => format!("https://registry-1.docker.io/v2/{path}"),
        (_, true) => format!("http://{host}/v2/{path}"),
        _ => format!("https://{host}/v2/{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_registries() {
        let of = |name| of_registry(name).expect(name);
        assert_eq!(of("quay.io/kata/agent"), "https://quay.io/v2/kata/agent");
        assert_eq!(of("docker.io/busybox"), "https://registry-1.docker.io/v2/library/busybox");
        assert_eq!(of("127.0.0.1:5000/a"), "http://127.0.0.1:5000/v2/a");
        for wrong in ["busybox", "library/busybox", "quay.io/A", "quay.io/a?b", "quay.io/"] {
            assert!(of_registry(wrong).is_err(), "{wrong}");
        }
    }
}
