//! The hash of a certificate's subject by which OpenSSL looks for certificates in a directory
//! (`X509_NAME_hash`, `crypto/x509/x_name.c`): SHA-1 of the name in a canonical form.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use sha1::Digest as _;

use super::{Error, Reader, Result};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
/// `[0]` of `TBSCertificate`: the version.
const VERSION: u8 = 0xa0;

/// The first four bytes of the digest, as a little-endian number: the name of the link is this in
/// hexadecimal.
///
/// # Errors
/// The bytes are no certificate (RFC 5280 section 4.1).
pub fn subject_hash(certificate: &[u8]) -> Result<u32> {
    let (tag, outer) = element(&mut Reader::new(certificate))?;
    expect(tag, SEQUENCE)?;
    let (tag, inner) = element(&mut Reader::new(outer))?;
    expect(tag, SEQUENCE)?;
    let mut fields = Reader::new(inner);
    if inner.first() == Some(&VERSION) {
        element(&mut fields)?;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        element(&mut fields)?;
    }
    let (tag, subject) = element(&mut fields)?;
    expect(tag, SEQUENCE)?;
    let digest = sha1::Sha1::digest(canonical(subject)?);
    Ok(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// The name in its canonical form, without its own header.
fn canonical(name: &[u8]) -> Result<Vec<u8>> {
    let (mut sets, mut out) = (Reader::new(name), Vec::new());
    while sets.offset() < name.len() {
        let (tag, set) = element(&mut sets)?;
        expect(tag, SET)?;
        let mut attributes = Vec::new();
        let mut members = Reader::new(set);
        while members.offset() < set.len() {
            let (tag, attribute) = element(&mut members)?;
            expect(tag, SEQUENCE)?;
            attributes.push(canonical_attribute(attribute)?);
        }
        attributes.sort();
        out.extend(encoded(SET, &attributes.concat()));
    }
    Ok(out)
}

/// Type and value, the value as UTF-8 in small letters and with single spaces if it is text.
fn canonical_attribute(attribute: &[u8]) -> Result<Vec<u8>> {
    let mut parts = Reader::new(attribute);
    element(&mut parts)?;
    let kind = attribute.get(..parts.offset()).unwrap_or_default();
    let (tag, value) = element(&mut parts)?;
    let value = match text(tag, value) {
        Some(text) => encoded(UTF8_STRING, &text),
        None => encoded(tag, value),
    };
    Ok(encoded(SEQUENCE, &[kind, &value].concat()))
}

/// The text of a string type of ASN.1; none for other types.
fn text(tag: u8, value: &[u8]) -> Option<Vec<u8>> {
    let latin = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
    let wide = |bytes: &[u8]| bytes.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
    let text: alloc::string::String = match tag {
        UTF8_STRING => core::str::from_utf8(value).ok()?.to_string(),
        // PrintableString, IA5String, VisibleString; T61String, which OpenSSL takes for Latin-1.
        0x13 | 0x16 | 0x1a | 0x14 => latin(value),
        // BMPString, UniversalString.
        0x1e if value.len().is_multiple_of(2) => {
            let units: Vec<u16> = wide(value);
            alloc::string::String::from_utf16(&units).ok()?
        }
        0x1c => value
            .chunks(4)
            .map(|c| char::from_u32(u32::from_be_bytes(c.try_into().ok()?)))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let words: Vec<_> = text.split(|c: char| c == '\x0b' || c.is_ascii_whitespace()).collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    Some(words.join(" ").to_ascii_lowercase().into_bytes())
}

/// Tag and contents of the next element (X.690 section 8.1); lengths of up to four bytes.
fn element<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8])> {
    let [tag, first] = reader.array("element of the certificate")?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let bytes = reader.take(usize::from(first & 0x7f), "length of an element")?;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return Err(unexpected(first, "a length of up to four bytes", reader.offset())),
    };
    Ok((tag, reader.take(length, "contents of an element")?))
}

fn encoded(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let bytes = length.to_be_bytes();
    let bytes =
        bytes.get(bytes.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default();
    let mut out = alloc::vec![tag];
    match u8::try_from(length).ok().filter(|length| *length < 0x80) {
        Some(short) => out.push(short),
        None => {
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(contents);
    out
}

fn expect(found: u8, expected: u8) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(unexpected(found, &format!("{expected:#04x}"), 0)),
    }
}

fn unexpected(found: u8, expected: &str, offset: usize) -> Error {
    let (found, expected) = (format!("{found:#04x}"), expected.to_string());
    Error::Value { what: "tag in the certificate", offset, found, expected }
}
