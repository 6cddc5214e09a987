//! Name-based identities (RFC 9562 section 5.5): the same name, the same UUID, on every machine.

use crate::digest::{Sha1, hex};

/// Name space of URLs (RFC 9562 section 6.6), 6ba7b811-9dad-11d1-80b4-00c04fd430c8.
pub(super) const URL: [u8; 16] = [
    0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8,
];

/// The version 5 UUID of `name` in `namespace`, as lower-case text.
pub(super) fn uuid5(namespace: [u8; 16], name: &str) -> String {
    let mut id = Sha1::of_parts([&namespace[..], name.as_bytes()]).0;
    id[6] = id[6] & 0x0f | 0x50; // version 5
    id[8] = id[8] & 0x3f | 0x80; // variant of RFC 9562
    let text = hex(&id[..16]);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 9562 appendix A.4, with the DNS name space.
        let dns = [
            0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4,
            0x30, 0xc8,
        ];
        assert_eq!(uuid5(dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}
