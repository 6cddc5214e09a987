//! Builds that are killed at random points: what they leave does not shape what comes after them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guestsmith::build::root::Root;
use guestsmith::build::step::{Builder, Note, Step};
use guestsmith::sandbox::Sandbox;
use guestsmith::store::{Expected, Store, entries};

use super::steps;

/// Names the directory in which the test that is to be killed works.
const PLACE: &str = "GUESTSMITH_TO_BE_KILLED";

/// How often it is killed.
const TIMES: u32 = 20;

/// Each step takes the output of the one before; the scripts write for a while.
const SCRIPTS: [&str; 3] = [
    "for i in 1 2 3 4 5 6 7 8; do echo $i >> out; sleep 0.02; done; mkdir -p a/b; chmod 0 a",
    "cat /src/before /src/before > out; for i in 1 2 3 4 5 6; do sleep 0.02; cp out $i; done",
    "sleep 0.05; sort /src/before > out; sleep 0.05",
];

#[expect(clippy::disallowed_methods, reason = "the test starts itself again, to be killed")]
fn again(place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "killed::what_is_killed", "--ignored"]).env(PLACE, place);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "the test is told where to work")]
fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// All three steps, with the tools beside `place` and a store below it; the last output.
fn build(place: &Path) -> Vec<u8> {
    let tools = place.with_file_name("tools");
    let root = Root::at(&tools).expect("a root");
    let store = Store::open(&place.join("store")).expect("a store");
    let quiet = |_: &Note<'_>| {};
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_guestsmith").into());
    let builder = Builder { sandbox, ..Builder::new(&store, "test", &quiet) };
    let mut before = Expected::of(b"");
    store.put(b"").expect("stored");
    for (number, script) in SCRIPTS.iter().enumerate() {
        let step = Step {
            name: format!("step {number}"),
            root: &root,
            script,
            inputs: BTreeMap::from([("before".to_string(), before)]),
            env: BTreeMap::new(),
            outputs: vec!["out".into()],
        };
        before = builder.run(&step).unwrap_or_else(|error| panic!("{error:#}")).outputs["out"];
    }
    store.need(&before.sha256).expect("stored")
}

#[test]
#[ignore = "started by the test below, which kills it"]
fn what_is_killed() {
    if let Some(place) = place() {
        build(&place);
    }
}

#[test]
fn a_build_that_was_killed_resumes_as_if_nothing_had_been() {
    let dir = tempfile::tempdir().expect("a directory");
    steps::fill(&dir.path().join("tools"));
    let start = Instant::now();
    let clean = build(&dir.path().join("clean"));
    let length = start.elapsed();
    assert_eq!(clean.len(), 32);
    for time in 0..TIMES {
        // Points that differ from run to run, spread over the whole build.
        let jitter = start.elapsed().subsec_nanos() % 1000;
        let point = length * (time * 1000 + jitter) / (TIMES * 1000);
        let place = dir.path().join(format!("killed {time}"));
        let mut child = again(&place).spawn().expect("started");
        std::thread::sleep(point);
        child.kill().expect("killed");
        child.wait().expect("gone");
        assert_eq!(build(&place), clean, "killed after {point:?}");
        let left = entries::sorted(&place.join("store/scratch")).expect("readable").len();
        assert_eq!(left, 0, "killed after {point:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(600));
}
