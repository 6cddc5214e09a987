//! Sources of kind `oci`: images in a directory and behind a registry that wants a token.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use guestsmith::digest::Sha256;
use guestsmith::format::cpio;

use super::command::guestsmith;

/// An image of two layers, in an OCI layout: the second replaces a file and takes one away.
struct Image {
    dir: tempfile::TempDir,
    index: Sha256,
}

impl Image {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("layout/blobs/sha256")).expect("made");
        let mut image = Self { dir, index: Sha256::ZERO };
        let lower =
            image.layer("a", &[("usr/bin/agent", "old"), ("usr/bin/gone", "gone")], "--gzip");
        let upper =
            image.layer("b", &[("usr/bin/agent", "new"), ("usr/bin/.wh.gone", "")], "--zstd");
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let layer = |(sha256, size): (Sha256, usize)| {
            format!(r#"{{"mediaType":"{kind}","digest":"sha256:{sha256}","size":{size}}}"#)
        };
        let layers = format!("{},{}", layer(lower), layer(upper));
        let (manifest, size) = image.blob(format!(r#"{{"schemaVersion":2,"layers":[{layers}]}}"#));
        let of = |arch: &str, digest: &Sha256| {
            format!(
                r#"{{"digest":"sha256:{digest}","size":{size},"platform":{{"os":"linux","architecture":"{arch}"}}}}"#
            )
        };
        let both = format!("{},{}", of("arm64", &Sha256::ZERO), of("amd64", &manifest));
        image.index = image.blob(format!(r#"{{"schemaVersion":2,"manifests":[{both}]}}"#)).0;
        image
    }

    fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }

    fn blob(&self, contents: impl AsRef<[u8]>) -> (Sha256, usize) {
        let digest = Sha256::of(contents.as_ref());
        let path = self.layout().join("blobs/sha256").join(digest.to_string());
        fs::write(path, contents.as_ref()).expect("written");
        (digest, contents.as_ref().len())
    }

    fn layer(&self, name: &str, files: &[(&str, &str)], form: &str) -> (Sha256, usize) {
        let (dir, tar) = (self.dir.path().join(name), self.dir.path().join(format!("{name}.tar")));
        for (path, text) in files {
            fs::create_dir_all(dir.join(path).parent().expect("a parent")).expect("made");
            fs::write(dir.join(path), text).expect("written");
        }
        let mut command = tool("tar");
        command.arg("-cf").arg(&tar).arg(form).arg("-C").arg(&dir).arg(".");
        assert!(command.status().expect("tar").success());
        self.blob(fs::read(tar).expect("a layer"))
    }

    /// What locking and building an image with that file as its agent says.
    fn run(&self, place: &str, file: &str) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        let recipe = dir.path().join("a.yaml");
        let text = format!(
            "name: a\narch: x86_64\nepoch: 2026-11-01T00:00:00Z\nsources:\n  \
             image: {{oci: {{image: '{place}@sha256:{}'}}}}\n\
             initrd: {{agent: {{from: {{source: image, file: {file}, at: /init}}}}}}\n",
            self.index
        );
        fs::write(&recipe, text).expect("written");
        for verb in ["lock", "build"] {
            let store = dir.path().join(format!("store of {verb}"));
            let mut command = guestsmith(&[verb, "--store"]);
            command.arg(store).arg(&recipe);
            if verb == "build" {
                command.arg("--out").arg(dir.path().join("out"));
            }
            let output = command.output().expect("runs");
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        Ok(fs::read(dir.path().join("out/initrd.img")).expect("an initrd"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the layers are made by tar")]
fn tool(name: &str) -> Command {
    Command::new(name)
}

/// A registry that gives a token to anybody, and blobs to who shows it.
fn registry(layout: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let own = address.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &layout, &own).expect("an answer");
        }
    });
    address
}

fn answer(mut stream: TcpStream, layout: &Path, own: &str) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head[0].split(' ').nth(1).unwrap_or_default();
    let shown = head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer sesame"));
    let (status, header, body) = if path == "/token?service=it&scope=repository:kata/agent:pull" {
        ("200 OK", String::new(), br#"{"token":"sesame"}"#.to_vec())
    } else if !shown {
        let challenge = format!(
            "www-authenticate: Bearer realm=\"http://{own}/token\",service=\"it\",\
             scope=\"repository:kata/agent:pull\"\r\n"
        );
        ("401 Unauthorized", challenge, Vec::new())
    } else {
        let digest = path.rsplit("sha256:").next().unwrap_or_default();
        match fs::read(layout.join("blobs/sha256").join(digest)) {
            Ok(blob) if path.starts_with("/v2/kata/agent/") => ("200 OK", String::new(), blob),
            _ => ("404 Not Found", String::new(), Vec::new()),
        }
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

#[test]
fn a_file_is_taken_from_the_uppermost_layer_that_has_it() {
    let image = Image::new();
    let layout = format!("file://{}", image.layout().display());
    let by_file = image.run(&layout, "/usr/bin/agent").expect("built");
    let (entries, _) = cpio::parse(&by_file).expect("an archive");
    let init = entries.iter().find(|entry| entry.path == "init").expect("the program");
    assert_eq!(init.data, b"new");
    let address = registry(image.layout());
    assert_eq!(image.run(&format!("{address}/kata/agent"), "/usr/bin/agent"), Ok(by_file));
}

#[test]
fn what_is_taken_away_or_broken_is_refused() {
    let image = Image::new();
    let layout = format!("file://{}", image.layout().display());
    let gone = image.run(&layout, "/usr/bin/gone").expect_err("taken away");
    assert!(gone.contains("the source `image` has no file /usr/bin/gone"), "{gone}");
    let address = registry(image.layout());
    let other = image.run(&format!("{address}/other"), "/usr/bin/agent").expect_err("unknown");
    assert!(other.contains("the registry answered 404"), "{other}");
    let index = image.layout().join("blobs/sha256").join(image.index.to_string());
    fs::write(index, r#"{"layers":[]}"#).expect("written");
    let broken = image.run(&layout, "/usr/bin/agent").expect_err("broken");
    assert!(broken.contains("gives other bytes for"), "{broken}");
}
