//! A server of HTTP that can misbehave.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong with the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Each connection ends after that many bytes of a body.
    EndsAfter(usize),
    /// The first answers are «come back later», that many.
    Busy(usize),
    /// It knows no ranges, and each connection ends after that many bytes but the last ones.
    NoRanges(usize),
    /// Ranges begin elsewhere than asked.
    WrongRange,
    /// A pause after each of so many bytes.
    Slow(usize, Duration),
}

/// A server of a directory, which ends with the test.
pub(crate) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn new(dir: PathBuf, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (dir, seen) = (dir.clone(), Arc::clone(&seen));
                // A client that goes away is none of the server's business.
                thread::spawn(move || answer(stream, &dir, fault, &seen).ok());
            }
        });
        Self { address, requests }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// First lines of all requests, with the range where one was asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("lock").clone()
    }
}

fn answer(
    mut stream: TcpStream,
    dir: &std::path::Path,
    fault: Fault,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    let head: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("/").to_string();
    let range = head.iter().find_map(|line| {
        line.to_lowercase().strip_prefix("range: bytes=")?.split('-').next()?.parse().ok()
    });
    let number = {
        let mut seen = seen.lock().expect("lock");
        seen.push(format!(
            "{path} {}",
            range.map_or("-".to_string(), |from: usize| from.to_string())
        ));
        seen.iter().filter(|request| request.starts_with(&format!("{path} "))).count()
    };
    if matches!(fault, Fault::Busy(times) if number <= times) {
        return stream
            .write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let Ok(contents) = fs::read(dir.join(path.trim_start_matches('/'))) else {
        return stream
            .write_all(b"HTTP/1.1 404 None\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let ranges = !matches!(fault, Fault::NoRanges(_));
    let from = range.filter(|from| ranges && *from < contents.len()).unwrap_or(0);
    let body = &contents[from..];
    let stated = if fault == Fault::WrongRange { from + 1 } else { from };
    let status = match from {
        0 => "200 OK".to_string(),
        _ => format!(
            "206 Partial\r\ncontent-range: bytes {stated}-{}/{}",
            contents.len() - 1,
            contents.len()
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    match fault {
        Fault::EndsAfter(count) => stream.write_all(&body[..count.min(body.len())]),
        Fault::NoRanges(count) if number < 3 => stream.write_all(&body[..count.min(body.len())]),
        Fault::WrongRange if number < 2 => stream.write_all(&body[..body.len() / 2]),
        Fault::Slow(count, pause) => body.chunks(count).try_for_each(|chunk| {
            thread::sleep(pause);
            stream.write_all(chunk)
        }),
        _ => stream.write_all(body),
    }
}
