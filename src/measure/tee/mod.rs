//! How each TEE chains what the VMM loads, one file per TEE.

pub mod cca;
pub mod csv;
pub mod nitro;
pub mod se;
pub mod sev;
pub mod sev_es;
pub mod sgx;
pub mod snp;
pub mod tdx;
pub mod vtpm;
