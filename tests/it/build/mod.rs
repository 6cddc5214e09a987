//! `guestsmith build` from an archive of our own, whose packages `dpkg-deb` has made; what it builds
//! is unpacked by `zstd` and `cpio`.

mod interrupted;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::command::guestsmith;
use super::mirror::{Mirror, Release};

const RECIPE: &str = r#"
name: guest
arch: x86_64
epoch: 2026-11-01T00:00:00Z
sources:
  own: {debian: {suites: [own]}}
firmware:
  small: {package: {name: fw, from: own, file: "/usr/share/fw/*.fd"}}
kernel: {file: vmlinuz}
initrd:
  packages:
    - deb: {name: app, from: own}
  files:
    - write: {at: /etc/hostname, text: "guest\n", mode: "0600", owner: "1:2"}
    - dir: {at: /run, mode: "0700"}
    - symlink: {at: /init, to: /usr/bin/tool}
    - node: {at: /dev/console, kind: char, major: 5, minor: 1}
    - copy: {from: extra, to: /opt/extra}
  drop: ["/usr/share/doc/**"]
  early:
    - write: {at: /kernel/x86/microcode/AuthenticAMD.bin, text: microcode}
  pack: {zstd: {level: 5}}
cmdline: [console=ttyS0, panic=-1]
"#;

struct Setting {
    dir: tempfile::TempDir,
    mirror: Mirror,
}

#[expect(clippy::disallowed_methods, reason = "the tests compare with tools of the host")]
fn tool(name: &str) -> Command {
    Command::new(name)
}

fn write(path: &Path, contents: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, contents).expect("written");
}

/// A package that `dpkg-deb` makes of the tree in `dir`.
fn deb(dir: &Path, name: &str, fields: &str) -> Vec<u8> {
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\n\
         Description: a test\n{fields}"
    );
    write(&dir.join("DEBIAN/control"), control);
    let (to, mut command) = (dir.with_extension("deb"), tool("dpkg-deb"));
    command.args(["--root-owner-group", "-b"]).arg(dir).arg(&to).stdout(Stdio::null());
    assert!(command.status().expect("dpkg-deb").success());
    fs::read(to).expect("a package")
}

/// The start of a kernel image: boot flag, magic number, protocol 2.15, command lines of 2047.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
    image
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let (app, lib, fw) =
            (dir.path().join("app"), dir.path().join("lib"), dir.path().join("fw"));
        write(&app.join("usr/bin/tool"), "tool");
        fs::hard_link(app.join("usr/bin/tool"), app.join("usr/bin/again")).expect("a link");
        write(&app.join("usr/share/doc/app/copyright"), "words");
        write(&lib.join("lib/libx.so.1"), "library"); // as before merged /usr
        symlink("libx.so.1", lib.join("lib/libx.so")).expect("a link");
        write(&fw.join("usr/share/fw/A.fd"), [7; 8192]);
        let mut mirror = Mirror::new();
        mirror.deb("app", "1", "Depends: lib", deb(&app, "app", "Depends: lib\n"));
        mirror.deb("lib", "1", "", deb(&lib, "lib", ""));
        mirror.deb("fw", "1", "", deb(&fw, "fw", ""));
        mirror.release(&Release::default());
        let setting = Self { dir, mirror };
        setting.place("one");
        setting
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A recipe with what lies beside it, locked, in a directory of that name.
    fn place(&self, name: &str) {
        let dir = self.path(name);
        write(&dir.join("vmlinuz"), kernel());
        write(&dir.join("extra/run.sh"), "#!/bin/sh\n");
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(dir.join("extra/run.sh"), mode).expect("a mode");
        write(&dir.join("extra/data"), "data");
        self.lock(name, RECIPE);
    }

    fn lock(&self, name: &str, recipe: &str) {
        write(&self.path(name).join("guest.yaml"), recipe);
        let keyring = self.mirror.keyring();
        let locked = guestsmith(&["lock", "--store"])
            .arg(self.path(&format!("{name}/store")))
            .arg("--mirror")
            .arg(self.mirror.path())
            .arg("--keyring")
            .arg(keyring)
            .arg(self.path(name).join("guest.yaml"))
            .output()
            .expect("runs");
        assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    }

    /// Arguments that build what is in the directory `name`.
    fn arguments(&self, name: &str) -> Vec<String> {
        let dir = self.path(name);
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let build = ["build", "--offline", "--store"].map(String::from).to_vec();
        let store = [text(dir.join("store")), "--mirror".into(), text(self.mirror.path())];
        let rest = [text(dir.join("guest.yaml")), "--out".into(), text(dir.join("out"))];
        [build, store.to_vec(), rest.to_vec()].concat()
    }

    fn build(&self, name: &str) -> std::process::Output {
        guestsmith(&[]).args(self.arguments(name)).output().expect("runs")
    }

    /// Builds, and gives the error.
    fn error(&self, name: &str) -> String {
        let built = self.build(name);
        assert_eq!(built.status.code(), Some(2));
        String::from_utf8(built.stderr).expect("UTF-8")
    }

    fn built(&self, name: &str) -> String {
        let built = self.build(name);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        String::from_utf8(built.stdout).expect("UTF-8")
    }

    /// The boot set of the directory `name`: modes and contents by file name.
    fn set(&self, name: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
        let paths = guestsmith::store::entries::sorted(&self.path(name).join("out")).expect("out");
        let file = |path: PathBuf| {
            let mode = fs::metadata(&path).expect("metadata").mode();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, (mode, fs::read(path).expect("readable")))
        };
        paths.into_iter().map(file).collect()
    }
}

