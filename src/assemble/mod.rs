//! Artifacts → what boots, and the guest and the machines to measure.

pub mod acpi;
pub mod direct;
pub mod enclave;
pub mod facts;
mod materials;
pub mod measured;
pub mod output;
pub mod tee_image;
