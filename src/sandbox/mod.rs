//! The only place that starts a process.
//!
//! [`host`] runs tools of the host (an emulator, a peer to compare with): they never shape a
//! measured bit.

pub mod host;
