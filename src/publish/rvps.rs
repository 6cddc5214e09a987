//! CoCo trustee's Reference Value Provider Service, straight, over gRPC (`protos/reference.proto`).
//!
//! The service has no authentication at all; whoever reaches it may register. gRPC's wire form
//! (grpc/grpc, `doc/PROTOCOL-HTTP2.md`): one HTTP/2 request, a length-prefixed message, the status
//! in the trailers.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use h2::client::SendRequest;
use prost::Message as _;
use prost::bytes::{Buf as _, Bytes};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::registry::{self, Registry};
use super::{Content, Destination, Report, Target};

/// The row of this destination.
pub(super) const DESTINATION: Destination = Destination {
    name: "rvps",
    about: "trustee's RVPS over gRPC, which asks for no key: --to rvps --place HOST:50003",
    publish,
};

const SERVICE: &str = "reference.ReferenceValueProviderService";
/// Attempts before a call is given up.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest answer that is read.
const LIMIT: usize = 16 << 20;
/// gRPC's status of a request that the service refused (`rvps/src/server/mod.rs`).
const ABORTED: u16 = 10;
/// gRPC's status of a service that is not there for the moment (grpc/grpc, `doc/statuscodes.md`).
const UNAVAILABLE: u16 = 14;

fn publish(content: &Content, target: &Target) -> Result<Report> {
    let address = target.place.strip_prefix("http://").unwrap_or(&target.place);
    let address = address.trim_end_matches('/').to_string();
    if address.contains('/') || !address.contains(':') {
        bail!("expected HOST:PORT (RVPS speaks gRPC without TLS), found `{}`", target.place);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the network")?;
    let mut rvps = Rvps { runtime, address, patience: target.patience };
    registry::publish(&mut rvps, content, target.dry_run)
}

/// `ReferenceValueRegisterRequest`, and `ReferenceValueQueryRequest`: both are one string.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    text: String,
}

/// `ReferenceValueQueryResponse`; `ReferenceValueRegisterResponse` is empty and reads as one.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(string, optional, tag = "1")]
    results: Option<String>,
}

struct Rvps {
    runtime: Runtime,
    address: String,
    patience: Duration,
}

/// The status of a call that is not OK.
#[derive(Debug)]
struct Status {
    code: u16,
    message: String,
}

impl Rvps {
    /// Calls the service; once more, a limited number of times, where no whole answer came or the
    /// service asks for it: both calls may be repeated.
    fn call(&self, method: &str, text: &str) -> Result<Result<Response, Status>> {
        let request = Request { text: text.to_string() };
        let (mut pause, mut attempt) = (PAUSE, 1);
        loop {
            let answer = self.once(method, &request);
            let passing = match &answer {
                Ok(answer) => answer.as_ref().is_err_and(|status| status.code == UNAVAILABLE),
                Err(_) => true,
            };
            if !passing || attempt == ATTEMPTS {
                return answer.with_context(|| format!("attempt {attempt}"));
            }
            thread::sleep(pause);
            (pause, attempt) = (pause * 2, attempt + 1);
        }
    }

    fn once(&self, method: &str, request: &Request) -> Result<Result<Response, Status>> {
        let call = call(&self.address, method, request);
        let what = || format!("RVPS at {}, {method}", self.address);
        let limited = async { tokio::time::timeout(self.patience, call).await };
        let done = self.runtime.block_on(limited).map_err(|_| {
            anyhow!("no answer within {} s", self.patience.as_secs()).context(what())
        })?;
        done.with_context(what)
    }
}

impl Registry for Rvps {
    fn get(&mut self, name: &str) -> Result<Option<Value>> {
        match self.call("QueryReferenceValue", name)? {
            Ok(Response { results: Some(text) }) => {
                serde_json::from_str(&text).with_context(|| format!("RVPS's value of {name}"))
            }
            Ok(Response { results: None }) => Ok(None),
            Err(status) => bail!("RVPS at {}: {} ({})", self.address, status.message, status.code),
        }
    }

    fn register(&mut self, message: &[u8]) -> Result<Result<(), String>> {
        let text = String::from_utf8_lossy(message);
        match self.call("RegisterReferenceValue", &text)? {
            Ok(_) => Ok(Ok(())),
            Err(status) if status.code == ABORTED => Ok(Err(status.message)),
            Err(status) => bail!("RVPS at {}: {} ({})", self.address, status.message, status.code),
        }
    }

    fn plan(&self, message: &[u8]) -> String {
        let text = String::from_utf8_lossy(message);
        format!("gRPC {} /{SERVICE}/RegisterReferenceValue\n\n{text}", self.address)
    }
}

/// One unary call on a connection of its own.
async fn call(address: &str, method: &str, request: &Request) -> Result<Result<Response, Status>> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    let (client, connection) = h2::client::handshake(stream).await.context("no HTTP/2 there")?;
    let exchange = exchange(client, address, method, request);
    // The connection moves bytes while the exchange waits for them; whichever ends first decides.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    std::future::poll_fn(|context| {
        use std::future::Future as _;
        if let std::task::Poll::Ready(done) = exchange.as_mut().poll(context) {
            return std::task::Poll::Ready(done);
        }
        match connection.as_mut().poll(context) {
            std::task::Poll::Pending => std::task::Poll::Pending,
            std::task::Poll::Ready(ended) => {
                // The last frames may have brought the answer.
                if let std::task::Poll::Ready(done) = exchange.as_mut().poll(context) {
                    return std::task::Poll::Ready(done);
                }
                let ended = ended.err().map_or(anyhow!("it closed the connection"), Into::into);
                std::task::Poll::Ready(Err(ended))
            }
        }
    })
    .await
}

async fn exchange(
    client: SendRequest<Bytes>,
    address: &str,
    method: &str,
    request: &Request,
) -> Result<Result<Response, Status>> {
    let mut client = client.ready().await?;
    let head = http::Request::post(format!("http://{address}/{SERVICE}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut stream) = client.send_request(head, false)?;
    stream.send_data(framed(request)?, true)?;
    let response = response.await?;
    if response.status() != 200 {
        bail!("it answered {}: is it a gRPC service?", response.status());
    }
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LIMIT {
            bail!("the answer is longer than {LIMIT} bytes");
        }
    }
    // A call that fails at once has its status in the head and no trailers.
    let trailers = body.trailers().await?.unwrap_or_default();
    let of = |name: &str| {
        let value = trailers.get(name).or_else(|| head.headers.get(name));
        value.and_then(|value| value.to_str().ok()).map(str::to_string)
    };
    match of("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => Ok(Ok(unframed(&bytes)?)),
        Some(code) => {
            let message = unescaped(&of("grpc-message").unwrap_or_default());
            Ok(Err(Status { code, message }))
        }
        None => bail!("the answer ended before its status"),
    }
}

/// A flag (not compressed), the length, the message.
fn framed(request: &Request) -> Result<Bytes> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).context("the message is too long")?;
    Ok([&[0][..], &length.to_be_bytes(), &message].concat().into())
}

fn unframed(bytes: &[u8]) -> Result<Response> {
    let mut rest = bytes;
    if rest.len() < 5 || rest.get_u8() != 0 {
        bail!("the answer is no uncompressed gRPC message");
    }
    let length = usize::try_from(rest.get_u32())?;
    if rest.len() != length {
        bail!("the answer's message has {} bytes instead of {length}", rest.len());
    }
    Ok(Response::decode(rest)?)
}

/// `grpc-message` is percent-encoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
