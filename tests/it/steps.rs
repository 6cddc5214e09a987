//! Build steps in the sandbox: run once for each key, told why they run, and twice with everything
//! varied, so that each known kind of difference is found and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use guestsmith::build::firmware;
use guestsmith::build::root::Root;
use guestsmith::build::step::{Builder, Built, Note, Step};
use guestsmith::build::variation::Variation;
use guestsmith::format::tar::{Archive, Content};
use guestsmith::sandbox::host::Command;
use guestsmith::sandbox::{Limits, Sandbox};
use guestsmith::store::{Expected, Store};
use guestsmith::verify::rebuild;

/// Programs that the scripts below use.
const PROGRAMS: &[&str] = &[
    "cat", "chmod", "cp", "date", "env", "gzip", "id", "ln", "ls", "mkdir", "nproc", "patch",
    "sed", "sh", "bash", "sleep", "sort", "stat", "tar", "touch",
];

/// A workplace: a root of this host's programs, and a store.
struct Place {
    dir: tempfile::TempDir,
    root: Root,
    store: Store,
    notes: Mutex<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let tools = dir.path().join("tools");
        fill(&tools);
        let root = Root::at(&tools).expect("a root");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        Self { dir, root, store, notes: Mutex::new(Vec::new()) }
    }

    fn step(&self, name: &str, script: &'static str) -> Step<'_> {
        let mut inputs = BTreeMap::new();
        for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let sha256 = self.store.put(letter.as_bytes()).expect("stored");
            inputs.insert(format!("data/{letter}"), Expected { sha256, size: 1 });
        }
        Step {
            name: name.into(),
            root: &self.root,
            script,
            inputs,
            env: BTreeMap::new(),
            outputs: vec!["out".into()],
        }
    }

    fn run(&self, step: &Step<'_>, variation: Variation) -> anyhow::Result<Built> {
        let notify = |note: &Note<'_>| self.notes.lock().expect("a lock").push(format!("{note:?}"));
        let builder = Builder {
            store: &self.store,
            owner: "test".into(),
            notify: &notify,
            sandbox: Sandbox::new(env!("CARGO_BIN_EXE_guestsmith").into()),
            limits: Limits { time: Duration::from_secs(60), ..Limits::default() },
            variation,
        };
        builder.run(step)
    }

    fn output(&self, built: &Built) -> Vec<u8> {
        self.store.need(&built.outputs["out"].sha256).expect("stored")
    }
}

/// Working directories that are still there.
fn left_behind(place: &Place) -> usize {
    let scratch = place.dir.path().join("store/scratch");
    guestsmith::store::entries::sorted(&scratch).expect("readable").len()
}

