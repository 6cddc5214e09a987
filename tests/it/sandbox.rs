//! The sandbox against a hostile build: what it may not see or do, what it may not use up, and
//! that nothing of it is left behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use guestsmith::sandbox::host::Command;
use guestsmith::sandbox::{Bind, End, Sandbox, Spec};

/// A root of this host's programs: enough for a shell.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("directory");
    for dir in ["build", "dev", "etc", "proc", "src", "tmp", "usr"] {
        fs::create_dir(root.path().join(dir)).expect(dir);
    }
    for dir in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{dir}"), root.path().join(dir)).expect(dir);
    }
    root
}

struct Ran {
    end: End,
    log: String,
    work: tempfile::TempDir,
}

/// Names the program under test where it is not the one that cargo built.
const PROGRAM: &str = "GUESTSMITH_UNDER_TEST";

#[expect(clippy::disallowed_methods, reason = "the test starts itself again as another user")]
fn program() -> std::path::PathBuf {
    let built = env!("CARGO_BIN_EXE_guestsmith");
    std::env::var_os(PROGRAM).map_or_else(|| built.into(), Into::into)
}

fn run(script: &str, change: impl FnOnce(&mut Spec)) -> Ran {
    let (root, work) = (root(), tempfile::tempdir().expect("directory"));
    let log = tempfile::NamedTempFile::new().expect("file");
    let command = ["/bin/bash", "-c", script].map(String::from).into();
    let mut spec = Spec::new(root.path().into(), command);
    let bind =
        |from: &Path, at: &str, writable| Bind { from: from.into(), at: at.into(), writable };
    spec.binds = vec![bind("/usr".as_ref(), "/usr", false), bind(work.path(), "/build", true)];
    change(&mut spec);
    let sandbox = Sandbox::new(program());
    let end = sandbox.run(&spec, log.path()).unwrap_or_else(|error| panic!("{error:#}"));
    Ran { end, log: fs::read_to_string(log.path()).expect("log"), work }
}

/// What each build sees, the same on every machine.
const SURROUNDINGS: &str = "\
user 1000 group 1000
host build
umask 0022
dir /build
date +0000
HOME=/build
LC_ALL=C.UTF-8
PATH=/usr/bin:/usr/sbin
PWD=/build
TERM=dumb
TZ=UTC
descriptors 0 1 2
shell is 2, first is guestsmith
dev fd full null random shm stderr stdin stdout urandom zero
root bin build dev etc lib lib64 proc sbin src tmp usr
interfaces lo
capabilities 0000000000000000
no new privileges 1
mounts below the host's paths: none
";

#[test]
fn the_surroundings_are_fixed() {
    // Set before the command starts: none of it may be seen within.
    let _kept = fs::File::open("/etc/passwd").expect("a descriptor that stays open");
    let script = r#"
        list() { echo "$1" $(ls $2 | LC_ALL=C sort); }
        echo user $(id -u) group $(id -g)
        echo host $(cat /proc/sys/kernel/hostname)
        echo umask $(umask)
        echo dir $PWD
        date +'date %z'
        exec 3>&-
        env | grep -vE '^(_|SHLVL)=' | LC_ALL=C sort
        echo descriptors $(cd /proc/self/fd; for fd in *; do [ -e $fd ] && [ $fd -lt 10 ] && echo $fd; done)
        echo shell is $$, first is $(tr '\0' ' ' </proc/1/cmdline | sed 's:.*/self/exe .*:guestsmith:')
        list dev /dev
        list root /
        echo interfaces $(sed 1,2d /proc/net/dev | cut -d: -f1)
        echo capabilities $(sed -n 's/CapEff:.//p' /proc/self/status)
        echo no new privileges $(sed -n 's/NoNewPrivs:.//p' /proc/self/status)
        echo "mounts below the host's paths:" $(cut -d' ' -f5 /proc/self/mountinfo |
            grep -vxE '/|/(dev|proc|tmp|build|usr|dev/[a-z]+)' || echo none)
    "#;
    let ran = run(script, |_| {});
    assert_eq!((ran.end, ran.log.as_str()), (End::Exited(0), SURROUNDINGS));
}

