//! Percent-encoding of texts in addresses (RFC 3986 section 2.1).

use alloc::format;
use alloc::string::{String, ToString as _};

/// `text` with everything percent-encoded but the unreserved characters (section 2.3) and those in
/// `kept`, which must be ASCII.
pub fn encoded(text: &str, kept: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false if kept.as_bytes().contains(&byte) => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_encoded_unless_kept() {
        assert_eq!(encoded("a-b_c.d~0/:", ""), "a-b_c.d~0%2F%3A");
        assert_eq!(encoded("a/b: ü", "/:"), "a/b:%20%C3%BC");
    }
}
