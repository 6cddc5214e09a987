//! Control flags, by the names that `pvimg create` gives its options.

/// One option: it sets or clears bits of the plaintext or of the secret control flags.
pub struct Flag {
    /// Name: `enable-dump`.
    pub name: &'static str,
    /// One line for help and docs.
    pub about: &'static str,
    /// Plaintext control flags that it sets, and those that it clears.
    pcf: (u64, u64),
    /// Secret control flags that it sets.
    scf: u64,
}

/// Bit `number` of 64, counted from the most significant, as the architecture does.
const fn bit(number: u32) -> u64 {
    1 << (63 - number)
}

/// DEA and TDEA, AES and ECC keys may be wrapped by PCKMO: on unless switched off.
const PCKMO: u64 = bit(56) | bit(57) | bit(58);
/// The components are not encrypted.
pub const NO_ENCRYPTION: u64 = bit(35);

/// Every option (s390-tools, `rust/pvimg/src/pv_utils/se_hdr/flags.rs` and `cli.rs`).
pub const FLAGS: &[Flag] = &[
    Flag {
        name: "enable-dump",
        about: "The guest may be dumped, readable with the CCK",
        pcf: (bit(34), 0),
        scf: 0,
    },
    Flag {
        name: "disable-image-encryption",
        about: "Components lie open, so that anyone can check their digests",
        pcf: (NO_ENCRYPTION, 0),
        scf: 0,
    },
    Flag {
        name: "disable-pckmo",
        about: "No wrapping of DEA, TDEA, AES and ECC keys",
        pcf: (0, PCKMO),
        scf: 0,
    },
    Flag { name: "enable-pckmo-hmac", about: "Wrapping of HMAC keys", pcf: (bit(59), 0), scf: 0 },
    Flag {
        name: "enable-backup-keys",
        about: "The guest may use backup host keys",
        pcf: (bit(62), 0),
        scf: 0,
    },
    Flag {
        name: "enable-cck-extension-secret",
        about: "Secrets are taken only with an extension secret made from the CCK",
        pcf: (0, 0),
        scf: bit(1),
    },
    Flag {
        name: "enable-cck-update",
        about: "The CCK may be replaced while the guest runs (z17)",
        pcf: (0, 0),
        scf: bit(2),
    },
];

/// Plaintext and secret control flags with the options that `on` names switched on.
pub fn flags(on: impl Fn(&str) -> bool) -> (u64, u64) {
    let set = FLAGS.iter().filter(|flag| on(flag.name));
    set.fold((PCKMO, 0), |(pcf, scf), flag| ((pcf | flag.pcf.0) & !flag.pcf.1, scf | flag.scf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_set_the_bits_that_the_architecture_gives_them() {
        assert_eq!(flags(|_| false), (0xe0, 0));
        assert_eq!(flags(|name| name == "disable-pckmo"), (0, 0));
        assert_eq!(flags(|name| name == "disable-image-encryption"), (0x1000_00e0, 0));
        assert_eq!(flags(|name| name == "enable-dump"), (0x2000_00e0, 0));
        assert_eq!(flags(|name| name.starts_with("enable-cck")), (0xe0, 0x6000_0000_0000_0000));
        assert_eq!(flags(|name| name.contains("hmac") || name.contains("backup")), (0xf2, 0));
    }
}