/// `attempt NAME COMMAND`: the command must fail; its success is printed.
const ATTEMPTS: &str = r#"
    attempt() { name=$1; shift; command -v $1 >/dev/null || echo "MISSING: $1"; if ("$@") >/dev/null 2>&1; then echo "BROKEN: $name"; else n=$((n+1)); fi; }
    attempt "reads the host's accounts"      cat /etc/passwd
    attempt "reads the host's home"          ls /root /home
    attempt "reads through PID 1's root"     ls /proc/1/root/
    attempt "reads through PID 1's files"    ls /proc/1/cwd/ /proc/1/fd/
    attempt "traces PID 1"                   cat /proc/1/environ
    attempt "reads the kernel's log"         dmesg
    attempt "reads kernel memory"            dd if=/proc/kcore bs=1 count=1
    attempt "writes to the root"             touch /escaped
    attempt "writes to /usr"                 touch /usr/bin/escaped
    attempt "writes to /etc"                 touch /etc/escaped
    attempt "writes to /dev"                 touch /dev/escaped
    attempt "changes the kernel's settings"  sh -c 'echo escaped > /proc/sys/kernel/hostname'
    attempt "raises the namespace limit"     sh -c 'echo 9 > /proc/sys/user/max_user_namespaces'
    attempt "makes a user namespace"         unshare --user true
    attempt "makes a mount namespace"        unshare --mount true
    attempt "mounts memory"                  mount -t tmpfs none /tmp
    attempt "remounts the root"              mount -o remount,rw,bind /
    attempt "unmounts its directory"         umount /build
    attempt "makes a device"                 mknod /build/disk b 253 0
    attempt "changes the host name"          hostname escaped
    attempt "becomes root"                   setpriv --reuid 0 true
    attempt "gives a file away"              chown 0 /build
    attempt "connects by TCP"                sh -c 'exec 3<>/dev/tcp/127.0.0.1/22'
    attempt "connects by UDP"                bash -c 'echo x > /dev/udp/8.8.8.8/53'
    attempt "raises its limits"              sh -c 'ulimit -u unlimited'
    attempt "dumps core where others look"   sh -c 'ulimit -c 1'
    attempt "kills PID 1"                    sh -c 'kill -9 1; sleep 0.1; ! kill -0 1'
    echo $n attempts held
"#;

#[test]
fn a_hostile_build_is_held() {
    let ran = run(ATTEMPTS, |_| {});
    assert_eq!((ran.end, ran.log.as_str()), (End::Exited(0), "27 attempts held\n"));
}

#[test]
fn it_writes_to_its_own_directories_only() {
    let script = "cd /tmp; echo 1 > /build/a; echo 2 > own-tmp; echo 3 > /dev/shm/own-shm; echo 4 > /dev/null";
    let ran = run(script, |_| {});
    assert_eq!((ran.end, ran.log.as_str()), (End::Exited(0), ""));
    assert_eq!(fs::read_to_string(ran.work.path().join("a")).expect("a file"), "1\n");
    assert!(!Path::new("/tmp/own-tmp").exists() && !Path::new("/dev/shm/own-shm").exists());
}

#[test]
fn an_end_by_code_and_by_signal_are_told_apart() {
    assert_eq!(run("exit 7", |_| {}).end, End::Exited(7));
    assert_eq!(run("kill -SEGV $$", |_| {}).end, End::Signalled(11));
}

