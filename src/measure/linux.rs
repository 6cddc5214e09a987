//! What the EFI stub of Linux measures, into PCR 9, and where QEMU patches a kernel's header before
//! that (Linux `drivers/firmware/efi/libstub`, `Documentation/arch/x86/boot.rst`; QEMU
//! `hw/i386/x86-common.c`, `x86_load_linux`).

mod stub;

pub use stub::Stub;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::format::bzimage;
use crate::measure::{Guest, Vmm};

/// Header of the boot protocol: signature, and the fields that matter.
const SIGNATURE: (usize, &[u8]) = (0x202, b"HdrS");
const VIDEO_MODE: usize = 0x1fa;
const PROTOCOL: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const LOADER: usize = 0x210;
const LOAD_FLAGS: usize = 0x211;
const RAMDISK: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const HEAP_END: usize = 0x224;
const COMMAND_LINE: usize = 0x228;
const RAMDISK_MAX: usize = 0x22c;
const EXTENDED_FLAGS: usize = 0x236;

/// Where QEMU puts things: real-mode code, command line; and what it keeps free for ACPI.
const REAL_MODE: u32 = 0x10000;
const COMMAND_LINE_AT: u32 = 0x20000;
const ACPI_RESERVE: u64 = 0x28000;

/// Why a VMM would not boot the kernel of `guest` directly, or not with its command line. Its digest
/// is that of the bytes all the same.
pub fn doubts(guest: &Guest<'_>) -> Vec<String> {
    let Some(kernel) = guest.kernel else { return Vec::new() };
    let length = guest.cmdline.map_or(0, str::len);
    match bzimage::parse(kernel) {
        Ok(header) if header.cmdline_size as usize >= length => Vec::new(),
        Ok(header) => alloc::vec![alloc::format!(
            "the command line has {length} bytes, this kernel takes {}: it would not see the rest",
            header.cmdline_size
        )],
        // UKIs and other EFI images begin as every PE image does.
        Err(_) if kernel.starts_with(b"MZ") => Vec::new(),
        Err(error) => alloc::vec![alloc::format!(
            "the kernel is neither a bzImage nor an EFI image, so no VMM boots it: {error}"
        )],
    }
}

/// Version of a bzImage, as in `uname -r`.
pub fn version(kernel: &[u8]) -> Option<String> {
    let pointer =
        u16::from_le_bytes(kernel.get(KERNEL_VERSION..KERNEL_VERSION + 2)?.try_into().ok()?);
    let text = kernel.get(usize::from(pointer) + 0x200..)?;
    let text: Vec<u8> = text.iter().take_while(|byte| byte.is_ascii_graphic()).copied().collect();
    String::from_utf8(text).ok().filter(|text| !text.is_empty() && is_linux(kernel))
}

/// True for a bzImage of boot protocol 2.00 or later.
pub fn is_linux(kernel: &[u8]) -> bool {
    let (at, signature) = SIGNATURE;
    kernel.get(at..at + signature.len()) == Some(signature)
}

/// True when the firmware gets a kernel whose header QEMU has filled in: not where it fetches
/// `etc/boot/kernel`, the kernel as it is (`takes_named`, edk2-stable202502), which QEMU offers from
/// 10.0 on; nor in a confidential guest of QEMU 10.2 (a7542a38f399).
pub fn is_patched(vmm: &Vmm, takes_named: bool, confidential: bool) -> bool {
    let as_it_is = takes_named && !vmm.before(&[10, 0]);
    let left_alone = confidential && !vmm.before(&[10, 2]);
    !as_it_is && !left_alone
}

/// The first bytes of `kernel` as QEMU's direct boot leaves them; nothing else of it changes. What is
/// no bzImage, a UKI for one, stays as it is (QEMU 57e2cc9abf5d, in the stable branches from 7.2).
/// `memory` is that of a q35 machine.
pub fn patched_header<'a>(
    kernel: &'a [u8],
    initrd: usize,
    memory: u64,
    cmdline: &str,
) -> Cow<'a, [u8]> {
    let mut header = kernel.get(..0x400).unwrap_or(kernel).to_vec();
    if header.len() < 0x400 || !is_linux(kernel) {
        return Cow::Borrowed(kernel);
    }
    let put = |header: &mut Vec<u8>, at: usize, value: u32| {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    if let Some(mode) = video_mode(cmdline) {
        header[VIDEO_MODE..VIDEO_MODE + 2].copy_from_slice(&mode.to_le_bytes());
    }
    header[LOADER] = 0xb0;
    header[LOAD_FLAGS] |= 0x80;
    let heap = COMMAND_LINE_AT - REAL_MODE - 0x200;
    header[HEAP_END..HEAP_END + 2].copy_from_slice(&heap.to_le_bytes()[..2]);
    put(&mut header, COMMAND_LINE, COMMAND_LINE_AT);
    if initrd > 0 {
        let size = u32::try_from(initrd).unwrap_or(u32::MAX);
        let address = highest(kernel, memory).saturating_sub(u64::from(size)) & !0xfff;
        put(&mut header, RAMDISK, u32::try_from(address).unwrap_or(u32::MAX));
        put(&mut header, RAMDISK_SIZE, size);
    }
    Cow::Owned(header)
}

