//! Packages of Debian archives: signed releases, their indices, and what depends on what.

pub mod archive;
pub mod control;
pub mod date;
pub mod keyring;
pub mod packages;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod signature;
pub mod sources;
pub mod universe;
