//! Sources to artifacts: one file per artifact, and the file tree that they share.

pub mod action;
pub mod agent;
pub mod artifacts;
pub mod cargo;
mod changes;
pub mod codec;
pub mod compiled;
pub mod firmware;
mod globs;
pub mod initrd;
pub mod inputs;
pub mod kernel;
pub mod layers;
pub mod local;
pub mod materialise;
pub mod packed;
pub mod prebuilt;
pub mod reapi;
pub mod root;
mod scratch;
pub mod setup;
pub mod step;
pub mod tools;
pub mod tree;
pub mod unpack;
pub mod variation;
