//! Sources of kind `git`: repositories that Git has made, read as files, over a web server that knows
//! nothing of Git and over Git's own protocol; what is locked is compared with what Git says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use guestsmith::format::cpio;

use super::command::guestsmith;
use super::server::{Fault, Server};

struct Place {
    dir: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "the tests compare with Git itself")]
fn tool(name: &str) -> Command {
    Command::new(name)
}

impl Place {
    /// A repository with files of every kind, and enough history for deltas.
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir_all(place.work().join("src/deep")).expect("made");
        place.git(&["init", "-q", "-b", "main"]);
        let text = |n: u32| (0..4000).map(|i| format!("line {i} {}\n", i % 97 * n)).collect();
        for n in 1..6 {
            let text: String = text(n);
            place.write("src/large", text.replacen("line 7 ", "line seven ", 1).as_bytes());
            place.write("src/deep/agent", format!("#!/bin/sh\necho {n}\n").as_bytes());
            place.git(&["add", "-A"]);
            place.git(&["commit", "-q", "-m", "more"]);
        }
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.work().join("src/deep/agent"), mode).expect("a mode");
        symlink("deep/agent", place.work().join("src/link")).expect("a link");
        place.write(&format!("{}/{}", "d".repeat(60), "f".repeat(60)), b"long");
        place.write("empty", b"");
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "last"]);
        place.git(&["tag", "-a", "-m", "first", "v1"]);
        place.git(&["update-server-info"]);
        place
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn write(&self, name: &str, contents: &[u8]) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, contents).expect("written");
    }

    fn git(&self, arguments: &[&str]) -> String {
        let names = ["AUTHOR", "COMMITTER"].map(|who| {
            [(format!("GIT_{who}_NAME"), "a"), (format!("GIT_{who}_EMAIL"), "a@example.org")]
        });
        let output = tool("git")
            .arg("-C")
            .arg(self.work())
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .envs(names.concat())
            .output()
            .expect("git");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("text").trim().to_string()
    }

    /// Writes a recipe that takes its agent from the repository, and gives its path.
    fn recipe(&self, name: &str, url: &str, rev: &str) -> PathBuf {
        let path = self.dir.path().join(name).join("a.yaml");
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        let text = format!(
            "name: a\narch: x86_64\nepoch: 2026-11-01T00:00:00Z\nsources:\n  \
             tree: {{git: {{url: '{url}', rev: '{rev}'}}}}\n\
             initrd: {{agent: {{from: {{source: tree, file: /src/link, at: /init}}}}}}\n"
        );
        fs::write(&path, text).expect("written");
        path
    }

    fn run(&self, verb: &str, recipe: &Path) -> (bool, String) {
        let dir = recipe.parent().expect("a parent");
        let mut command = guestsmith(&[verb, "--store"]);
        command.arg(dir.join("store")).arg(recipe);
        if verb == "build" {
            command.arg("--out").arg(dir.join("out"));
        }
        let output = command.output().expect("runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The values of the one locked commit.
    fn lock(&self, name: &str, url: &str, rev: &str) -> BTreeMap<String, String> {
        let recipe = self.recipe(name, url, rev);
        let (locked, text) = self.run("lock", &recipe);
        assert!(locked, "{name}: {text}");
        let lock = fs::read_to_string(recipe.with_extension("lock")).expect("a lock");
        let (_, commit) = lock.split_once("[[commit]]").expect("a commit");
        let pair = |line: &str| {
            let (key, value) = line.split_once(" = ")?;
            Some((key.to_string(), value.trim_matches('"').to_string()))
        };
        commit.lines().filter_map(pair).collect()
    }

    fn file_url(&self) -> String {
        format!("file://{}", self.work().display())
    }
}

/// A server of Git's protocol: `git upload-pack` behind HTTP.
fn smart(repository: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/repo", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            upload_pack(stream, &repository).expect("an answer");
        }
    });
    address
}

fn upload_pack(mut stream: TcpStream, repository: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let lines = reader.by_ref().lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let length = head
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let advertise = head[0].starts_with("GET /repo/info/refs?service=git-upload-pack ");
    let kind = if advertise { "advertisement" } else { "result" };
    let mut command = tool("git");
    command.args(["-c", "safe.directory=*", "upload-pack", "--stateless-rpc"]);
    command.args(advertise.then_some("--http-backend-info-refs")).arg(repository);
    command.env("GIT_PROTOCOL", "version=2").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().expect("a pipe").write_all(&body)?;
    let output = child.wait_with_output()?.stdout;
    let kind = format!("content-type: application/x-git-upload-pack-{kind}");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\n{kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        output.len()
    )?;
    stream.write_all(&output)
}

