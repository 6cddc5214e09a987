//! Publishing to RVPS: a gRPC service of our own on the `h2` server, strict as trustee's.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::server;
use prost::bytes::Bytes;
use serde_json::{Value, json};

use crate::command::run;
use crate::service::Fault;

/// Starts a service that answers one call a connection and meets the first connections with `faults`,
/// and gives its address.
fn start(faults: &'static [Fault]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    listener.set_nonblocking(true).expect("a listener");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let (mut values, mut faults) = (BTreeMap::new(), faults.iter());
            while let Ok((stream, _)) = listener.accept().await {
                let fault = faults.next().copied().unwrap_or(Fault::None);
                if fault == Fault::Reset {
                    continue;
                }
                // A client that loses its patience is none of the service's business.
                let Ok(mut connection) = server::handshake(stream).await else { continue };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let call = answer(request, respond, &mut values, fault);
                    tokio::pin!(call);
                    // The call waits for frames that the connection brings.
                    std::future::poll_fn(|context| {
                        use std::future::Future as _;
                        let _ = connection.poll_closed(context);
                        call.as_mut().poll(context)
                    })
                    .await;
                }
            }
        });
    });
    address
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: server::SendResponse<Bytes>,
    values: &mut BTreeMap<String, Value>,
    fault: Fault,
) {
    if let Fault::Slow(milliseconds) = fault {
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
    }
    let path = request.uri().path().to_string();
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        bytes.extend_from_slice(&chunk.expect("a chunk"));
    }
    let text = string(&bytes);
    let service = "/reference.ReferenceValueProviderService/";
    let result = match path.strip_prefix(service).expect("the service") {
        "QueryReferenceValue" => Ok(values.get(&text).map(Value::to_string)),
        "RegisterReferenceValue" => register(&text, values).map(|()| None),
        other => panic!("no method {other}"),
    };
    let head = http::Response::builder().header("content-type", "application/grpc").body(());
    let Ok(mut stream) = respond.send_response(head.expect("a head"), false) else { return };
    let mut trailers = http::HeaderMap::new();
    match (fault, result) {
        // gRPC's own status: 14, unavailable; 2, unknown.
        (Fault::Status(code), _) => {
            trailers.insert("grpc-status", code.into());
            trailers.insert("grpc-message", "not%20now".parse().expect("a value"));
        }
        // A frame that says more than it brings, and no status.
        (Fault::Truncated, _) => {
            stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 0x0a]), true).expect("data");
            return;
        }
        (_, Ok(text)) => {
            let message = text.map_or_else(Vec::new, |text| field(&text));
            stream.send_data(frame(&message), false).expect("data");
            trailers.insert("grpc-status", "0".parse().expect("a value"));
        }
        (_, Err(why)) => {
            trailers.insert("grpc-status", "10".parse().expect("a value"));
            trailers.insert("grpc-message", why.replace(' ', "%20").parse().expect("a value"));
        }
    }
    stream.send_trailers(trailers).ok();
}

fn register(text: &str, values: &mut BTreeMap<String, Value>) -> Result<(), String> {
    let message: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if message["version"] != "0.1.0" || message["type"] != "sample" {
        return Err("Could not find extractor".to_string());
    }
    let payload = STANDARD.decode(message["payload"].as_str().unwrap_or_default());
    let payload = payload.map_err(|error| error.to_string())?;
    let new: BTreeMap<String, Value> =
        serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
    if new.keys().any(|name| name.contains(':')) {
        return Err("register reference value".to_string());
    }
    values.extend(new);
    Ok(())
}

/// The string of field 1 (protobuf wire type 2), behind gRPC's five bytes.
fn string(frame: &[u8]) -> String {
    assert_eq!(frame[0], 0, "not compressed");
    assert_eq!(
        u32::from_be_bytes(frame[1..5].try_into().expect("four")),
        u32::try_from(frame.len() - 5).expect("short")
    );
    assert_eq!(frame[5], 0x0a, "field 1, a string");
    let continued = frame[6..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    String::from_utf8(frame[7 + continued..].to_vec()).expect("UTF-8")
}

fn field(text: &str) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![0x0a], text.len());
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).expect("seven bits"));
    [&bytes[..], text.as_bytes()].concat()
}

