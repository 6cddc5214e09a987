//! A first recipe, with comments that say what each part is for.

use super::check;
use super::path::Fault;

/// A recipe called `name` to start from; it checks as it is.
///
/// # Errors
/// `name` cannot be the name of a recipe; the message says why.
pub fn template(name: &str) -> Result<String, String> {
    let said = |Fault { what, hint }: Fault| match hint {
        Some(hint) => format!("{what}: {hint}"),
        None => what,
    };
    check::name(name).map_err(said)?;
    Ok(TEMPLATE.replace("NAME", name))
}

const TEMPLATE: &str = r#"# A confidential guest: what it is made of, and on which machines it will be measured.
# `guestsmith check NAME.yaml` checks this file, `guestsmith lock NAME.yaml` pins every input,
# `guestsmith build NAME.yaml` makes the boot set and its reference values, and
# `guestsmith boot NAME.yaml` starts it under QEMU.
name: NAME
arch: x86_64
epoch: 2026-11-01T00:00:00Z # every time in every output is set to this

# Where inputs come from. The lock pins each by hash.
sources:
  trixie: {debian: {suites: [trixie, trixie-updates, trixie-security]}}
  sid: {debian: {suites: [sid]}}

# Firmware images, by names of your own.
firmware:
  amdsev:
    package: {name: ovmf-amdsev, from: sid, file: /usr/share/ovmf/OVMF.amdsev.fd}
  generic:
    package: {name: ovmf-generic, from: sid, file: /usr/share/ovmf/OVMF.fd}

# `*` stands for what the package calls its version; it must match exactly one file.
kernel:
  package: {name: linux-image-cloud-amd64, from: trixie, file: "/boot/vmlinuz-*"}

# The initial RAM disk is a list of contents; no command runs to make it.
initrd:
  packages:
    - {deb: {name: busybox-static, from: trixie, only: [/usr/bin/busybox]}}
  files:
    - symlink: {at: /bin/sh, to: /usr/bin/busybox}
    - dir: {at: /proc}
    - node: {at: /dev/console, kind: char, major: 5, minor: 1}
    - write:
        at: /init
        mode: "0755"
        text: |
          #!/bin/sh
          busybox mount -t proc proc /proc
          echo "this is NAME"
          # The line that `guestsmith boot` waits for.
          echo "guest-agent: {\"kernel\": \"$(busybox uname -r)\"}"
          exec busybox poweroff -f
  pack: {zstd: {level: 12}}

cmdline: [console=ttyS0, panic=1]

# What to measure, one TEE an entry; lists in an entry multiply.
machines:
  - sev-snp: {vmm: qemu, firmware: amdsev, vcpus: [1, 2, 4], cpu: [EPYC-Milan, EPYC-Genoa]}
  - tdx: {vmm: qemu, firmware: generic, vcpus: [1, 2, 4], memory: [2GiB]}
"#;
