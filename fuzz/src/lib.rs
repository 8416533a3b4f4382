//! What the fuzz targets share: a random host, packets that mean something on it, and what must hold for every
//! frame that leaves.

pub mod bytes;
pub mod check;
pub mod command;
pub mod follow;
pub mod host;
pub mod shape;
pub mod told;
pub mod wire;