#[test]
fn time_runs_out_for_it_and_all_its_children() {
    let start = Instant::now();
    let script =
        "setsid sleep 1000 & (setsid sleep 1000 &) & trap '' TERM HUP INT; while :; do :; done";
    let ran = run(script, |spec| spec.limits.time = Duration::from_millis(700));
    assert_eq!(ran.end, End::OutOfTime);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn daemons_end_with_the_command() {
    // The log closes only when no process holds it any more: `run` would not return.
    let start = Instant::now();
    let ran = run("setsid sleep 1000 & disown -a; echo done", |_| {});
    assert_eq!((ran.end, ran.log.as_str()), (End::Exited(0), "done\n"));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_fork_bomb_ends() {
    let script = "bomb() { bomb | bomb & }; bomb; for i in $(seq 400); do sleep 100 & done; wait";
    let ran = run(script, |spec| {
        spec.limits.processes = 100;
        spec.limits.time = Duration::from_secs(5);
    });
    assert!(ran.log.contains("Resource temporarily unavailable"), "{:?}: {}", ran.end, ran.log);
}

#[test]
fn memory_is_limited_for_one_and_for_all_together() {
    let limit = |spec: &mut Spec| spec.limits.memory = 64 << 20;
    let one = run("tr '\\0' x < /dev/zero | head -c 200M | { read -r all; }", limit);
    assert!(one.log.contains("annot allocate") || one.end == End::OutOfMemory, "{}", one.log);
    let many =
        "for i in 1 2 3 4; do (x=$(head -c 40M /dev/zero | tr '\\0' x); sleep 60) & done; wait";
    assert_eq!(run(many, limit).end, End::OutOfMemory);
}

#[test]
fn the_disk_is_limited_for_one_file_and_for_all_together() {
    let limit = |spec: &mut Spec| {
        spec.limits.disk = 16 << 20;
        spec.limits.tmp = 1 << 20;
    };
    let one = run("head -c 40M /dev/zero > /build/a", limit);
    assert_eq!(one.end, End::Exited(153), "{}", one.log); // 128 + SIGXFSZ
    let many = "for i in $(seq 1000); do head -c 8M /dev/urandom > /build/$i; done; sleep 10";
    assert_eq!(run(many, limit).end, End::OutOfDisk);
    let memory = run("head -c 40M /dev/zero > /tmp/a", limit);
    assert!(memory.log.contains("No space left"), "{}", memory.log);
}

#[test]
fn the_log_is_limited() {
    let ran = run("head -c 40M /dev/zero", |spec| spec.limits.log = 1000);
    assert_eq!((ran.end, ran.log.len()), (End::Exited(0), 1000));
}

#[test]
fn a_root_without_its_mount_points_is_refused() {
    let empty = tempfile::tempdir().expect("directory");
    let spec = Spec::new(empty.path().into(), vec!["/bin/true".into()]);
    let log = empty.path().join("log");
    let sandbox = Sandbox::new(program());
    let error = sandbox.run(&spec, &log).expect_err("refused");
    let text = format!("{error:#}");
    assert!(text.contains("has no directory /dev to mount on"), "{text}");
}

/// Root has rights that an ordinary user lacks, and maps users otherwise: both ways must hold.
#[test]
fn it_works_for_an_ordinary_user_too() {
    if !rustix::process::getuid().is_root() {
        return; // all the other tests have just run as one
    }
    // The checkout may stand where only root can reach it.
    let place = tempfile::tempdir().expect("directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path(), mode).expect("a mode");
    let (here, built) = (place.path().join("test"), place.path().join("guestsmith"));
    fs::copy(std::env::current_exe().expect("this test"), &here).expect("copied");
    fs::copy(program(), &built).expect("copied");
    let mut again = Command::new("/usr/bin/setpriv");
    again.args(["--reuid=12345", "--regid=12345", "--clear-groups", "--inh-caps=-all"]).arg(here);
    again.args(["sandbox::", "--skip", "ordinary_user", "--test-threads=1"]).env("TMPDIR", "/tmp");
    again.dir("/").env(PROGRAM, built);
    let output = again.run().unwrap_or_else(|error| panic!("{error:#}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("test sandbox::a_hostile_build_is_held ... ok"), "{text}");
}

/// What this machine may forbid is forbidden inside a namespace, where the test starts itself again.
#[test]
fn where_namespaces_are_forbidden_the_remedy_is_said() {
    let mut again = Command::new("/usr/bin/unshare");
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
    again.args(["--user", "--map-root-user", "/bin/sh", "-c", script]);
    again.arg(std::env::current_exe().expect("this test"));
    again.args(["sandbox::inside_of_that", "--exact", "--ignored", "--nocapture"]);
    let output = again.run().unwrap_or_else(|error| panic!("{error:#}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("`sysctl -w user.max_user_namespaces=10000`"), "{text}");
}

#[test]
#[ignore = "only where user namespaces are forbidden: the test above runs it there"]
fn inside_of_that() {
    let (root, log) = (root(), tempfile::NamedTempFile::new().expect("file"));
    let spec = Spec::new(root.path().into(), vec!["/bin/true".into()]);
    let error = Sandbox::new(program()).run(&spec, log.path()).expect_err("forbidden");
    println!("{error:#}");
}
