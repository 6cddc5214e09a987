//! Two computations that need nothing of each other: at the same time where the feature `build` has
//! threads, one after the other else. What comes out is the same.

#[cfg(feature = "build")]
pub(super) use rayon::join as both;

#[cfg(not(feature = "build"))]
pub(super) fn both<A, B>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    (first(), second())
}
