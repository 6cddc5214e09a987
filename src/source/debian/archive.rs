//! Reads an archive: signed release, index, text.

use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow, bail};

use super::date::Time;
use super::keyring::Keyring;
use super::release::Release;
use super::signature::{self, Judge, SKEW};
use crate::lock;
use crate::source::World;
use crate::store::Expected;
use crate::store::location::Location;

/// Most bytes of a signed release; Debian's have some 200 kB.
const MAX_RELEASE: u64 = 16 << 20;
/// Most bytes of an index; Debian's largest has some 60 MB.
const MAX_INDEX: u64 = 1 << 30;

/// A release that was read and checked.
#[derive(Debug, Clone)]
pub struct Known {
    /// As the lock holds it.
    pub pin: lock::Release,
    /// What it says.
    pub release: Release,
}

/// An archive, as the world around lets it be seen.
pub struct Archive<'w> {
    /// Store, client, mirrors and what to do with warnings.
    pub world: &'w World<'w>,
    /// Keys to trust.
    pub keyring: &'w Keyring,
    /// The time now, and whether what is expired is accepted.
    pub judge: Judge,
}

impl Archive<'_> {
    /// The latest release of `suite` from the first mirror that has a sound one.
    ///
    /// # Errors
    /// No mirror has one; the message says for each why not.
    pub fn latest(&self, suite: &str) -> Result<Known> {
        let path = format!("dists/{suite}/InRelease");
        let (mut failures, mut absent) = (Vec::new(), Vec::new());
        for place in self.world.mirrors.live(suite, &path) {
            match self.latest_at(suite, &path, &place) {
                Ok(Some(known)) => {
                    failures.iter().for_each(|failure: &String| (self.world.warn)(failure));
                    return Ok(known);
                }
                Ok(None) => absent.push(place.to_string()),
                Err(error) => failures.push(format!("{place}: {error:#}")),
            }
        }
        if failures.is_empty() {
            let absent = absent.join("\n    ");
            bail!(
                "no mirror has `{suite}`; name one that does with --mirror; tried:\n    {absent}"
            );
        }
        bail!("no release of `{suite}` can be trusted:\n    {}", failures.join("\n    "))
    }

    fn latest_at(&self, suite: &str, path: &str, place: &Location) -> Result<Option<Known>> {
        let bytes = self.world.client.read(place, MAX_RELEASE)?;
        bytes.map(|bytes| self.check(suite, path, &bytes)).transpose()
    }

    /// The release that an earlier lock names, if its bytes can still be had.
    ///
    /// # Errors
    /// It can be had and is not sound.
    pub fn locked(&self, pin: &lock::Release) -> Result<Option<Known>> {
        let expected = Expected { sha256: pin.sha256, size: pin.size };
        let places = self.world.places(&pin.suite, &pin.date, &pin.path);
        let Ok(bytes) = self.world.store.get_or_fetch(self.world.client, expected, &places) else {
            return Ok(None);
        };
        let judge = Judge { accept_expired: true, ..self.judge };
        let archive = Archive { judge, ..*self };
        let known = archive.check(&pin.suite, &pin.path, &bytes)?;
        Ok(Some(Known { pin: pin.clone(), ..known }))
    }

    /// Checks signature, name and times, and keeps the bytes.
    fn check(&self, suite: &str, path: &str, bytes: &[u8]) -> Result<Known> {
        let signed = signature::verify(bytes, self.keyring, self.judge)?;
        let release = Release::parse(&signed.text).context("it was signed, but is no release")?;
        if !release.is_of(suite) {
            let found = [&release.suite, &release.codename].into_iter().flatten();
            let found: Vec<_> = found.map(String::as_str).collect();
            bail!("it is the release of {}, not of `{suite}`", found.join(", "));
        }
        let expired = self.check_times(&release)? || signed.expired;
        let sha256 = self.world.store.put(bytes)?;
        let pin = lock::Release {
            id: format!("{suite}@{}", release.date),
            suite: suite.into(),
            path: path.into(),
            size: u64::try_from(bytes.len())?,
            sha256,
            date: release.date.to_string(),
            valid_until: release.valid_until.map(|until| until.to_string()),
            accepted_expired: expired,
            signers: signed.signers,
        };
        Ok(Known { pin, release })
    }

    /// True if it has expired and that is accepted.
    fn check_times(&self, release: &Release) -> Result<bool> {
        let Judge { now, accept_expired } = self.judge;
        if release.date.0 > now.0 + SKEW {
            let date = release.date;
            bail!("it is of {date}, in the future: is the clock of this machine ({now}) right?");
        }
        match release.valid_until.filter(|until| now > *until) {
            None => Ok(false),
            Some(_) if accept_expired => Ok(true),
            Some(until) => bail!(
                "it expired at {until}: who holds back newer releases could serve it for ever; \
                 if that is no concern here, --accept-expired takes it, and the lock records that"
            ),
        }
    }

    /// An index of `known`, by its name without the ending of a compression; none if the release
    /// has no such index.
    ///
    /// # Errors
    /// It cannot be fetched or unpacked.
    pub fn index(&self, known: &Known, name: &str) -> Result<Option<(lock::Index, String)>> {
        let files = &known.release.files;
        let found = [".xz", ".gz", ""].iter().find_map(|ending| {
            let name = format!("{name}{ending}");
            files.get(&name).map(|expected| (*ending, name, *expected))
        });
        let Some((ending, file, expected)) = found else { return Ok(None) };
        if expected.size > MAX_INDEX {
            bail!("{file} would have {} bytes; no index is that large", expected.size);
        }
        let dir = known.pin.path.trim_end_matches("/InRelease");
        let path = format!("{dir}/{file}");
        let places = self.index_places(known, &path, &expected);
        let bytes = self.world.store.get_or_fetch(self.world.client, expected, &places);
        let bytes = bytes.with_context(|| format!("cannot fetch {path}"))?;
        let limit = files.get(name).map_or(MAX_INDEX, |plain| plain.size.min(MAX_INDEX));
        let text = unpack(ending, &bytes, limit).with_context(|| format!("cannot read {path}"))?;
        let Expected { sha256, size } = expected;
        Ok(Some((lock::Index { release: known.pin.id.clone(), path, size, sha256 }, text)))
    }

    /// Under its digest first: that name still means the same while the archive is being updated.
    fn index_places(&self, known: &Known, path: &str, expected: &Expected) -> Vec<Location> {
        let (suite, date) = (&known.pin.suite, &known.pin.date);
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let by_hash = format!("{dir}/by-hash/SHA256/{}", expected.sha256);
        let by_hash = known.release.by_hash.then(|| self.world.mirrors.live(suite, &by_hash));
        let plain = self.world.places(suite, date, path);
        by_hash.into_iter().flatten().chain(plain).collect()
    }
}

