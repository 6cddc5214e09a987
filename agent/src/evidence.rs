//! Evidence through configfs-tsm (Linux `Documentation/ABI/testing/configfs-tsm-report`), the one
//! interface to SEV-SNP, TDX and CCA guests.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

/// Reports are made by creating a directory here.
const REPORTS: &str = "/sys/kernel/config/tsm/report";

/// Width of the caller's data in a report, in bytes (`inblob`).
pub const NONCE: usize = 64;

/// A report with its provider's own name.
#[derive(Debug, Serialize)]
pub struct Evidence {
    /// `sev_guest`, `tdx_guest`, `arm_cca_guest`.
    pub provider: String,
    /// The signed report, lower-case hexadecimal.
    pub outblob: String,
    /// Certificates that the host added, lower-case hexadecimal; may be empty.
    pub auxblob: String,
}

/// The TEE that this guest runs under, by its provider's name, or `none`.
pub fn tee() -> String {
    let flag = fs::read_to_string("/sys/firmware/uv/prot_virt_guest");
    if flag.is_ok_and(|flag| flag.trim() == "1") {
        return "s390-pv".into(); // IBM Secure Execution has no tsm provider
    }
    let entry = Entry::new("tee");
    let provider = entry.and_then(|entry| fs::read_to_string(entry.0.join("provider")));
    provider.map_or_else(|_| "none".into(), |name| name.trim().into())
}

/// A report over `nonce`.
pub fn report(nonce: &[u8; NONCE]) -> io::Result<Evidence> {
    let entry = Entry::new("serve")?;
    fs::write(entry.0.join("inblob"), nonce)?;
    Ok(Evidence {
        provider: fs::read_to_string(entry.0.join("provider"))?.trim().into(),
        outblob: hex(&fs::read(entry.0.join("outblob"))?),
        auxblob: hex(&fs::read(entry.0.join("auxblob")).unwrap_or_default()),
    })
}

/// One report entry; removed when dropped.
struct Entry(PathBuf);

impl Entry {
    fn new(name: &str) -> io::Result<Self> {
        let path = PathBuf::from(REPORTS).join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0); // the next use of the name says what is wrong
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of exactly `2 * NONCE` hexadecimal digits.
pub fn nonce(text: &str) -> Option<[u8; NONCE]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>();
    pairs?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_exactly_its_width() {
        let bytes: [u8; NONCE] = std::array::from_fn(|i| u8::try_from(i * 3).expect("below 192"));
        assert_eq!(nonce(&hex(&bytes)), Some(bytes));
        assert_eq!(nonce(&hex(&bytes)[1..]), None);
        assert_eq!(nonce(&format!("g{}", &hex(&bytes)[1..])), None);
    }
}