fn frame(message: &[u8]) -> Bytes {
    [&[0][..], &u32::try_from(message.len()).expect("short").to_be_bytes(), message].concat().into()
}

fn document(dir: &std::path::Path) -> String {
    let path = dir.join("reference-values.json");
    let document = json!({
        "version": 1, "tool": "guestsmith 0.1.0",
        "machines": [{
            "tee": "sev-snp", "vmm": "qemu", "confidence": "tools-agree",
            "registers": {"measurement": "01".repeat(48)},
        }],
    });
    fs::write(&path, document.to_string()).expect("a file");
    path.display().to_string()
}

#[test]
fn values_are_registered_read_back_and_not_sent_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, place) = (document(dir.path()), start(&[]));
    let publish = |more: &[&str]| {
        run(&[&["publish", &from, "--to", "rvps", "--place", &place][..], more].concat())
    };
    let (code, stdout, stderr) = publish(&[]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.starts_with("written    snp_launch_measurement"), "{stdout}");
    let (code, stdout, _) = publish(&[]);
    assert_eq!(code, 0);
    assert!(stdout.contains("nothing to do"), "{stdout}");
    let (code, stdout, _) = publish(&["--form", "rvps-uri", "--release", "v1"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("register reference value"), "{stdout}");
}

#[test]
fn a_place_without_the_service_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = document(dir.path());
    let (code, _, stderr) = run(&["publish", &from, "--to", "rvps", "--place", "127.0.0.1:1"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("RVPS at 127.0.0.1:1, QueryReferenceValue"), "{stderr}");
    assert!(stderr.contains("cannot connect"), "{stderr}");
    for place in ["https://127.0.0.1:50003", "localhost"] {
        let (code, _, stderr) = run(&["publish", &from, "--to", "rvps", "--place", place]);
        assert_eq!(code, 2);
        assert!(stderr.contains("expected HOST:PORT"), "{stderr}");
    }
}

#[test]
fn passing_faults_are_overcome_and_lasting_ones_named() {
    use Fault::{Reset, Slow, Status, Truncated};
    let dir = tempfile::tempdir().expect("a directory");
    let from = document(dir.path());
    let publish = |faults, patience| {
        let place = start(faults);
        run(&["publish", &from, "--to", "rvps", "--place", &place, "--patience", patience])
    };
    for faults in [
        &[Reset, Reset][..],
        &[Truncated, Fault::None, Truncated],
        &[Status(14), Status(14), Fault::None, Status(14)],
        &[Slow(300)],
    ] {
        let (code, stdout, stderr) = publish(faults, "10");
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        assert!(stdout.starts_with("written    snp_launch_measurement"), "{stdout}");
    }
    for (faults, patience, why) in [
        (&[Reset; 3][..], "10", "attempt 3"),
        (&[Truncated; 3], "10", "ended before its status"),
        (&[Status(14); 3], "10", "not now (14)"),
        (&[Status(2)], "10", "not now (2)"),
        (&[Slow(5000); 3], "1", "no answer within 1 s"),
    ] {
        let (code, stdout, stderr) = publish(faults, patience);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}

#[test]
fn what_a_refused_message_leaves_behind_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, place) = (document(dir.path()), start(&[]));
    let forms = ["--form", "rvps,rvps-uri", "--release", "v1"];
    let to = ["publish", &from, "--to", "rvps", "--place", &place];
    let (code, stdout, _) = run(&[&to[..], &forms].concat());
    assert_eq!(code, 1);
    assert!(stdout.contains("written    snp_launch_measurement"), "{stdout}");
    assert!(stdout.ends_with("1 written, 0 unchanged, 1 not there\n"), "{stdout}");
}
