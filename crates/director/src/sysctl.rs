//! The `net.ipv4.vs.*` settings.
