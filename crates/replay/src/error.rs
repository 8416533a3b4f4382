//! Why nothing could be replayed, as a sentence.

use link::LinkError;

/// One sentence: which file, which line, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReplayError(String);

impl ReplayError {
    /// The error that says this.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl From<LinkError> for ReplayError {
    fn from(error: LinkError) -> Self {
        // Of files alone here, not of interfaces.
        Self(format!(
            "cannot {} {}: {}",
            error.operation, error.interface, error.source
        ))
    }
}
