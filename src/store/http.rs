//! The only HTTP client. Fetches into the store by digest: resumes, retries, tries the next place.
//!
//! Proxies come from the environment's usual variables, certificates from the system.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};

use super::location::Location;
use super::writer::Writer;
use super::{Expected, Store};

/// Attempts at one place that bring nothing new, before the next place is tried.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a server may take to be connected to.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may stay silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Fetches files. Cheap to share between threads, which then share its connections.
pub struct Client {
    pub(super) agent: ureq::Agent,
    pub(super) offline: bool,
}

/// An attempt that failed.
enum Failed {
    /// The file is not there: another attempt would not find it either.
    Absent(String),
    /// The place cannot be used at all, or the bytes are wrong.
    For(anyhow::Error),
    /// Trying again may help.
    Now(anyhow::Error),
    /// The store cannot be written: no other place helps.
    Store(anyhow::Error),
}

impl Client {
    /// A client; an offline one reaches nothing but this machine.
    pub fn new(offline: bool) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .tls_config(tls)
            .user_agent(concat!("guestsmith/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), offline }
    }

    /// A small file whose digest is not known beforehand; none if it is not there.
    ///
    /// # Errors
    /// The place cannot be reached, or the file is longer than `limit` bytes.
    pub fn read(&self, from: &Location, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.read_once(from, limit) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(Failed::Absent(_)) => return Ok(None),
                Err(Failed::Now(_)) if attempt < ATTEMPTS => wait(&mut pause),
                Err(Failed::Now(error) | Failed::For(error) | Failed::Store(error)) => {
                    return Err(error.context(format!("cannot fetch {from}")));
                }
            }
        }
        Ok(None)
    }

    fn read_once(&self, from: &Location, limit: u64) -> Result<Vec<u8>, Failed> {
        let mut bytes = Vec::new();
        let (body, _) = self.open(from, 0)?;
        body.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| Failed::Now(error.into()))?;
        if super::to_u64(bytes.len()) > limit {
            return Err(Failed::For(anyhow!("it is longer than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Fetches `expected` into the store from the first of `places` that has it. `progress` hears
    /// how many bytes of it are there.
    ///
    /// # Errors
    /// No place gives the expected bytes (the message says why for each), or the store cannot be
    /// written.
    pub fn fetch(
        &self,
        store: &Store,
        expected: Expected,
        places: &[Location],
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let mut failures = Vec::new();
        for place in places {
            match self.fetch_from(store, expected, place, progress) {
                Ok(()) => return Ok(()),
                Err(Failed::Store(error)) => return Err(error),
                Err(Failed::Absent(why)) => failures.push(format!("{place}: {why}")),
                Err(Failed::For(error) | Failed::Now(error)) => {
                    failures.push(format!("{place}: {error:#}"));
                }
            }
        }
        if failures.is_empty() {
            bail!("no place is known to fetch it from");
        }
        bail!("no place has it:\n    {}", failures.join("\n    "))
    }

    /// Fetches from one place, as long as attempts bring something new.
    fn fetch_from(
        &self,
        store: &Store,
        expected: Expected,
        place: &Location,
        progress: &dyn Fn(u64),
    ) -> Result<(), Failed> {
        let (mut pause, mut fruitless) = (PAUSE, 0);
        loop {
            let Some(mut writer) = store.writer(expected).map_err(Failed::Store)? else {
                progress(expected.size);
                return Ok(());
            };
            let (before, resumed) = (writer.offset(), writer.offset() > 0);
            let error = match self.transfer(&mut writer, expected, place, progress) {
                Ok(()) => match writer.verify() {
                    Ok(()) => return writer.finish().map_err(Failed::Store),
                    // What another place left may be what is wrong: once more, from the start.
                    Err(_) if resumed => continue,
                    Err(error) => return Err(Failed::For(error)),
                },
                Err(Failed::Now(error)) => error,
                Err(failed) => return Err(failed),
            };
            fruitless = if writer.offset() > before { 1 } else { fruitless + 1 };
            if fruitless >= ATTEMPTS {
                return Err(Failed::Now(error));
            }
            drop(writer); // another process may try meanwhile
            wait(&mut pause);
        }
    }

    /// Appends what the place gives to what `writer` has.
    fn transfer(
        &self,
        writer: &mut Writer<'_>,
        expected: Expected,
        place: &Location,
        progress: &dyn Fn(u64),
    ) -> Result<(), Failed> {
        if writer.offset() == expected.size {
            return Ok(());
        }
        let (mut body, offset) = self.open(place, writer.offset())?;
        if offset != writer.offset() {
            writer.restart().map_err(Failed::Store)?;
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            progress(writer.offset());
            match body.read(&mut buffer) {
                Ok(0) if writer.offset() < expected.size => {
                    let (found, size) = (writer.offset(), expected.size);
                    return Err(Failed::Now(anyhow!("it ends after {found} of {size} bytes")));
                }
                Ok(0) => return Ok(()),
                Ok(count) => append(writer, &buffer[..count], expected)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failed::Now(error.into())),
            }
        }
    }

    /// The contents at `place` and the offset at which they begin: `offset` or 0.
    fn open(&self, place: &Location, offset: u64) -> Result<(Box<dyn Read>, u64), Failed> {
        match place {
            Location::File(path) => open_file(path, offset),
            Location::Http(_) if self.offline => {
                Err(Failed::For(anyhow!("the network may not be used (--offline)")))
            }
            Location::Http(address) => self.request(address, offset).map_err(|failed| {
                failed.map(|error| match error.to_string() {
                    text if text.contains(address) => anyhow!("the request failed"),
                    _ => error,
                })
            }),
        }
    }

    /// RFC 9110 section 14: a range is asked for where something is there already.
    fn request(&self, address: &str, offset: u64) -> Result<(Box<dyn Read>, u64), Failed> {
        let mut request = self.agent.get(address).header("accept-encoding", "identity");
        if offset > 0 {
            request = request.header("range", format!("bytes={offset}-"));
        }
        let response = request.call().map_err(of_connection)?;
        let status = response.status();
        let range = response.headers().get("content-range").and_then(|v| v.to_str().ok());
        let begins = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if begins_at(range, offset) => offset,
            // An answer to another question than ours: ask for the whole file.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                return self.request(address, 0);
            }
            other => return Err(of_status(other)),
        };
        // Every reader bounds what it takes; the body itself needs no limit.
        Ok((Box::new(response.into_body().into_with_config().limit(u64::MAX).reader()), begins))
    }
}