/// Copies programs with the libraries that they are linked to.
pub(super) fn fill(tools: &Path) {
    for dir in ["build", "dev", "proc", "src", "tmp", "usr/bin", "usr/lib", "usr/lib64"] {
        fs::create_dir_all(tools.join(dir)).expect(dir);
    }
    for dir in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{dir}"), tools.join(dir)).expect(dir);
    }
    let mut files = BTreeSet::new();
    for program in PROGRAMS {
        let path = PathBuf::from("/usr/bin").join(program);
        let linked = Command::new("/usr/bin/ldd").arg(&path).run().expect("ldd");
        let text = String::from_utf8(linked.stdout).expect("text");
        files.extend(text.split_whitespace().filter(|w| w.starts_with('/')).map(PathBuf::from));
        files.insert(path);
    }
    for file in files {
        let to = tools.join(file.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("directory");
        fs::copy(&file, &to).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[test]
fn a_step_runs_once_for_each_key_and_says_why_it_runs_again() {
    let place = Place::new();
    let mut step = place.step("greeting", "echo hello > out\n");
    let first = place.run(&step, Variation::none()).expect("built");
    assert_eq!((place.output(&first), first.ran), (b"hello\n".to_vec(), true));
    let again = place.run(&step, Variation::none()).expect("known");
    assert_eq!(again, Built { ran: false, ..first.clone() });
    step.env.insert("GREETING".into(), "hi".into());
    step.inputs.remove("data/h");
    let changed = place.run(&step, Variation::none()).expect("built");
    assert!(changed.ran && changed.key != first.key);
    let notes = place.notes.lock().expect("a lock");
    let input = "\"input data/h: aaa9402664f1 is gone\", \"variable GREETING: hi is new\"";
    assert_eq!(
        *notes,
        [
            "Runs(\"greeting\", [\"it has not run before\"])",
            "Ran(\"greeting\")",
            "Known(\"greeting\")",
            &format!("Runs(\"greeting\", [{input}])"),
            "Ran(\"greeting\")",
        ]
    );
    assert_eq!(left_behind(&place), 0);
}

#[test]
fn what_goes_wrong_is_told_with_the_end_of_the_log() {
    let place = Place::new();
    let refused = |script: &'static str| {
        let error = place.run(&place.step("wrong", script), Variation::none());
        format!("{:#}", error.expect_err("refused"))
    };
    let failed = refused("for i in 1 2 3; do echo line $i; done; exit 3\n");
    assert!(
        failed.starts_with(
            "step wrong: its script ended with code 3; its last lines were\nline 1\nline 2\nline 3\n"
        ),
        "{failed}"
    );
    let log = failed.rsplit("all of them: ").next().expect("a path").trim_end_matches(')');
    assert_eq!(fs::read_to_string(log).expect("a log"), "line 1\nline 2\nline 3\n");
    assert!(refused("echo nothing").contains("the script has not made its output out"));
    assert!(refused("ln -s /etc/passwd out").contains("the script has not made its output out"));
    assert!(refused("mkdir out").contains("the output out is not a regular file"));
    assert!(refused("kill -KILL $$").contains("ended by signal 9"));
    // Nothing of a failed step is kept as its result.
    assert!(refused("echo x > out; exit 1").contains("ended with code 1"));
    // Directories that nobody may enter do not stay behind.
    refused("mkdir -p a/b; chmod 0 a; exit 1");
    assert_eq!(left_behind(&place), 0);
}

#[test]
fn a_tarball_that_leads_out_leads_nowhere() {
    let place = Place::new();
    let mut archive = Archive::new(1);
    archive.add("link", Content::Symlink("/tmp"));
    for path in ["../../escaped", "/tmp/../../escaped", "link/escaped", "/usr/bin/escaped"] {
        archive.add(path, Content::File(b"out", true));
    }
    let bytes = archive.finish();
    let hostile = Expected::of(&bytes);
    place.store.put(&bytes).expect("stored");
    let mut step = place.step(
        "unpacking",
        "mkdir in; tar -P -xf /src/hostile.tar -C in 2> said || cat said >> out; echo done >> out",
    );
    step.inputs.insert("hostile.tar".into(), hostile);
    let built = place.run(&step, Variation::none()).expect("built");
    let said = String::from_utf8(place.output(&built)).expect("text");
    assert!(said.contains("Read-only file system") && said.ends_with("done\n"), "{said}");
    for path in ["escaped", "store/escaped", "store/scratch/escaped", "tools/usr/bin/escaped"] {
        assert!(!place.dir.path().join(path).exists(), "{path}");
    }
    assert_eq!(left_behind(&place), 0);
}

#[test]
fn a_patch_that_does_not_apply_is_named() {
    let place = Place::new();
    let mut sources = Archive::new(1);
    sources.add("edk2/OvmfPkg/AmdSev/AmdSevX64.dsc", Content::File(b"[Defines]\n", false));
    let sources = sources.finish();
    let tarball = Expected::of(&sources);
    place.store.put(&sources).expect("stored");
    let quiet = |_: &Note<'_>| {};
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_guestsmith").into());
    let builder = Builder { sandbox, ..Builder::new(&place.store, "test", &quiet) };
    let edk2 = firmware::Edk2 { tarball, debian: None, version: "1".into(), epoch: 1 };
    let platform = firmware::PLATFORMS[0];
    let error = firmware::build(&builder, &place.root, &edk2, platform).expect_err("refused");
    let text = format!("{error:#}");
    assert!(text.contains("the patch 0001-amdsev-without-grub.patch does not apply"), "{text}");
    assert!(text.starts_with("step firmware AmdSevX64: its script ended with code 1"), "{text}");
}

#[test]
fn set_user_id_bits_do_not_leave_the_sandbox() {
    let place = Place::new();
    let step = place.step("bits", "cp /usr/bin/id out; chmod 6755 out");
    let built = place.run(&step, Variation::none()).expect("built");
    let path = place.store.path(&built.outputs["out"].sha256).expect("readable").expect("stored");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(path).expect("metadata"));
    assert_eq!(mode & 0o7777, 0o444);
}

