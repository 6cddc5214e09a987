//! Requests to a service over HTTP: a body there, status and body back. For what is published; what
//! is fetched goes through [`super::http`].

use std::io::Read as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

/// Attempts before a request is given up.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest answer that is read.
const LIMIT: u64 = 16 << 20;

/// A service that takes requests.
pub struct Api {
    agent: ureq::Agent,
}

/// A request. Its methods are idempotent in every service that is spoken to, so it may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST` or `PUT`.
    pub method: &'static str,
    /// Whole address.
    pub url: String,
    /// Headers; those whose value must not be shown are in [`Request::secret`].
    pub headers: Vec<(&'static str, String)>,
    /// Value of the `authorization` header: never printed.
    pub secret: Secret,
    /// Body, empty for `GET`.
    pub body: Vec<u8>,
}

/// A header's value that no error, log or dry run shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Option<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "(not shown)" } else { "none" })
    }
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The `location` header.
    pub location: Option<String>,
    /// The `date` header: what the server's clock says.
    pub date: Option<String>,
    /// The `www-authenticate` header: what the server asks for.
    pub challenge: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Api {
    /// A client that trusts the system's certificates, or only those of the PEM text `ca`.
    ///
    /// # Errors
    /// `ca` holds no certificate.
    pub fn new(ca: Option<&str>, patience: Duration) -> Result<Self> {
        let roots = match ca {
            None => RootCerts::PlatformVerifier,
            Some(pem) => RootCerts::Specific(Arc::new(certificates(pem)?)),
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(patience))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("guestsmith/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into() })
    }

    /// Sends `request`; once more, a limited number of times, where the connection fails, the answer
    /// ends early or the server says that it cannot now.
    ///
    /// # Errors
    /// No attempt brought a whole answer.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.once(request) {
                Ok(answer) if attempt < ATTEMPTS && is_passing(answer.status) => {}
                Ok(answer) => return Ok(answer),
                Err(error) if attempt == ATTEMPTS || is_lasting(&error) => {
                    let what = format!("{} {} (attempt {attempt})", request.method, request.url);
                    return Err(error.context(what));
                }
                Err(_) => {}
            }
            thread::sleep(pause);
            pause *= 2;
        }
        Err(anyhow!("{} {} was never sent", request.method, request.url))
    }

    fn once(&self, request: &Request) -> Result<Response> {
        let mut builder = ureq::http::Request::builder().method(request.method).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(secret) = &request.secret.0 {
            // The library's error would show the value.
            let value = ureq::http::HeaderValue::from_str(secret);
            let mut value =
                value.map_err(|_| anyhow!("the token has characters that no token has"))?;
            value.set_sensitive(true);
            builder = builder.header("authorization", value);
        }
        let mut answer = match request.body.is_empty() {
            true => self.agent.run(builder.body(())?)?,
            false => self.agent.run(builder.body(&request.body[..])?)?,
        };
        let header = |name: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_string)
        };
        let (location, date) = (header("location"), header("date"));
        let challenge = header("www-authenticate");
        let mut body = Vec::new();
        answer.body_mut().as_reader().take(LIMIT).read_to_end(&mut body).context("the answer")?;
        Ok(Response { status: answer.status().as_u16(), location, date, challenge, body })
    }
}

fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>> {
    let items: Vec<_> = ureq::tls::parse_pem(pem.as_bytes()).collect::<Result<_, _>>()?;
    let certificates = items.into_iter().filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        bail!("the file of the certificate authority holds no certificate (PEM)");
    }
    Ok(certificates)
}

/// Statuses that another attempt may change (RFC 9110 section 15).
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Errors that another attempt meets again: a certificate, an address.
fn is_lasting(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
        Some(
            ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_),
        ) => false,
        Some(_) => true,
        None => false,
    }
}
