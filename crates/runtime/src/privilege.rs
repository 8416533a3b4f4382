//! Giving up what is no longer needed.

/// Takes every capability from the calling thread.
///
/// # Errors
/// The system's refusal, as text.
pub fn drop_all_of_this_thread() -> std::result::Result<(), String> {
    for set in [
        caps::CapSet::Ambient,
        caps::CapSet::Inheritable,
        caps::CapSet::Effective,
        caps::CapSet::Permitted,
    ] {
        caps::clear(None, set).map_err(|error| error.to_string())?;
    }
    Ok(())
}
