//! Is it what was promised? The boot set booted, builds repeated, evidence compared.

pub mod boot;
pub mod diff;
pub mod evidence;
pub mod explain;
pub mod firmware;
pub mod inspect;
pub mod rebuild;
pub mod recompute;
pub mod signature;
