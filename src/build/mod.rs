//! Sources to artifacts: one file per artifact, and the file tree that they share.

pub mod agent;
