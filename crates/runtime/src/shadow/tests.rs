//! Shadows of real directors.
