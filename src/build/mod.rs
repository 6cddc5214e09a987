//! Sources to artifacts: one file per artifact, and the file tree that they share.

pub mod agent;
pub mod codec;
mod globs;
pub mod materialise;
pub mod tree;
pub mod unpack;
