//! Counters and rate estimators of services and real servers.

/// Counters of one service or real server.
#[derive(Debug, Default)]
pub struct Stats {}
