//! Giving up what is no longer needed.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};

use crate::error::{Result, RuntimeError};

/// Takes every capability from the calling thread, for good.
///
/// # Errors
/// The system's refusal.
pub fn drop_all_of_this_thread() -> Result<()> {
    keep(&[])
}

/// Takes every capability but those in `wanted` from the calling thread; those it has of them it keeps effective.
/// capset(2) is per thread: threads started later inherit, threads that run already do not.
///
/// # Errors
/// The system's refusal.
pub fn keep(wanted: &[Capability]) -> Result<()> {
    let failed = |error: caps::errors::CapsError| {
        RuntimeError::system(
            "cannot give up capabilities",
            io::Error::other(error.to_string()),
        )
    };
    let had = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = wanted
        .iter()
        .copied()
        .filter(|one| had.contains(one))
        .collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(failed)?;
    }
    // Effective before permitted: it must stay a subset.
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)
}

/// Whether the calling thread may use `capability`.
#[must_use]
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}
