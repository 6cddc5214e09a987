//! A build that is killed, another beside it, a full disk and a file that may not be read.

use super::*;

#[test]
fn a_killed_build_leaves_nothing_that_looks_done() {
    let setting = Setting::new();
    setting.place("two");
    setting.built("two");
    for delay in [1, 3, 6, 10, 15, 25, 40, 60] {
        let mut child = guestsmith(&[])
            .args(setting.arguments("one"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let out = setting.path("one/out");
        if out.join("manifest.json").exists() {
            fs::remove_dir_all(&out).expect("removed");
        }
    }
    setting.built("one");
    let leftover = |name: &String| name.starts_with(".guestsmith-");
    let set: BTreeMap<_, _> =
        setting.set("one").into_iter().filter(|(name, _)| !leftover(name)).collect();
    assert!(set == setting.set("two"));
}

#[test]
fn two_builds_at_once_and_a_full_disk() {
    let setting = Setting::new();
    let mut arguments = setting.arguments("one");
    let spawn = |arguments: &[String]| {
        let mut command = guestsmith(&[]);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs")
    };
    let first = spawn(&arguments);
    *arguments.last_mut().expect("the directory") =
        setting.path("one/second").to_string_lossy().into_owned();
    for child in [first, spawn(&arguments)] {
        let ended = child.wait_with_output().expect("ends");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let read = |dir: &str, name: &str| fs::read(setting.path(dir).join(name)).expect("readable");
    for name in ["initrd.img", "manifest.json"] {
        assert_eq!(read("one/out", name), read("one/second", name), "{name}");
    }
    // A disk of 16 kB: the boot set does not fit, and nothing of it is left.
    let full = setting.path("one/full");
    fs::create_dir(&full).expect("made");
    *arguments.last_mut().expect("the directory") = full.join("out").to_string_lossy().into_owned();
    let script = "mount -t tmpfs -o size=16k tmpfs \"$0\" && \"$@\"; echo $?; ls -A \"$0\"";
    let mut unshare = tool("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(&full);
    unshare.arg(env!("CARGO_BIN_EXE_guestsmith")).args(&arguments);
    let ended = unshare.output().expect("unshare, of util-linux");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(error.contains("No space left on device"), "{error}");
    let left = String::from_utf8_lossy(&ended.stdout);
    let left: Vec<_> = left.lines().filter(|name| *name != "out").collect();
    assert_eq!(left, ["2"], "the code, and nothing half-written");
}

#[test]
fn an_unreadable_file_is_named() {
    let setting = Setting::new();
    let file = setting.path("one/extra/data");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("a mode");
    let root = fs::metadata("/proc/self").expect("a process").uid() == 0;
    let program = setting.path("guestsmith");
    fs::copy(env!("CARGO_BIN_EXE_guestsmith"), &program).expect("copied");
    // Root may read everything.
    let mut command = tool(if root { "setpriv" } else { "env" });
    if root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.env_remove("XDG_CONFIG_HOME").env("HOME", "/nonexistent");
    let ended = command.arg(&program).args(setting.arguments("one")).output().expect("runs");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{error}");
    assert!(error.contains("extra/data") && error.contains("Permission denied"), "{error}");
}
