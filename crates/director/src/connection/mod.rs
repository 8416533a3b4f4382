//! The connection table of one worker.
