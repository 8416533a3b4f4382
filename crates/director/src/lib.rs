//! The decision core.
#![forbid(unsafe_code)]
