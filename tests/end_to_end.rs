//! The director on real networks: unmodified clients and servers in network namespaces, frames on real
//! (virtual) cables, and in a real container. Needs root and the programs `scripts/test` installs;
//! `scripts/test` also builds the release binary these tests should drive (`ULVS_BIN`).

mod harness;
mod scenarios;
#[allow(dead_code, reason = "scripts/soak runs the others")]
mod soak;
mod tutorials;
