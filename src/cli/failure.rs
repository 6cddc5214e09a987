//! Why a verb could not do its work: a kind, a chain of errors, and hints on what to do.

use std::fmt;

/// What sort of failure; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// An input, or the world around us, is not as it must be.
    Input,
    /// Something is not what it was promised to be.
    Mismatch,
    /// A defect of guestsmith.
    Internal,
}

impl Kind {
    /// Exit code: 1 for «no», 2 for «could not tell».
    pub fn exit(self) -> u8 {
        match self {
            Self::Mismatch => 1,
            Self::Usage | Self::Input | Self::Internal => 2,
        }
    }
}

/// A failure of a verb, printed once, as a chain.
#[derive(Debug)]
pub struct Failure {
    /// What sort.
    pub kind: Kind,
    /// The chain, outermost first.
    pub error: anyhow::Error,
    /// What to do about it, one sentence each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A wrong command line.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Usage, error: error.into(), hints: Vec::new() }
    }

    /// An input or an environment that is not as it must be.
    pub fn input(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Input, error: error.into(), hints: Vec::new() }
    }

    /// Something that is not what it was promised to be.
    pub fn mismatch(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Mismatch, error: error.into(), hints: Vec::new() }
    }

    /// A defect of guestsmith.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        let hints = vec!["this is a defect of guestsmith: please report it".to_string()];
        Self { kind: Kind::Internal, error: error.into(), hints }
    }

    /// The same failure with one hint more.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Below the purity line an error is one of the world, until somebody says otherwise.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::input(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        self.error.chain().skip(1).try_for_each(|cause| write!(f, "\n  because: {cause}"))?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn a_chain_with_hints() {
        let error = Err::<(), _>(anyhow!("connection refused")).context("cannot fetch busybox");
        let failure = Failure::from(error.unwrap_err()).hint("try another --mirror");
        assert_eq!(
            failure.to_string(),
            "cannot fetch busybox\n  because: connection refused\n  hint: try another --mirror"
        );
        assert_eq!(failure.kind.exit(), 2);
        assert_eq!(Failure::mismatch(anyhow!("digests differ")).kind.exit(), 1);
    }
}
