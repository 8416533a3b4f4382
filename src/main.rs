//! The `ulvs` binary: one file, many names.

fn main() {}