impl Failed {
    fn map(self, change: impl FnOnce(anyhow::Error) -> anyhow::Error) -> Self {
        match self {
            Self::For(error) => Self::For(change(error)),
            Self::Now(error) => Self::Now(change(error)),
            other => other,
        }
    }
}

fn append(writer: &mut Writer<'_>, bytes: &[u8], expected: Expected) -> Result<(), Failed> {
    let overlong = writer.offset() + super::to_u64(bytes.len()) > expected.size;
    writer.write(bytes).map_err(|error| match overlong {
        true => Failed::For(error),
        false => Failed::Store(error),
    })
}

fn open_file(path: &std::path::Path, offset: u64) -> Result<(Box<dyn Read>, u64), Failed> {
    let opened = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    });
    match opened {
        Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => {
            Ok((Box::new(file), offset))
        }
        Ok(_) => Err(Failed::For(anyhow!("it is no file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failed::Absent("there is no such file".into()))
        }
        Err(error) => Err(Failed::For(error.into())),
    }
}

/// RFC 9110 section 14.4: `bytes 7-41/42`.
fn begins_at(range: Option<&str>, offset: u64) -> bool {
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
    first.is_some_and(|first| first == offset.to_string())
}

/// RFC 9110 section 15.
fn of_status(status: StatusCode) -> Failed {
    let said = format!("the server answered {status}");
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Failed::Absent(said),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failed::Now(anyhow!(said)),
        other if other.is_server_error() => Failed::Now(anyhow!(said)),
        _ => Failed::For(anyhow!(said)),
    }
}

fn of_connection(error: ureq::Error) -> Failed {
    match error {
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
            Failed::Now(error.into())
        }
        // Answers that are no HTTP come from servers that are overloaded or in between.
        ureq::Error::Protocol(_) => Failed::Now(error.into()),
        _ => Failed::For(error.into()),
    }
}

fn wait(pause: &mut Duration) {
    thread::sleep(*pause);
    *pause *= 2;
}

impl Store {
    /// The contents with that digest, fetched from one of `places` where they are missing or
    /// corrupted.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn get_or_fetch(
        &self,
        client: &Client,
        expected: Expected,
        places: &[Location],
    ) -> Result<Vec<u8>> {
        if let Some(bytes) = self.get(&expected.sha256)? {
            return Ok(bytes);
        }
        client.fetch(self, expected, places, &|_| {})?;
        self.need(&expected.sha256).context("fetched, and gone again")
    }
}
