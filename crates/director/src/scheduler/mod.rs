//! The schedulers: one file each, one list.
