//! SGX enclaves and signatures.

use super::Facts;
use crate::format::elf::{Elf, MAGIC};
use crate::format::sgx::Sigstruct;
use crate::measure::tee::sgx::Identity;

pub(super) fn is_enclave(bytes: &[u8]) -> bool {
    let signed =
        || Elf::parse(bytes).is_ok_and(|e| matches!(e.section(".note.sgxmeta"), Ok(Some(_))));
    bytes.starts_with(b"ECREATE\0") || (bytes.starts_with(&MAGIC) && signed())
}

pub(super) fn is_sigstruct(bytes: &[u8]) -> bool {
    bytes.len() == size_of::<Sigstruct>() && Sigstruct::parse(bytes).is_ok()
}

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let identity = Identity::of(bytes)?;
    let facts = Facts::default().with("mrenclave", identity.mrenclave.to_string());
    let warnings: Vec<_> = identity.warnings().collect();
    let facts = match &identity.sigstruct {
        Some(signed) => facts
            .with("mrsigner", signed.mrsigner().to_string())
            .with("isv_prod_id", u32::from(signed.isv_prod_id.get()))
            .with("isv_svn", u32::from(signed.isv_svn.get()))
            .with("attributes", format!("{:#x}", signed.attributes))
            .with("xfrm", format!("{:#x}", signed.xfrm))
            .with("date", format!("{:08x}", signed.date)),
        None => facts,
    };
    Ok(facts.with("warnings", warnings))
}
