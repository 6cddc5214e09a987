//! Confidential guests, from recipe to reference values.
//!
//! A recipe names firmware, kernel, initrd and command line; guestsmith locks every input by hash,
//! builds them bit for bit reproducibly, computes the launch digest that each TEE will report and
//! publishes it for verifiers. The modules below stand in the order in which the data flows, and a
//! module uses only those before it (`tests/layers.rs` holds that).
//!
//! Above the purity line everything is bytes in, bytes out: no file, clock, environment, process or
//! network. Without features the crate is just that part, `no_std + alloc`.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

// ── pure: bytes in, bytes out ────────────────────────────────────────────────────────────
pub mod digest;
pub mod format;
#[cfg(feature = "build")]
pub mod lock;
pub mod measure;
#[cfg(feature = "build")]
pub mod recipe;
#[cfg(feature = "reference")]
pub mod reference;
// ── the purity line: below, the world ────────────────────────────────────────────────────
#[cfg(feature = "build")]
pub mod assemble;
#[cfg(feature = "build")]
pub mod build;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "build")]
pub mod publish;
#[cfg(feature = "build")]
pub mod sandbox;
#[cfg(feature = "build")]
pub mod source;
#[cfg(feature = "build")]
pub mod store;
#[cfg(feature = "build")]
pub mod verify;
