//! What the guests of the matrix boot: an initrd, a UKI as ukify makes one, a disk, signatures.

use std::fs;
use std::path::Path;

use super::machine::Suite;

/// What the guest does: its PCRs and its log to the second serial port, and off.
const INIT: &str = "#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mount -t securityfs sec /sys/kernel/security
exec >/dev/ttyS1
$b echo LOG-BEGINS
cd /sys/class/tpm/tpm0
for pcr in pcr-*/*; do $b echo $pcr $($b cat $pcr); done
$b echo EVENTS
$b od -An -v -tx1 /sys/kernel/security/tpm0/binary_bios_measurements
$b echo LOG-ENDS
$b poweroff -f
";

/// A newc archive of busybox and the script.
pub(super) fn initrd() -> Vec<u8> {
    let busybox = fs::read(Suite::Machine.program("busybox")).expect("busybox");
    let files: [(&str, u32, &[u8]); 4] = [
        ("bin", 0o040_755, &[]),
        ("bin/busybox", 0o100_755, &busybox),
        ("init", 0o100_755, INIT.as_bytes()),
        ("TRAILER!!!", 0, &[]),
    ];
    let mut archive = Vec::new();
    for (number, (name, mode, data)) in files.into_iter().enumerate() {
        let fields = [number, mode as usize, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        archive.extend(b"070701");
        fields.iter().for_each(|field| archive.extend(format!("{field:08x}").bytes()));
        archive.extend(format!("{name}\0").bytes());
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}

fn put(bytes: &mut [u8], at: usize, value: usize, width: usize) {
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// systemd-stub of `suite` with `sections` behind its own.
pub(super) fn uki(suite: Suite, sections: &[(&str, &[u8])]) -> Vec<u8> {
    let stub = suite.root().join("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let mut image = fs::read(&stub).expect("systemd-stub; run ci/differential boots");
    let pe = u32_at(&image, 0x3c);
    let (count, optional) = (u16_at(&image, pe + 6), u16_at(&image, pe + 20));
    let (alignment, on_disk) = (u32_at(&image, pe + 56), u32_at(&image, pe + 60));
    let table = pe + 24 + optional;
    let last = table + 40 * (count - 1);
    let mut address = u32_at(&image, last + 12) + u32_at(&image, last + 8);
    assert!(table + 40 * (count + sections.len()) <= u32_at(&image, pe + 84), "room for sections");
    for (place, (name, data)) in (count..).zip(sections) {
        address = address.next_multiple_of(alignment);
        image.resize(image.len().next_multiple_of(on_disk), 0);
        let entry = table + 40 * place;
        let size = data.len().next_multiple_of(on_disk);
        image[entry..entry + name.len()].copy_from_slice(name.as_bytes());
        let start = image.len();
        for (at, value) in [(8, data.len()), (12, address), (16, size), (20, start)] {
            put(&mut image, entry + at, value, 4);
        }
        put(&mut image, entry + 36, 0x4000_0040, 4); // initialised data, readable
        image.extend(*data);
        image.resize(start + size, 0);
        address += data.len();
    }
    put(&mut image, pe + 6, count + sections.len(), 2);
    put(&mut image, pe + 80, address.next_multiple_of(alignment), 4);
    image
}

/// The image in `file`, signed with the key that Debian's OVMF comes with, whose passphrase is known.
pub(super) fn sign(suite: Suite, file: &Path) {
    let keys = suite.root().join("usr/share/ovmf");
    let (key, out) = (file.with_extension("key"), file.with_extension("signed"));
    let host = suite.host();
    let openssl = host
        .tool("openssl", "run ci/setup")
        .expect("openssl")
        .args(["rsa", "-in"])
        .arg(keys.join("PkKek-1-snakeoil.key"))
        .args(["-passin", "pass:snakeoil", "-out"])
        .arg(&key)
        .run();
    openssl.expect("the key");
    let mut sbsign = host.tool("sbsign", "run ci/differential boots").expect("sbsign");
    sbsign.arg("--key").arg(&key).arg("--cert").arg(keys.join("PkKek-1-snakeoil.pem"));
    sbsign.arg("--output").arg(&out).arg(file).run().expect("a signature");
    fs::rename(out, file).expect("moved");
}

/// Blocks of the disk, and of its one partition.
const DISK: usize = 96 << 11;
const FIRST: usize = 2048;
const LAST: usize = DISK - 2049;
const BLOCK: usize = 512;

/// A disk with a partition table and an EFI system partition that holds `system` where firmware
/// looks for it.
pub(super) fn disk(system: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; DISK * BLOCK];
    disk[FIRST * BLOCK..(LAST + 1) * BLOCK].copy_from_slice(&fat(LAST + 1 - FIRST, system));
    put(&mut disk, 0x1be + 4, 0xee, 1); // protective MBR
    put(&mut disk, 0x1be + 8, 1, 4);
    put(&mut disk, 0x1be + 12, DISK - 1, 4);
    put(&mut disk, 0x1fe, 0xaa55, 2);
    let mut entries = vec![0; 128 * 128];
    let esp = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
    ];
    entries[..16].copy_from_slice(&esp);
    entries[16..32].fill(0x5a);
    put(&mut entries, 32, FIRST, 8);
    put(&mut entries, 40, LAST, 8);
    for (number, letter) in "ESP".bytes().enumerate() {
        entries[56 + 2 * number] = letter;
    }
    for (place, other, table) in [(1, DISK - 1, 2), (DISK - 1, 1, DISK - 33)] {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        let fields = [(8, 0x1_0000, 4), (12, 92, 4), (24, place, 8), (32, other, 8), (40, 34, 8)];
        let more = [(48, DISK - 34, 8), (72, table, 8), (80, 128, 4), (84, 128, 4)];
        fields
            .iter()
            .chain(&more)
            .for_each(|(at, value, width)| put(&mut header, *at, *value, *width));
        header[56..72].fill(0xa5);
        put(&mut header, 88, crc32fast::hash(&entries) as usize, 4);
        let checksum = crc32fast::hash(&header) as usize;
        put(&mut header, 16, checksum, 4);
        disk[place * BLOCK..place * BLOCK + 92].copy_from_slice(&header);
        disk[table * BLOCK..table * BLOCK + entries.len()].copy_from_slice(&entries);
    }
    disk
}

/// A FAT16 file system of so many blocks with `/EFI/BOOT/BOOTX64.EFI`.
fn fat(blocks: usize, system: &[u8]) -> Vec<u8> {
    const CLUSTER: usize = 8 * BLOCK;
    const TABLE: usize = 128; // blocks of one FAT
    let root = (1 + 2 * TABLE) * BLOCK;
    let data = root + 512 * 32;
    let mut bytes = vec![0; blocks * BLOCK];
    bytes[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    bytes[3..11].copy_from_slice(b"MSWIN4.1");
    let fields = [(11, BLOCK, 2), (13, 8, 1), (14, 1, 2), (16, 2, 1), (17, 512, 2), (21, 0xf8, 1)];
    let more =
        [(22, TABLE, 2), (24, 32, 2), (26, 64, 2), (32, blocks, 4), (36, 0x80, 1), (38, 0x29, 1)];
    fields.iter().chain(&more).for_each(|(at, value, width)| put(&mut bytes, *at, *value, *width));
    bytes[43..62].copy_from_slice(b"ESP        FAT16   ");
    put(&mut bytes, 510, 0xaa55, 2);
    let entry = |name: &[u8; 11], kind: u8, cluster: usize, size: usize| {
        let mut entry = [&name[..], &[kind], &[0; 20]].concat();
        put(&mut entry, 26, cluster, 2);
        put(&mut entry, 28, size, 4);
        entry
    };
    let mut write = |at: usize, entries: &[Vec<u8>]| {
        let entries = entries.concat();
        bytes[at..at + entries.len()].copy_from_slice(&entries);
    };
    let cluster = |number: usize| data + (number - 2) * CLUSTER;
    write(root, &[entry(b"EFI        ", 0x10, 2, 0)]);
    let dots =
        |own, parent| [entry(b".          ", 0x10, own, 0), entry(b"..         ", 0x10, parent, 0)];
    write(cluster(2), &[&dots(2, 0)[..], &[entry(b"BOOT       ", 0x10, 3, 0)]].concat());
    write(cluster(3), &[&dots(3, 2)[..], &[entry(b"BOOTX64 EFI", 0x20, 4, system.len())]].concat());
    write(cluster(4), &[system.to_vec()]);
    let count = system.len().div_ceil(CLUSTER);
    let chain = (4..4 + count).map(|number| if number == 3 + count { 0xffff } else { number + 1 });
    let table: Vec<u8> = [0xfff8, 0xffff, 0xffff, 0xffff]
        .into_iter()
        .chain(chain)
        .flat_map(|next| [next.to_le_bytes()[0], next.to_le_bytes()[1]])
        .collect();
    assert!(table.len() <= TABLE * BLOCK, "the UKI is too large for the disk");
    for copy in 0..2 {
        let at = (1 + copy * TABLE) * BLOCK;
        bytes[at..at + table.len()].copy_from_slice(&table);
    }
    bytes
}