/// Standard output of `command`, fed with `input`.
fn filter(mut command: Command, input: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), input).expect("written");
    let input = fs::File::open(file.path()).expect("open");
    let output = command.stdin(input).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn cpio(arguments: &[&str], dir: &Path, input: &[u8]) -> String {
    let mut command = tool("cpio");
    command.args(arguments).arg("--quiet").current_dir(dir).env("TZ", "UTC").env("LC_ALL", "C");
    filter(command, input)
}

/// The early segment and the rest, which the kernel tells apart by its first bytes.
fn segments(initrd: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let magic = 0xfd2f_b528_u32.to_le_bytes();
    let at = initrd.chunks(512).position(|block| block.starts_with(&magic)).expect("zstd") * 512;
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &initrd[at..]).expect("written");
    let unpacked = tool("zstd").args(["-dcq"]).arg(file.path()).output().expect("zstd");
    assert!(unpacked.status.success());
    (initrd[..at].to_vec(), unpacked.stdout)
}

#[test]
fn cpio_sees_what_the_recipe_declares() {
    let setting = Setting::new();
    setting.built("one");
    let set = setting.set("one");
    let names: Vec<_> = set.keys().map(String::as_str).collect();
    let expected = ["cmdline", "firmware-small.fd", "initrd.img", "manifest.json", "vmlinuz"];
    assert_eq!(names, expected);
    assert_eq!(set["cmdline"].1, b"console=ttyS0 panic=-1");
    assert_eq!(set["firmware-small.fd"].1, [7; 8192]);
    let (early, main) = segments(&set["initrd.img"].1);
    let listed = cpio(&["-itvn"], setting.dir.path(), &main);
    let listed: Vec<String> = listed.lines().map(squeeze).collect();
    let expected = [
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 dev",
        "crw------- 1 0 0 5, 1 Nov 1 00:00 dev/console",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 etc",
        "-rw------- 1 1 2 6 Nov 1 00:00 etc/hostname",
        "lrwxrwxrwx 1 0 0 13 Nov 1 00:00 init -> /usr/bin/tool",
        "lrwxrwxrwx 1 0 0 7 Nov 1 00:00 lib -> usr/lib",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 opt",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 opt/extra",
        "-rw-r--r-- 1 0 0 4 Nov 1 00:00 opt/extra/data",
        "-rwxr-xr-x 1 0 0 10 Nov 1 00:00 opt/extra/run.sh",
        "drwx------ 2 0 0 0 Nov 1 00:00 run",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 usr",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 usr/bin",
        "-rw-r--r-- 2 0 0 0 Nov 1 00:00 usr/bin/again",
        "-rw-r--r-- 2 0 0 4 Nov 1 00:00 usr/bin/tool",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 usr/lib",
        "lrwxrwxrwx 1 0 0 9 Nov 1 00:00 usr/lib/libx.so -> libx.so.1",
        "-rw-r--r-- 1 0 0 7 Nov 1 00:00 usr/lib/libx.so.1",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 usr/share",
        "drwxr-xr-x 2 0 0 0 Nov 1 00:00 usr/share/doc",
    ];
    // `bin` is linked like `lib`; with the old year cpio shows it in place of the hour.
    let listed: Vec<_> = listed.iter().map(|line| line.replace("1 2026", "1 00:00")).collect();
    let listed: Vec<_> = listed.iter().filter(|line| !line.ends_with("bin -> usr/bin")).collect();
    assert_eq!(listed, expected.iter().collect::<Vec<_>>());
    let microcode = cpio(&["-i", "--to-stdout"], setting.dir.path(), &early);
    assert_eq!(microcode, "microcode");
    extracted_links_are_links(setting.dir.path(), &main);
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn extracted_links_are_links(dir: &Path, archive: &[u8]) {
    let to = dir.join("extracted");
    fs::create_dir(&to).expect("made");
    cpio(&["-idf", "dev/console", "--no-preserve-owner"], &to, archive);
    let inode = |name: &str| fs::metadata(to.join(name)).expect("extracted").ino();
    assert_eq!(inode("usr/bin/tool"), inode("usr/bin/again"));
    assert_eq!(fs::read(to.join("usr/bin/again")).expect("readable"), b"tool");
    assert_eq!(fs::read(to.join("lib/libx.so")).expect("readable"), b"library");
}

#[test]
fn neither_place_nor_user_nor_time_nor_machine_shows() {
    let setting = Setting::new();
    setting.built("one");
    setting.place("a/longer/way/to/two");
    let two = "a/longer/way/to/two";
    let dir = setting.path(two);
    let line = setting.arguments(two).join(" ");
    // The checkout may stand where only its owner can reach it.
    let program = setting.path("guestsmith");
    fs::copy(env!("CARGO_BIN_EXE_guestsmith"), &program).expect("copied");
    let program = program.display();
    let script = format!(
        "umask 077; cd /; export TZ=Asia/Kathmandu LC_ALL=C.UTF-8 HOME=/nonexistent; \
         exec taskset -c 0 faketime -f '+400d' {program} {line}"
    );
    // Root builds as nobody; whoever else runs this builds as who they are.
    let root = fs::metadata("/proc/self").expect("a process").uid() == 0;
    let mut command = tool(if root { "setpriv" } else { "sh" });
    if root {
        assert!(
            tool("chown").args(["-R", "65534:65534"]).arg(&dir).status().expect("chown").success()
        );
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
    }
    let built = command.args(["-c", &script]).output().expect("runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(setting.set("one") == setting.set(two), "the boot sets differ");
}

#[test]
fn a_build_with_nothing_to_do_does_nothing_and_notices_damage() {
    let setting = Setting::new();
    assert!(!setting.built("one").contains("nothing to do"));
    assert!(setting.built("one").contains("nothing to do"));
    let before = setting.set("one");
    for damaged in ["vmlinuz", "manifest.json", "initrd.img"] {
        fs::write(setting.path("one/out").join(damaged), "x").expect("written");
        assert!(!setting.built("one").contains("nothing to do"), "{damaged}");
        assert!(setting.set("one") == before, "{damaged}");
    }
    write(&setting.path("one/extra/data"), "other");
    assert!(!setting.built("one").contains("nothing to do"));
    assert!(setting.set("one") != before);
}

#[test]
fn what_cannot_be_built_says_why() {
    let setting = Setting::new();
    let with = |from: &str, to: &str| setting.lock("one", &RECIPE.replace(from, to));
    let mut old = kernel();
    old[0x206] = 5; // protocol 2.05
    write(&setting.path("one/vmlinuz"), old);
    with("panic=-1", &"x".repeat(300));
    assert!(setting.error("one").contains("has 314 bytes, this kernel takes 255"));
    write(&setting.path("one/vmlinuz"), kernel());
    with("/usr/share/fw/*.fd", "/usr/share/fw/*.rom");
    let error = setting.error("one");
    assert!(error.contains("`/usr/share/fw/*.rom` of the package fw matches no file"), "{error}");
    with("/init, to: /usr/bin/tool", "/init/x, to: ../../../x");
    assert!(setting.error("one").contains("out of the root"));
    with("extra, to", "missing, to");
    assert!(setting.error("one").contains("missing"));
    with("none", "none");
    write(&setting.path("one/vmlinuz"), "no kernel");
    let error = setting.error("one");
    assert!(error.contains("kernel") && error.contains("boot flag of kernel image"), "{error}");
    assert!(!setting.path("one/out").exists(), "nothing half-written");
    fs::write(setting.path("one/guest.yaml"), RECIPE.replace("guest\\n", "other\\n")).expect("ok");
    assert!(setting.error("one").contains("guestsmith lock"));
}

/// The recipe with another compression.
fn packed(pack: &str) -> String {
    RECIPE.replace("pack: {zstd: {level: 5}}", pack)
}

#[test]
fn what_a_metapackage_stands_for_may_stand_for_more() {
    let mut setting = Setting::new();
    for (name, on) in [("fw-all", "fw-image"), ("fw-image", "fw")] {
        let fields = format!("Source: fw\nDepends: {on} (= 1)");
        let dir = setting.path(name);
        write(&dir.join(format!("usr/share/doc/{name}/copyright")), "words");
        let package = deb(&dir, name, &format!("{fields}\n"));
        setting.mirror.deb(name, "1", &fields, package);
    }
    setting.mirror.release(&Release::default());
    setting.place("two");
    setting.lock("two", &RECIPE.replace("name: fw,", "name: fw-all,"));
    setting.built("two");
    assert_eq!(fs::read(setting.path("two/out/firmware-small.fd")).expect("built"), [7; 8192]);
}

#[test]
fn each_compression_is_one_that_its_tool_and_the_kernel_take() {
    let setting = Setting::new();
    let early =
        "  early:\n    - write: {at: /kernel/x86/microcode/AuthenticAMD.bin, text: microcode}\n";
    let mut listings = Vec::new();
    for (pack, program, unpack) in [
        ("archive: crc", "cat", &[][..]),
        ("pack: {gzip: {level: 6}}", "gzip", &["-dc"]),
        ("pack: {xz: {level: 1}}", "xz", &["-dc"]),
        ("pack: {zstd: {level: 19}}", "zstd", &["-dcq"]),
        ("pack: lz4", "lz4", &["-dcq"]),
    ] {
        setting.lock("one", &packed(pack).replace(early, ""));
        setting.built("one");
        let image = setting.set("one").remove("initrd.img").expect("an image").1;
        let file = setting.path("image");
        fs::write(&file, &image).expect("written");
        let unpacked = tool(program).args(unpack).arg(&file).output().expect("runs");
        assert!(unpacked.status.success(), "{pack}");
        let magic = if pack == "archive: crc" { b"070702" } else { b"070701" };
        assert_eq!(&unpacked.stdout[..6], magic, "{pack}");
        listings.push(cpio(&["-itvn"], setting.dir.path(), &unpacked.stdout));
        match program {
            // What the kernel's own decoder asks for: a check that it knows, the legacy frame.
            "xz" => {
                let shown = tool("xz").args(["-lv"]).arg(&file).output().expect("xz");
                assert!(String::from_utf8_lossy(&shown.stdout).contains("CRC32"));
            }
            "lz4" => assert_eq!(image[..4], [0x02, 0x21, 0x4c, 0x18]),
            _ => {}
        }
    }
    assert!(listings.iter().all(|listing| *listing == listings[0]));
}

#[test]
fn extended_attributes_are_stated_listed_and_restored() {
    let setting = Setting::new();
    let stated =
        RECIPE.replace("owner: \"1:2\"}", "xattrs: {user.origin: recipe, user.raw: '0x00ff'}}");
    let with = |how: &str| stated.replace("  pack:", &format!("  {how}\n  pack:"));
    setting.lock("one", &stated);
    let error = setting.error("one");
    assert!(error.contains("/etc/hostname (from recipe) has extended attributes"), "{error}");
    setting.lock("one", &with("xattrs: drop"));
    setting.built("one");
    setting.lock("one", &with("xattrs: {list: /etc/xattrs}"));
    setting.built("one");
    let (_, main) = segments(&setting.set("one")["initrd.img"].1);
    // User attributes are not for every temporary directory.
    let to = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    cpio(&["-idf", "dev/console", "--no-preserve-owner"], to.path(), &main);
    let mut restore = tool("setfattr");
    let restored = restore.arg("--restore=etc/xattrs").current_dir(&to).status();
    assert!(restored.expect("setfattr, of attr").success());
    let mut dump = tool("getfattr");
    let dumped = dump.args(["-de", "base64", "etc/hostname"]).current_dir(&to).output();
    let list = fs::read_to_string(to.path().join("etc/xattrs")).expect("a list");
    assert_eq!(String::from_utf8_lossy(&dumped.expect("getfattr").stdout), list);
}

#[test]
fn microcode_is_put_together_from_a_package() {
    let setting = Setting::new();
    let write = "- write: {at: /kernel/x86/microcode/AuthenticAMD.bin, text: microcode}";
    let concat = "- concat: {at: /kernel/x86/microcode/AuthenticAMD.bin, package: app, from: own, \
                  files: [/usr/bin/*, /usr/share/doc/app/copyright]}";
    setting.lock("one", &RECIPE.replace(write, concat));
    setting.built("one");
    let (early, _) = segments(&setting.set("one")["initrd.img"].1);
    assert_eq!(cpio(&["-i", "--to-stdout"], setting.dir.path(), &early), "tooltoolwords");
    let nothing = concat.replace("/usr/bin/*", "/x/*");
    setting.lock("one", &RECIPE.replace(write, &nothing));
    let error = setting.error("one");
    assert!(error.contains("`/x/*` of the package app matches no file in it"), "{error}");
}

#[test]
fn a_recipe_is_measured_as_its_boot_set_is_by_sev_snp_measure() {
    let setting = Setting::new();
    let firmware = super::inputs::path("sid-OVMF.amdsev.fd");
    fs::copy(&firmware, setting.path("one/own.fd")).expect("copied");
    let machines = "machines:\n  - sev-snp: {firmware: own, vcpus: [1, 2], cpu: EPYC-Milan}\n";
    let recipe = RECIPE.replace("firmware:\n", "firmware:\n  own: {file: own.fd}\n");
    setting.lock("one", &(recipe + machines));
    let mut arguments = setting.arguments("one");
    arguments[0] = "measure".into();
    let measured = guestsmith(&["--quiet"]).args(&arguments).output().expect("runs");
    assert!(measured.status.success(), "{}", String::from_utf8_lossy(&measured.stderr));
    let out = setting.path("one/out");
    let peer = |vcpus: &str| {
        let mut peer = tool("target/peers/bin/sev-snp-measure");
        peer.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--mode", "snp", "--vcpus", vcpus]);
        peer.args(["--vcpu-type", "EPYC-Milan", "--append", "console=ttyS0 panic=-1", "--ovmf"]);
        peer.arg(out.join("firmware-own.fd")).arg("--kernel").arg(out.join("vmlinuz"));
        let output = peer.arg("--initrd").arg(out.join("initrd.img")).output().expect("the peer");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(String::from_utf8_lossy(&measured.stdout), peer("1") + &peer("2"));
    let json = guestsmith(&["--json"]).args(&arguments).output().expect("runs").stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let machine = &json["machines"][1];
    assert_eq!((&machine["tee"], &machine["vcpus"]), (&"sev-snp".into(), &2.into()));
    assert_eq!(machine["registers"]["measurement"], peer("2").trim());
    let none = guestsmith(&[]).args(&arguments).args(["--tee", "tdx"]).output().expect("runs");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("lists no machines of tdx"));
    let mixed = guestsmith(&[]).args(&arguments).args(["--vcpus", "2"]).output().expect("runs");
    assert!(String::from_utf8_lossy(&mixed.stderr).contains("states its own guest and machines"));
}