#[test]
fn every_way_to_a_commit_gives_what_git_gives() {
    let place = Place::new();
    let loose = place.lock("loose", &place.file_url(), "main");
    assert_eq!(loose["commit"], place.git(&["rev-parse", "HEAD"]));
    assert_eq!(loose["tree"], place.git(&["rev-parse", "HEAD^{tree}"]));
    let server = Server::new(place.work().join(".git"), Fault::None);
    assert_eq!(place.lock("dumb, loose", server.address(), "v1"), loose);
    place.git(&["gc", "-q", "--aggressive", "--prune=now"]);
    place.git(&["update-server-info"]);
    assert_eq!(place.lock("packed", &place.file_url(), "v1"), loose);
    assert_eq!(place.lock("dumb, packed", server.address(), "main"), loose);
    let address = smart(place.work());
    for rev in ["main", "v1", "refs/tags/v1", &loose["commit"]] {
        assert_eq!(place.lock(&format!("smart {}", rev.replace('/', "-")), &address, rev), loose);
    }
}

#[test]
fn the_archive_holds_what_git_archives() {
    let place = Place::new();
    let locked = place.lock("one", &place.file_url(), "main");
    let sha256 = &locked["sha256"].trim_start_matches("sha256:");
    let blobs = place.dir.path().join("one/store/blobs");
    let archive = blobs.join(&sha256[..2]).join(sha256);
    let archive =
        if archive.exists() { archive } else { blobs.join(&sha256[..2]).join(&sha256[2..]) };
    let listed = |tar: &Path| {
        let (out, dir) = (tempfile::tempdir().expect("a directory"), "x");
        let target = out.path().join(dir);
        fs::create_dir(&target).expect("made");
        let mut unpack = tool("tar");
        unpack.arg("-xpf").arg(tar).arg("-C").arg(&target).arg("--strip-components=1");
        assert!(unpack.status().expect("tar").success());
        let script = "find . ! -type d -printf '%P %y %m %l\\n' | sort; find . -type f | sort | xargs sha256sum";
        let output = tool("bash").args(["-c", script]).current_dir(&target).output();
        String::from_utf8(output.expect("find").stdout).expect("text")
    };
    let gits = place.dir.path().join("git.tar");
    let to = gits.to_str().expect("text");
    place.git(&["-c", "tar.umask=0022", "archive", "--prefix=top/", "-o", to, "HEAD"]);
    let expected = listed(&gits);
    assert!(expected.contains("src/link l 777 deep/agent") && expected.lines().count() > 8);
    assert_eq!(listed(&archive), expected);
}

#[test]
fn a_build_takes_its_program_out_of_the_tree() {
    let place = Place::new();
    let recipe = place.recipe("one", &place.file_url(), "v1");
    for verb in ["lock", "build"] {
        let (done, text) = place.run(verb, &recipe);
        assert!(done, "{verb}: {text}");
    }
    let out = place.dir.path().join("one/out/initrd.img");
    let bytes = fs::read(out).expect("an initrd");
    let (entries, _) = cpio::parse(&bytes).expect("an archive");
    let init = entries.iter().find(|entry| entry.path == "init").expect("the program");
    assert_eq!((init.data, init.mode), (&b"#!/bin/sh\necho 5\n"[..], 0o10_0755));
    // Somebody else's store is empty, and the branch has moved on: the lock decides.
    place.write("src/deep/agent", b"another");
    place.git(&["commit", "-q", "-a", "-m", "another"]);
    fs::remove_dir_all(place.dir.path().join("one/store")).expect("removed");
    fs::remove_dir_all(place.dir.path().join("one/out")).expect("removed");
    let (done, text) = place.run("build", &recipe);
    assert!(done, "{text}");
    assert_eq!(fs::read(place.dir.path().join("one/out/initrd.img")).expect("an initrd"), bytes);
}

#[test]
fn what_is_not_there_or_not_itself_is_refused() {
    let place = Place::new();
    let refused = |name: &str, url: &str, rev: &str| {
        let (done, text) = place.run("lock", &place.recipe(name, url, rev));
        assert!(!done, "{name}: {text}");
        text
    };
    let url = place.file_url();
    assert!(refused("rev", &url, "no-such").contains("it has no tag or branch `no-such`"));
    let absent = refused("absent", &url, &"7".repeat(40));
    assert!(absent.contains("the repository does not have it"), "{absent}");
    let elsewhere = format!("file://{}", place.dir.path().display());
    assert!(refused("elsewhere", &elsewhere, "main").contains("there is no Git repository at"));
    assert!(refused("smart", &smart(place.work()), "no-such").contains("no tag or branch"));
    let blob = place.git(&["rev-parse", "HEAD:empty"]);
    assert!(refused("blob", &url, &blob).contains("is a blob, not a commit"));
    // An object that is another one, under its name.
    let large = place.git(&["rev-parse", "HEAD:src/large"]);
    let path = |name: &str| place.work().join(".git/objects").join(&name[..2]).join(&name[2..]);
    fs::remove_file(path(&large)).expect("removed");
    fs::copy(path(&blob), path(&large)).expect("copied");
    let broken = refused("broken", &url, "main");
    assert!(broken.contains(&format!("the object {large} is broken")), "{broken}");
}
