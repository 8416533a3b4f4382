//! Desired state: IPVS netlink codec, command semantics, configuration file, saved state.
