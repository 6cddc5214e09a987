//! Command lines against those that kata's own sources and documents write down.

use super::cmdline::{self, Root, assembled};
use super::*;

fn over(version: &str, root: Root, own: &str) -> HandOver<'static> {
    HandOver {
        shim: &SHIMS[0],
        runtime: runtime::runtime(Some(version)).expect("a release"),
        name: "guest",
        firmware: "firmware-amdsev.fd".to_string(),
        root,
        parameters: cmdline::parameters(own).expect("parameters"),
        vcpus: vec![1, 2],
        memory: vec![2 << 30],
    }
}

fn image() -> Root {
    let verity = "root_hash=aa,salt=bb,data_blocks=62592,data_block_size=4096,hash_block_size=4096";
    let image = Image { path: "i".into(), verity: verity.into(), kind: "ext4".into() };
    Root::image(&image).expect("parameters of dm-verity")
}

#[test]
fn an_initrd_guest_of_4_1() {
    assert_eq!(
        assembled(&over("4.1.0", Root::Initrd, "console=ttyS0  panic=-1 x="), 4),
        "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 \
         i8042.nopnp=1 i8042.noaux=1 noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 \
         pci=lastbus=0 console=hvc0 console=hvc1 quiet panic=1 selinux=0 scsi_mod.scan=none \
         agent.launch_process_timeout=6 console=ttyS0 panic=-1 x"
    );
}

#[test]
fn an_image_comes_before_the_console_and_brings_systemd() {
    let line = assembled(&over("4.1.0", image(), "cgroup_no_v1=all"), 1);
    assert!(line.contains(
        "pci=lastbus=0 dm-mod.create=\"dm-verity,,,ro,0 500736 verity 1 /dev/vda1 /dev/vda2 4096 \
         4096 62592 0 sha256 aa bb\" root=/dev/dm-0 rootflags=data=ordered,errors=remount-ro ro \
         rootfstype=ext4 console=hvc0 console=hvc1 quiet systemd.show_status=false panic=1 \
         selinux=0 systemd.unit=kata-containers.target systemd.mask=systemd-networkd.service \
         systemd.mask=systemd-networkd.socket scsi_mod.scan=none"
    ), "{line}");
}

#[test]
fn up_to_3_31_the_vcpus_are_on_the_command_line() {
    let old = over("3.31.0", Root::Initrd, "");
    assert!(assembled(&old, 2).contains("panic=1 nr_cpus=2 selinux=0"));
    let names: Vec<_> = cmdline::files(&old).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["qemu-snp-1.cmdline", "qemu-snp-2.cmdline"]);
    assert!(!assembled(&over("3.32.0", Root::Initrd, ""), 2).contains("nr_cpus"));
}

#[test]
fn parameters_are_divided_as_the_runtime_does() {
    let parameters = |text| cmdline::parameters(text).expect("parameters");
    assert_eq!(parameters("a=\"b c\"  d"), ["a=\"b c\"", "d"]);
    assert_eq!(parameters(" "), [""; 0]);
    assert!(cmdline::parameters("a =b").is_err());
}

#[test]
fn what_is_not_known_is_refused() {
    let error = runtime::runtime(Some("3.2.0")).expect_err("unknown").to_string();
    assert!(error.contains("known are 3.30.0, ") && error.contains("wrong digest"), "{error}");
    assert!(runtime::runtime(None).is_err());
    for (verity, kind, said) in [
        ("root_hash=aa", "ext4", "names no data_block_size"),
        ("salt=bb,data_blocks=x,data_block_size=1", "ext4", "data_blocks is no number: `x`"),
        ("", "btrfs", "no root file system `btrfs`"),
    ] {
        let image = Image { path: "i".into(), verity: verity.into(), kind: kind.into() };
        let error = Root::image(&image).expect_err("refused").to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_drop_in_is_toml_and_pins_what_reaches_the_command_line() {
    let text = dropin::text(&over("4.1.0", Root::Initrd, "a=\"b c\""));
    let parsed: toml::Table = text.parse().expect("TOML");
    let qemu = &parsed["hypervisor"]["qemu"];
    assert_eq!(qemu["kernel_params"].as_str(), Some("a=\"b c\""));
    assert_eq!(qemu["image"].as_str(), Some(""));
    assert_eq!(qemu["initrd"].as_str(), Some("/opt/kata/share/guestsmith/guest/initrd.img"));
    assert_eq!(parsed["agent"]["kata"]["launch_process_timeout"].as_integer(), Some(6));
}
