//! What a kernel's EFI stub measures, told by the kernel itself (Linux
//! `drivers/firmware/efi/libstub/efi-stub-helper.c`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use memchr::memmem;

use super::is_linux;
use crate::format::bzimage;
use crate::format::eventlog::EV_EVENT_TAG;
use crate::format::guid::Guid;
use crate::measure::event::{Banks, Step};

/// Descriptions that the stub logs, and the protocol by which it measures where there is no TPM
/// (UEFI 2.10 section 38.2.2).
const OPTIONS: &[u8] = b"LOADED_IMAGE::LoadOptions";
const INITRD: &[u8] = b"Linux initrd";
const CC_MEASUREMENT: Guid = Guid::of("96751a3d-72f4-41a6-a794-ed5d0e67ae6b");

/// What a kernel's stub measures into PCR 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stub {
    /// Its load options: the command line.
    options: bool,
    /// The RAM disk.
    initrd: bool,
}

impl Stub {
    /// That of `kernel`, in a confidential guest without TPM or elsewhere. What is no x86 kernel
    /// image is taken for a recent one.
    pub fn of(kernel: &[u8], confidential: bool) -> Self {
        if !is_linux(kernel) {
            return Self { options: true, initrd: true };
        }
        let code = uncompressed(kernel);
        let carries = |text: &[u8]| code.iter().any(|part| memmem::find(part, text).is_some());
        // A GUID in code is two numbers of eight bytes. Linux 6.9 is the first with this one
        // (d228814b1913, efi/libstub: Measure into CC protocol if TCG2 protocol is absent).
        let speaks = || CC_MEASUREMENT.0.chunks(8).all(carries);
        let measures = !confidential || speaks();
        Self { options: measures && carries(OPTIONS), initrd: measures && carries(INITRD) }
    }

    /// The events of a boot with these load options, if any, and this RAM disk, in order.
    pub fn steps(self, banks: &Banks, options: Option<&str>, initrd: &[u8]) -> Vec<Step> {
        let options = options.filter(|_| self.options).map(|text| load_options(banks, text));
        let initrd = (self.initrd && !initrd.is_empty()).then(|| self::initrd(banks, initrd));
        options.into_iter().chain(initrd).collect()
    }

    /// What of a direct boot no register covers.
    pub fn doubt(self, register: &str) -> Option<String> {
        let left_out = match (self.options, self.initrd) {
            (true, true) => return None,
            (false, true) => "its command line",
            (true, false) => "its initrd",
            (false, false) => "neither command line nor initrd",
        };
        let verb = if self.options == self.initrd { "measures" } else { "does not measure" };
        Some(format!("this kernel {verb} {left_out}: {register} says nothing of it"))
    }
}

/// The parts of `kernel` in front of and behind its compressed payload; the stub lies there.
fn uncompressed(kernel: &[u8]) -> [&[u8]; 2] {
    let payload = bzimage::payload_range(kernel).ok().flatten().unwrap_or_default();
    [kernel.get(..payload.start), kernel.get(payload.end..)].map(Option::unwrap_or_default)
}

/// Load options as the firmware or a loader passes them: UTF-16 with its terminator.
fn load_options(banks: &Banks, text: &str) -> Step {
    let bytes = [crate::format::efi::wide(text), alloc::vec![0, 0]].concat();
    banks.step(9, EV_EVENT_TAG, format!("load options `{text}`"), &bytes)
}

/// The RAM disk as the stub loads it.
fn initrd(banks: &Banks, bytes: &[u8]) -> Step {
    banks.step(9, EV_EVENT_TAG, "Linux initrd", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A kernel image with `code` behind a payload that holds every text as well.
    fn kernel(code: &[&[u8]]) -> Vec<u8> {
        let payload = [OPTIONS, INITRD, &CC_MEASUREMENT.0].concat();
        let mut bytes = vec![0; 0x400];
        bytes[0x1f1] = 1;
        bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        bytes[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        bytes[0x24c] = u8::try_from(payload.len()).expect("short");
        [bytes, payload, code.concat()].concat()
    }

    #[test]
    fn the_stub_tells_by_what_it_carries_outside_the_payload() {
        let (first, second) = CC_MEASUREMENT.0.split_at(8);
        let stub = |code: &[&[u8]], confidential| Stub::of(&kernel(code), confidential);
        let of = |options, initrd| Stub { options, initrd };
        assert_eq!(stub(&[], false), of(false, false));
        assert_eq!(stub(&[INITRD], false), of(false, true));
        assert_eq!(stub(&[INITRD, OPTIONS], true), of(false, false));
        assert_eq!(stub(&[INITRD, first, b"\x48\xb8", second, OPTIONS], true), of(true, true));
        assert_eq!(Stub::of(b"MZ, and no header", true), of(true, true));
    }

    #[test]
    fn nothing_is_no_event() {
        let banks = Banks::new(vec![crate::format::eventlog::Algorithm::Sha256]);
        let all = Stub { options: true, initrd: true };
        assert_eq!(all.steps(&banks, None, &[]), []);
        assert_eq!(all.steps(&banks, Some(""), b"x").len(), 2);
        assert_eq!(all.doubt("PCR 9"), None);
        let doubt = Stub { options: false, initrd: true }.doubt("PCR 9");
        let expected = "this kernel does not measure its command line: PCR 9 says nothing of it";
        assert_eq!(doubt.as_deref(), Some(expected));
    }
}