/// The highest address that a RAM disk may reach.
fn highest(kernel: &[u8], memory: u64) -> u64 {
    let word = |at: usize| kernel.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let above_4g = word(PROTOCOL) >= 0x20c && word(EXTENDED_FLAGS) & 2 != 0;
    let stated = u64::from(word(RAMDISK_MAX)) | u64::from(word(RAMDISK_MAX + 2)) << 16;
    let limit = match (above_4g, word(PROTOCOL)) {
        (true, _) => u64::from(u32::MAX),
        (false, 0x203..) => stated,
        (false, _) => 0x37ff_ffff,
    };
    // q35 has 2 GiB below the PCI hole as soon as 2.75 GiB would not fit.
    let below_4g = if memory >= 0xb000_0000 { 0x8000_0000 } else { memory };
    let free = below_4g.saturating_sub(ACPI_RESERVE);
    if limit >= free { free.saturating_sub(1) } else { limit }
}

/// The number of a `vga=` on the command line.
fn video_mode(cmdline: &str) -> Option<u16> {
    let (_, value) = cmdline.split_once("vga=")?;
    match value {
        _ if value.starts_with("normal") => Some(0xffff),
        _ if value.starts_with("ext") => Some(0xfffe),
        _ if value.starts_with("ask") => Some(0xfffd),
        _ => {
            let word = value.split([' ', ',']).next().unwrap_or_default();
            match word.strip_prefix("0x") {
                Some(digits) => u16::from_str_radix(digits, 16).ok(),
                None => word.parse().ok(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Vec<u8> {
        let mut kernel = alloc::vec![0; 0x800];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[PROTOCOL..PROTOCOL + 2].copy_from_slice(&[0x0f, 2]);
        kernel[EXTENDED_FLAGS] = 0x7f;
        kernel[KERNEL_VERSION + 1] = 3;
        kernel[0x500..0x508].copy_from_slice(b"6.12.1 #");
        kernel
    }

    #[test]
    fn what_no_vmm_boots_is_doubted() {
        let mut kernel = kernel();
        kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        kernel[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
        let doubts = |kernel: &[u8], cmdline: &str| {
            let (kernel, cmdline) = (Some(kernel), Some(cmdline));
            doubts(&Guest { kernel, cmdline, ..Guest::default() }).concat()
        };
        assert_eq!(doubts(&kernel, &"a".repeat(2047)), "");
        assert!(doubts(&kernel, &"a".repeat(2048)).contains("2048 bytes, this kernel takes 2047"));
        assert_eq!(doubts(b"MZ", ""), "");
        assert!(doubts(b"\x7fELF", "").contains("neither a bzImage nor an EFI image"));
    }

    #[test]
    fn the_version_stands_where_the_header_points() {
        assert_eq!(version(&kernel()).as_deref(), Some("6.12.1"));
        assert_eq!(version(&kernel()[..0x300]), None);
    }

    #[test]
    fn qemu_and_firmware_together_decide_whether_the_header_is_patched() {
        let patched = |vmm, takes_named, confidential| {
            is_patched(&Vmm::parse(vmm).expect("a VMM"), takes_named, confidential)
        };
        assert!(patched("qemu@7.2", true, false));
        assert!(patched("qemu@10.0", false, false));
        assert!(!patched("qemu@10.0", true, false));
        assert!(patched("qemu@10.1", false, true));
        assert!(!patched("qemu@10.2", false, true));
        assert!(!patched("qemu", true, false), "a version that is not stated is the newest");
    }

    #[test]
    fn the_ram_disk_lies_below_memory_and_the_hole() {
        let address = |memory: u64| {
            let kernel = kernel();
            let header = patched_header(&kernel, 1_083_273, memory, "quiet vga=0x317");
            assert_eq!(header[VIDEO_MODE..VIDEO_MODE + 2], [0x17, 3]);
            u32::from_le_bytes(header[RAMDISK..RAMDISK + 4].try_into().expect("four"))
        };
        assert_eq!(address(1 << 30), 0x3fecf000);
        assert_eq!(address(1 << 31), 0x7fecf000);
        assert_eq!(address(4 << 30), address(1 << 31));
    }
}
