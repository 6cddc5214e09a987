//! How each TEE chains what the VMM loads, one file per TEE.
pub mod nitro;
pub mod sgx;
pub mod tdx;
pub mod vtpm;
