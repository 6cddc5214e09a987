//! What the volumes of a firmware tell, kept in the store: unpacking them is most of the work of a
//! prediction, and one firmware is measured many times.

use crate::digest::Sha256;
use crate::measure::Result;
use crate::measure::uefi::Facts;
use crate::store::Store;

/// The facts about the firmware `image`, as `store` keeps them, or read now and then kept. `tool`
/// names the program: another build of it may read a firmware in another way. A store that cannot be
/// used costs time and nothing else.
///
/// # Errors
/// The firmware has no volumes, or broken ones.
pub fn of(store: &Store, image: &[u8], tool: &str) -> Result<Facts> {
    let key = key(image, tool);
    let kept = store.result(&key).ok().flatten();
    if let Some(facts) = kept.and_then(|kept| serde_json::from_slice(&kept).ok()) {
        return Ok(facts);
    }
    let facts = Facts::read(image)?;
    if let Ok(text) = serde_json::to_vec(&facts) {
        let _ = store.put_result(&key, &text); // where it fails, the next run reads again
    }
    Ok(facts)
}

fn key(image: &[u8], tool: &str) -> Sha256 {
    Sha256::of(format!("facts 1\n{tool}\n{}\n", Sha256::of(image)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fv::tests::volume;

    #[test]
    fn what_is_kept_is_told_and_what_is_damaged_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let image = volume(0x07, b"etc/boot/kernel");
        let read = of(&store, &image, "1.0").expect("facts");
        assert_eq!(read, Facts::read(&image).expect("facts"));
        assert!(read.epoch.named_kernel);
        let mut other = read.clone();
        other.version = "another".to_string();
        let text = serde_json::to_vec(&other).expect("JSON");
        store.put_result(&key(&image, "1.0"), &text).expect("kept");
        assert_eq!(of(&store, &image, "1.0"), Ok(other));
        assert_eq!(of(&store, &image, "1.1").as_ref(), Ok(&read), "another build of the program");
        store.put_result(&key(&image, "1.0"), b"{}").expect("kept");
        assert_eq!(of(&store, &image, "1.0"), Ok(read));
        assert!(of(&store, b"no volume", "1.0").is_err());
    }
}
