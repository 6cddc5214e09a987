//! GUIDs as UEFI stores them: the first three fields little-endian (UEFI 2.10, appendix A).

use core::fmt;

/// A GUID in its stored byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "reference", derive(serde::Serialize, serde::Deserialize))]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The GUID of a text `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, for constants.
    ///
    /// # Panics
    /// At compile time, if the text is no GUID.
    pub const fn of(text: &str) -> Self {
        // Where each stored byte's two digits stand in the text.
        const AT: [usize; 16] = [6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34];
        let text = text.as_bytes();
        assert!(text.len() == 36, "a GUID has 36 characters");
        let mut bytes = [0; 16];
        let mut i = 0;
        while i < 16 {
            bytes[i] = digit(text[AT[i]]) << 4 | digit(text[AT[i] + 1]);
            i += 1;
        }
        Self(bytes)
    }
}

const fn digit(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        b'A'..=b'F' => c - b'A' + 10,
        _ => panic!("not a hexadecimal digit"),
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (place, at) in ORDER.into_iter().enumerate() {
            if [4, 6, 8, 10].contains(&place) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[at])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn the_first_three_fields_are_stored_little_endian() {
        // EFI_GLOBAL_VARIABLE, UEFI 2.10 section 3.3.
        const GLOBAL: Guid = Guid::of("8BE4DF61-93CA-11d2-AA0D-00E098032B8C");
        assert_eq!(GLOBAL.0[..4], [0x61, 0xdf, 0xe4, 0x8b]);
        assert_eq!(GLOBAL.to_string(), "8be4df61-93ca-11d2-aa0d-00e098032b8c");
    }
}