/// The text of an index, of which no more than `limit` bytes are unpacked.
fn unpack(ending: &str, bytes: &[u8], limit: u64) -> Result<String> {
    let mut plain = Vec::new();
    let bounded = limit.saturating_add(1);
    match ending {
        ".xz" => liblzma::read::XzDecoder::new(bytes).take(bounded).read_to_end(&mut plain)?,
        ".gz" => flate2::read::GzDecoder::new(bytes).take(bounded).read_to_end(&mut plain)?,
        _ => bytes.take(bounded).read_to_end(&mut plain)?,
    };
    if u64::try_from(plain.len())? > limit {
        bail!("it unpacks to more than the {limit} bytes that its release states");
    }
    String::from_utf8(plain).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow!("it is no UTF-8 text: byte {at} does not belong there")
    })
}

/// Warns where a release is older than the one that was locked before: an attacker may hold back
/// newer ones.
///
/// # Errors
/// The date of the lock is none.
pub fn warn_of_older(known: &Known, before: &lock::Release, warn: &dyn Fn(&str)) -> Result<()> {
    let (old, new) = (Time::of_lock(&before.date)?, known.release.date);
    if new < old {
        let suite = &before.suite;
        warn(&format!(
            "the mirror's release of `{suite}` is of {new}, older than the locked one of {old}"
        ));
    }
    Ok(())
}
