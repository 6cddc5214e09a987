//! Digests → reference values, in every form that a verifier reads.
//!
//! One canonical [`Document`] holds what a build is expected to report; every other form is emitted
//! from it ([`EMITTERS`]). Nothing here looks at a file or a clock: the only time is the recipe's epoch.

mod cbor;
mod cca;
mod cca_corim;
pub mod compare;
mod configmap;
mod corim;
pub mod cose;
mod cyclonedx;
mod document;
pub mod dsse;
mod emitter;
pub mod firmware;
mod html;
mod intoto;
mod json;
mod launch;
pub mod names;
mod policy;
mod purl;
mod replay;
pub mod rvps;
mod spdx;
mod table;
mod unique;
mod uuid;

pub use corim::values as corim_values;
pub use document::*;
pub use emitter::{EMITTERS, Emitted, Emitter, Settings, emitter};
pub use json::schema;
pub use unique::values as platform_values;

/// Why there are no reference values, or not in the form that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no canonical document.
    #[error("not a document of reference values: {0}")]
    Text(String),
    /// The document comes from a later guestsmith.
    #[error("the document has version {found}, this guestsmith reads up to {known}")]
    Version {
        /// Version in the document.
        found: u32,
        /// The last one that is understood.
        known: u32,
    },
    /// A value is not what its place asks for.
    #[error("{what}: expected {expected}, found {found}")]
    Value {
        /// Where the value stands.
        what: String,
        /// What the place asks for.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Nothing to publish: a verifier would refuse everything, or a careless policy accept it.
    #[error("no {what}: {why}")]
    Empty {
        /// What is missing.
        what: String,
        /// Why it is needed.
        why: String,
    },
    /// Two values for one thing, which would let parts of two builds be combined.
    #[error("{what} is both {first} and {second}: {why}")]
    Conflict {
        /// What has two values.
        what: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// Why only one can stand.
        why: &'static str,
    },
}

/// Result of this layer.
pub type Result<T> = core::result::Result<T, Error>;

#[cfg(test)]
mod tests;
