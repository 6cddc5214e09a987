//! The setup header of an x86 kernel image (Linux `Documentation/arch/x86/boot.rst`).

use alloc::string::ToString as _;
use core::ops::Range;

use super::{Error, Reader, Result};

/// Offset of the boot flag, of the header's magic number and of its version.
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const CMDLINE_SIZE: usize = 0x238;
/// Offset of the number of set-up sectors, and of the payload's offset and length.
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD: usize = 0x248;
const PAYLOAD_NAME: &str = "payload of kernel image";
/// Longest command line of protocols before 2.06, which do not state it.
const OLD_CMDLINE_SIZE: u32 = 255;

/// What the header says about the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the boot protocol: `0x020f` is 2.15.
    pub protocol: u16,
    /// Longest command line that the kernel takes, without its terminator.
    pub cmdline_size: u32,
}

/// Reads the header of the kernel image in `bytes`.
///
/// # Errors
/// The bytes are no kernel image that a VMM can boot by this protocol.
pub fn parse(bytes: &[u8]) -> Result<Header> {
    let flag = Reader::at(bytes, BOOT_FLAG).u16("boot flag of kernel image")?;
    let mut reader = Reader::at(bytes, MAGIC);
    let magic: [u8; 4] = reader.array("magic number of kernel image")?;
    if (flag, &magic) != (0xaa55, b"HdrS") {
        let found = magic.escape_ascii().to_string();
        let expected = "HdrS: is this a bzImage?".into();
        return Err(Error::Value {
            what: "magic number of kernel image",
            offset: MAGIC,
            found,
            expected,
        });
    }
    let protocol = reader.u16("boot protocol of kernel image")?;
    let cmdline_size = match protocol {
        ..0x0206 => OLD_CMDLINE_SIZE,
        _ => Reader::at(bytes, CMDLINE_SIZE).u32("command line size of kernel image")?,
    };
    Ok(Header { protocol, cmdline_size })
}

/// The compressed kernel in the image (`payload_offset` and `payload_length`, protocol 2.08).
///
/// # Errors
/// It does not lie in the image.
pub fn payload(bytes: &[u8]) -> Result<Option<&[u8]>> {
    let range = payload_range(bytes)?;
    range.map(|range| Reader::at(bytes, range.start).take(range.len(), PAYLOAD_NAME)).transpose()
}

/// Where [`payload`] says that the compressed kernel lies, whether or not the image reaches so far.
///
/// # Errors
/// The header is none, or ends early.
pub fn payload_range(bytes: &[u8]) -> Result<Option<Range<usize>>> {
    if parse(bytes)?.protocol < 0x0208 {
        return Ok(None);
    }
    // The protected-mode code starts behind the boot sector and the set-up sectors, of which 0
    // stands for 4.
    let sectors = match Reader::at(bytes, SETUP_SECTORS).u8("number of set-up sectors")? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let mut reader = Reader::at(bytes, PAYLOAD);
    let (offset, length) = (reader.u32(PAYLOAD_NAME)? as usize, reader.u32(PAYLOAD_NAME)? as usize);
    let start = ((sectors + 1) * 512).saturating_add(offset);
    Ok(Some(start..start.saturating_add(length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn image(protocol: u16, cmdline_size: u32) -> Vec<u8> {
        let mut bytes = vec![0; 0x23c];
        bytes[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        bytes[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        bytes[MAGIC + 4..MAGIC + 6].copy_from_slice(&protocol.to_le_bytes());
        bytes[CMDLINE_SIZE..].copy_from_slice(&cmdline_size.to_le_bytes());
        bytes
    }

    #[test]
    fn the_command_line_may_be_as_long_as_the_protocol_says() {
        let header = parse(&image(0x020f, 2047)).unwrap();
        assert_eq!(header, Header { protocol: 0x020f, cmdline_size: 2047 });
        assert_eq!(parse(&image(0x0205, 2047)).unwrap().cmdline_size, 255);
    }

    #[test]
    fn the_payload_lies_behind_the_set_up_code() {
        let mut bytes = image(0x020f, 2047);
        bytes.resize(1024 + 16 + 4, 0);
        bytes[SETUP_SECTORS] = 1;
        bytes[PAYLOAD..PAYLOAD + 8].copy_from_slice(&[16, 0, 0, 0, 4, 0, 0, 0]);
        bytes[1040..].copy_from_slice(b"data");
        assert_eq!(payload(&bytes), Ok(Some(&b"data"[..])));
        bytes[PAYLOAD + 7] = 0x80;
        let error = payload(&bytes).unwrap_err().to_string();
        assert!(error.contains("payload of kernel image at byte offset 0x410"), "{error}");
    }

    #[test]
    fn what_is_no_kernel_image_is_refused() {
        let mut bytes = image(0x020f, 2047);
        assert!((0..bytes.len()).all(|cut| parse(&bytes[..cut]).is_err()));
        bytes[MAGIC] = b'h';
        let error = parse(&bytes).unwrap_err().to_string();
        let expected = "expected HdrS: is this a bzImage?, found hdrS";
        assert_eq!(
            error,
            alloc::format!("magic number of kernel image at byte offset 0x202: {expected}")
        );
    }
}
