//! The one error of the daemon: a sentence that names the thing, the value and what to do.

use std::io;

/// Why the daemon cannot start or go on. Its text is what the operator reads.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The system refused an operation; the text names the operation and the thing it was done to.
    #[error("{operation}: {source}")]
    System {
        /// What was tried, with the interface, path or address.
        operation: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The operator asked for what cannot be; one sentence with the value and what to do.
    #[error("{0}")]
    Refused(String),
}

impl RuntimeError {
    /// Wraps the system's refusal of `operation`.
    pub fn system(operation: impl Into<String>, source: io::Error) -> Self {
        Self::System {
            operation: operation.into(),
            source,
        }
    }
}

/// Result with the daemon's error.
pub type Result<T> = std::result::Result<T, RuntimeError>;