/// Scripts that give other bits at every build, and the cause that is named.
const FAULTS: &[(&str, &str, &str)] = &[
    ("time", "date -u +%s > out", "the time of the build"),
    ("gzip", "echo x > f; gzip f; cp f.gz out", "the time in a gzip header"),
    (
        "path",
        "while read -r _ _ _ from _; do echo $from; done < /proc/self/mountinfo > out",
        "the path of the build",
    ),
    ("host name", "cat /proc/sys/kernel/hostname > out", "the host name"),
    ("user", "id -u > out", "the user's name or number"),
    ("umask", "touch f; stat -c %A f > out", "permissions that follow the umask"),
    ("time zone", "date -d @0 +%Z > out", "the time zone"),
    ("environment", "env | sort > out", "a variable of the environment"),
    ("jobs", "echo jobs=$(nproc) > out", "the number of CPUs"),
    ("directory order", "ls -U /src/data > out", "the same parts in another order"),
    (
        "parallel order",
        "for i in 1 2 3 4 5 6 7 8 9; do bash -c 'sleep 0.$((RANDOM % 90 + 10))'\"; echo $i >> out\" & \
         done; wait",
        "the same parts in another order",
    ),
    (
        "random numbers",
        "bash -c 'echo ${RANDOM}x${RANDOM}x${RANDOM}x${RANDOM} > out'",
        "random numbers",
    ),
];

#[test]
fn every_seeded_fault_is_found_and_named() {
    let place = Place::new();
    let build = |variation: &Variation| -> Vec<Vec<u8>> {
        let one = |(name, script, _): &(&str, &'static str, &str)| {
            let built = place.run(&place.step(name, script), variation.clone());
            place.output(&built.unwrap_or_else(|error| panic!("{name}: {error:#}")))
        };
        FAULTS.iter().map(one).collect()
    };
    let first = build(&Variation::none());
    std::thread::sleep(Duration::from_millis(1100)); // clocks count seconds
    let second = build(&Variation::everything(Some("/dev/shm".into())));
    let one_cpu = std::thread::available_parallelism().map_or(1, usize::from) == 1;
    for ((name, _, cause), (a, b)) in FAULTS.iter().zip(first.iter().zip(&second)) {
        if *name == "jobs" && one_cpu {
            continue; // nothing to vary
        }
        let found = rebuild::compare(name, a, b).unwrap_or_else(|| panic!("{name}: not found"));
        assert!(found.cause.starts_with(cause), "{name}: {found}");
    }
}

#[test]
fn what_is_deterministic_survives_every_variation() {
    let place = Place::new();
    let script = "cd /src/data; for f in *; do cat $f; done | sort > /build/out";
    let step = place.step("sorted", script);
    let first = place.run(&step, Variation::none()).expect("built");
    let second = place.run(&step, Variation::everything(Some("/dev/shm".into()))).expect("built");
    assert!(second.ran);
    assert_eq!(first.outputs, second.outputs);
}
