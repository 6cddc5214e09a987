//! A service over HTTP or HTTPS that answers as it is told and misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What goes wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The answer comes this many milliseconds late.
    Slow(u64),
    /// The connection ends without an answer.
    Reset,
    /// A status instead of an answer.
    Status(u16),
    /// The answer ends in the middle.
    Truncated,
}

/// A request.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The header called `name`, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// An answer without headers of its own.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A running service; it ends with the test's process.
pub(crate) struct Service {
    /// Its address: `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// A service on a port of its own, over TLS if asked for, that meets its first requests with
    /// `faults`.
    pub(crate) fn start(
        tls: bool,
        faults: &[Fault],
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let left: Vec<_> = faults.iter().rev().copied().collect();
        let shared = Arc::new((Mutex::new(left), Arc::clone(&requests), answer));
        let config = tls.then(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, config) = (Arc::clone(&shared), config.clone());
                std::thread::spawn(move || {
                    let (faults, requests, answer) = &*shared;
                    // A client that goes away is none of the service's business.
                    let served = match config {
                        None => serve(&stream, &stream, faults, requests, answer),
                        Some(config) => serve_tls(config, &stream, faults, requests, answer),
                    };
                    served.ok()
                });
            }
        });
        Self { url, requests }
    }

    /// Methods and paths of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

/// The first authority's certificate for this machine.
fn config() -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::from_pem_slice(include_bytes!("pki/server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("pki/server.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![chain.expect("a certificate")], key.expect("a key"));
    Arc::new(config.expect("a configuration"))
}

fn serve_tls(
    config: Arc<rustls::ServerConfig>,
    socket: &TcpStream,
    faults: &Mutex<Vec<Fault>>,
    requests: &Mutex<Vec<String>>,
    answer: &impl Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    let mut connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut socket = socket;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    let request = read(BufReader::new(&mut stream))?;
    let bytes = respond(&request, faults, requests, answer);
    stream.write_all(&bytes)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn serve(
    reader: impl Read,
    mut writer: &TcpStream,
    faults: &Mutex<Vec<Fault>>,
    requests: &Mutex<Vec<String>>,
    answer: &impl Fn(&Request) -> Answer,
) -> std::io::Result<()> {
    let request = read(BufReader::new(reader))?;
    let bytes = respond(&request, faults, requests, answer);
    match bytes.is_empty() {
        true => writer.shutdown(Shutdown::Both),
        false => writer.write_all(&bytes),
    }
}

fn read(mut reader: BufReader<impl Read>) -> std::io::Result<Request> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_string());
    }
    let mut words = head.first().map(|line| line.split(' ')).into_iter().flatten();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = head.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_string())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Request { method: method.to_string(), path: path.to_string(), headers, body })
}

/// The bytes of the answer; none where the connection ends without one.
fn respond(
    request: &Request,
    faults: &Mutex<Vec<Fault>>,
    requests: &Mutex<Vec<String>>,
    answer: &impl Fn(&Request) -> Answer,
) -> Vec<u8> {
    requests.lock().expect("requests").push(format!("{} {}", request.method, request.path));
    let fault = faults.lock().expect("faults").pop().unwrap_or(Fault::None);
    let mut answer = answer(request);
    match fault {
        Fault::None | Fault::Truncated => {}
        Fault::Slow(milliseconds) => std::thread::sleep(Duration::from_millis(milliseconds)),
        Fault::Reset => return Vec::new(),
        Fault::Status(status) => answer = Answer::new(status, ""),
    }
    let (said, sent) = match fault {
        Fault::Truncated => (answer.body.len() + 7, answer.body.len() / 2),
        _ => (answer.body.len(), answer.body.len()),
    };
    let mut head = format!("HTTP/1.1 {} x\r\ncontent-length: {said}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "date: Tue, 24 Nov 2026 00:00:00 GMT\r\nconnection: close\r\n\r\n";
    let body = if request.method == "HEAD" { &[][..] } else { &answer.body[..sent] };
    [head.as_bytes(), body].concat()
}
