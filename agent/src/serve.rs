//! Evidence over vsock: a line in, a line out.
//!
//! A client sends 128 hexadecimal digits, its 64-byte nonce, and a newline; the answer is one line
//! of JSON: `{"provider":…,"outblob":…,"auxblob":…}` or `{"error":…}`.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::time::Duration;

use vsock::{VMADDR_CID_ANY, VsockListener};

use crate::evidence;

/// vsock port of the service.
pub const PORT: u32 = 4050;

/// A client that sends nothing is dropped after this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the service; the port, or why it does not listen.
pub fn start() -> Result<u32, String> {
    let listener = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, PORT)
        .map_err(|error| format!("vsock: {error}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(PATIENCE)); // only a courtesy to the next client
            let _ = stream.try_clone().and_then(|reader| answer(reader, stream)); // client is gone
        }
    });
    Ok(PORT)
}

/// Answers one client.
fn answer(from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut line = String::new();
    let longest = 2 * evidence::NONCE as u64 + 2;
    BufReader::new(from.take(longest)).read_line(&mut line)?;
    writeln!(to, "{}", reply(line.trim_end()))?;
    to.flush()
}

fn reply(line: &str) -> serde_json::Value {
    let Some(nonce) = evidence::nonce(line) else {
        return serde_json::json!({"error": "a nonce is 128 hexadecimal digits and a newline"});
    };
    match evidence::report(&nonce) {
        Ok(evidence) => serde_json::json!(evidence),
        Err(error) => serde_json::json!({"error": format!("no evidence: {error}")}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_one_line_whatever_it_sends() {
        for hostile in [&b"hello\n"[..], &[b'a'; 4096], b"", b"\xff\xfe\n"] {
            let mut out = Vec::new();
            let answered = answer(hostile, &mut out);
            let text = String::from_utf8(out).expect("text");
            assert!(answered.is_err() || text.starts_with("{\"error\":"), "{text}");
        }
    }
}
