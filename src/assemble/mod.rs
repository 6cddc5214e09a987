//! Artifacts → what boots, and the guest and the machines to measure.

pub mod acpi;
