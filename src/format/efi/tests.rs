//! Tests of `efi`.

use super::*;
use alloc::vec;

/// A store with the given variables: name, state, value.
fn store(variables: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, state, value) in variables {
        list.extend([0xaa, 0x55, *state, 0, 7, 0, 0, 0]);
        list.extend([0; 28]);
        let name = [wide(name), vec![0, 0]].concat();
        list.extend(u32::try_from(name.len()).expect("short").to_le_bytes());
        list.extend(u32::try_from(value.len()).expect("short").to_le_bytes());
        list.extend(GLOBAL_VARIABLE.0);
        list.extend(name);
        list.extend(*value);
        list.resize(list.len().next_multiple_of(4), 0xff);
    }
    let mut bytes = vec![0; 16];
    bytes.extend(Guid::of("fff12b8d-7696-4c8b-a985-2747075b4f50").0);
    bytes.resize(0x30, 0);
    bytes.extend([0x48, 0]);
    bytes.resize(0x48, 0);
    bytes.extend(Guid::of("aaf32c78-947b-439a-a180-2e144ec37792").0);
    bytes.extend(u32::try_from(28 + list.len() + 64).expect("short").to_le_bytes());
    bytes.extend([0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
    bytes.extend(list);
    bytes.resize(bytes.len() + 64, 0xff);
    bytes
}

#[test]
fn live_variables_are_read_and_deleted_ones_are_not() {
    let bytes = store(&[("PK", 0x3f, b"old"), ("KEK", 0x3c, b"gone"), ("db", 0x3e, b"moving")]);
    let found = variables(&bytes).expect("a store");
    assert_eq!(found.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["PK", "db"]);
    assert_eq!(value(&found, GLOBAL_VARIABLE, "db"), Some(&b"moving"[..]));
    assert_eq!(value(&found, IMAGE_SECURITY_DATABASE, "db"), None);
}

#[test]
fn broken_stores_are_refused() {
    let whole = store(&[("PK", 0x3f, b"old")]);
    for end in 0..whole.len() {
        let _ = variables(&whole[..end]);
    }
    let cut = variables(&whole[..whole.len() - 1]).expect_err("cut").to_string();
    assert!(cut.contains("size of the variable store"), "{cut}");
    let other = variables(&[0; 0x100]).expect_err("no store").to_string();
    assert!(other.contains("fff12b8d-7696-4c8b-a985-2747075b4f50"), "{other}");
    let mut lying = whole;
    lying[0x48 + 28 + 36] = 0xff;
    lying[0x48 + 28 + 38] = 0xff;
    assert!(variables(&lying).is_err());
}

#[test]
fn signature_lists_give_their_entries() {
    let list = |entries: usize, each: u32| {
        let size = 28 + u32::try_from(entries).expect("few") * each;
        let numbers: Vec<u8> = [size, 0, each].into_iter().flat_map(u32::to_le_bytes).collect();
        [&CERT_SHA256.0[..], &numbers, &vec![7; entries * usize::try_from(each).expect("u32")]]
            .concat()
    };
    let value = [list(2, 48), list(1, 20)].concat();
    let found = signatures(&value).expect("lists");
    assert_eq!(found.iter().map(|s| s.data().len()).collect::<Vec<_>>(), [32, 32, 4]);
    assert!(signatures(&value[..value.len() - 1]).is_err());
    assert!(signatures(&list(2, 16)).is_err());
    assert!(signatures(&list(0, 0)).is_err());
    assert_eq!(signatures(&[]), Ok(vec![]));
}

#[test]
fn an_absent_variable_is_measured_with_empty_data() {
    // The digest stands in the logs of many machines without Secure Boot keys.
    let digest = crate::digest::Sha384::of(&variable_data(GLOBAL_VARIABLE, "PK", &[])).to_string();
    assert!(digest.starts_with("6f2e3cbc14f9def86980f5f66fd85e99d63e69a73014ed8a"), "{digest}");
}

#[test]
fn the_setup_screen_of_ovmf_is_a_known_boot_option() {
    let volume = Guid::of("7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1");
    let file = Guid::of("462caa21-7614-4503-836e-8ab6f4662331");
    let option = load_option(0x109, "UiApp", &firmware_file_path(volume, file));
    let digest = crate::digest::Sha384::of(&option).to_string();
    assert!(digest.starts_with("23ada07f5261f12f34a0bd8e46760962"), "{digest}");
}
