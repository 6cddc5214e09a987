//! A process that dies, another beside it, and disks that are full or may only be read.

use super::*;

#[test]
fn killed_in_the_middle_of_a_fetch_the_next_run_equals_a_clean_one() {
    let setting = setting();
    let filler = format!("\n{}", "# filler\n".repeat(60_000));
    let index = setting.mirror.index() + &filler;
    setting.mirror.release_of(index.as_bytes(), &Release::default());
    recipe(setting.dir.path(), &["app"]);
    let slow = Server::new(setting.mirror.path(), Fault::Slow(20_000, Duration::from_millis(50)));
    let mut killed =
        setting.command(slow.address(), &[]).stderr(Stdio::null()).spawn().expect("runs");
    let partial = setting.path("store/partial");
    let begun = |dir: &Path| {
        let length = |entry: std::path::PathBuf| fs::metadata(entry).map_or(0, |found| found.len());
        guestsmith::store::entries::sorted(dir).unwrap_or_default().into_iter().map(length).max()
    };
    while begun(&partial).unwrap_or(0) < 100_000 {
        assert!(killed.try_wait().expect("waits").is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    assert!(!setting.path("guest.lock").exists());
    let sound = Server::new(setting.mirror.path(), Fault::None);
    let ran: Ran = setting.command(sound.address(), &[]).output().expect("runs").into();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let resumed = sound.requests().into_iter().find(|request| request.contains("Packages"));
    assert!(!resumed.expect("a request").ends_with(" -"), "it went on where the killed one ended");
    let lock = setting.locked();
    for left in ["guest.lock", "store"] {
        let path = setting.path(left);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).expect("removed");
    }
    assert_eq!(setting.lock(&["app"], &[]).code, Some(0));
    assert_eq!(setting.locked(), lock);
}

#[test]
fn two_processes_share_a_store() {
    let setting = setting();
    recipe(setting.dir.path(), &["app"]);
    let server = Server::new(setting.mirror.path(), Fault::Slow(100, Duration::from_millis(30)));
    let spawn = || {
        let mut command = setting.command(server.address(), &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
    };
    let both = [spawn(), spawn()];
    for child in both {
        let ran: Ran = child.wait_with_output().expect("ends").into();
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    let requests = server.requests();
    let of_index = requests.iter().filter(|request| request.contains("Packages"));
    assert_eq!(of_index.count(), 1, "one waits for the other: {requests:?}");
    assert_eq!(setting.lock(&["app"], &["--check"]).code, Some(0));
}

/// Runs the command with `mount` having changed the store's directory, in a mount namespace of its
/// own: what a full disk or a read-only one is cannot be had otherwise.
#[expect(clippy::disallowed_methods, reason = "the tests arrange the world that the command meets")]
fn with_mount(setting: &Setting, mount: &str) -> Ran {
    let store = setting.path("store");
    fs::create_dir_all(&store).expect("made");
    let command = setting.command(&setting.mirror.path().to_string_lossy(), &[]);
    let script = format!("{mount} && exec \"$@\"");
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    unshare.env("STORE", &store).arg(command.get_program()).args(command.get_args());
    unshare.output().expect("unshare, of util-linux").into()
}

#[test]
fn a_full_disk_is_named() {
    let setting = setting();
    let filler = "# filler\n".repeat(60_000);
    let index = setting.mirror.index() + "\n" + &filler;
    setting.mirror.release_of(index.as_bytes(), &Release::default());
    recipe(setting.dir.path(), &["app"]);
    let ran = with_mount(&setting, "mount -t tmpfs -o size=128k tmpfs \"$STORE\"");
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(
        ran.err.contains("No space left on device") && ran.err.contains("cannot write"),
        "{}",
        ran.err
    );
    assert!(!setting.path("guest.lock").exists());
}

#[test]
fn a_store_that_may_only_be_read_is_named_and_enough_where_all_is_there() {
    let setting = setting();
    recipe(setting.dir.path(), &["app"]);
    guestsmith::store::Store::open(&setting.path("store")).expect("a store");
    let read_only = "mount --bind \"$STORE\" \"$STORE\" && mount -o remount,bind,ro \"$STORE\"";
    let ran = with_mount(&setting, read_only);
    assert_eq!(ran.code, Some(2), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("may only be read; name another with --store"), "{}", ran.err);
    assert_eq!(setting.lock(&["app"], &[]).code, Some(0));
    let lock = setting.locked();
    fs::remove_file(setting.path("guest.lock")).expect("removed");
    let ran = with_mount(&setting, read_only);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(setting.locked(), lock);
}
