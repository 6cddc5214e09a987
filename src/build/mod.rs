//! Sources to artifacts: one file per artifact, and the file tree that they share.

pub mod agent;
pub mod codec;
mod globs;
pub mod initrd;
pub mod inputs;
pub mod materialise;
pub mod prebuilt;
pub mod tree;
pub mod unpack;
