//! Values that check themselves while the file is read, so that a fault knows its line.

use core::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Longest interface name, octets.
const INTERFACE_MAX: usize = 15;
/// Longest path of a Unix socket, octets.
const SOCKET_PATH_MAX: usize = 107;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// For defaults; what is out of bounds does not compile.
    pub(super) const fn new<const VALUE: u32>() -> Self {
        const { assert!(MIN <= VALUE && VALUE <= MAX) };
        Self(VALUE)
    }
}

/// The value as the rest of the program wants it.
pub(super) trait Get<T> {
    fn get(self) -> T;
}

impl<const MIN: u32, const MAX: u32> Get<u32> for Bounded<MIN, MAX> {
    fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> Get<usize> for Bounded<MIN, MAX> {
    fn get(self) -> usize {
        // usize has at least 32 bits wherever this runs; were it not so, the most there is.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Between<const MIN: u32, const MAX: u32>;

        impl<const MIN: u32, const MAX: u32> Visitor<'_> for Between<MIN, MAX> {
            type Value = Bounded<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                match u32::try_from(value) {
                    Ok(number) if (MIN..=MAX).contains(&number) => Ok(Bounded(number)),
                    _ => Err(E::invalid_value(Unexpected::Signed(value), &self)),
                }
            }
        }

        deserializer.deserialize_i64(Between)
    }
}

/// Name of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct InterfaceName(String);

impl From<InterfaceName> for String {
    fn from(value: InterfaceName) -> Self {
        value.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let allowed = |letter: char| !letter.is_whitespace() && letter != '/';
        if (1..=INTERFACE_MAX).contains(&name.len()) && name.chars().all(allowed) {
            Ok(Self(name))
        } else {
            Err("an interface's name has 1 to 15 letters, no slash and no space among them")
        }
    }
}

/// Path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PathBuf")]
pub(super) struct SocketPath(PathBuf);

impl From<SocketPath> for PathBuf {
    fn from(value: SocketPath) -> Self {
        value.0
    }
}

impl SocketPath {
    /// For the default, which is short.
    pub(super) fn new(path: &str) -> Self {
        Self(path.into())
    }
}

impl TryFrom<PathBuf> for SocketPath {
    type Error = &'static str;

    fn try_from(path: PathBuf) -> Result<Self, Self::Error> {
        if (1..=SOCKET_PATH_MAX).contains(&path.as_os_str().len()) {
            Ok(Self(path))
        } else {
            Err("a socket's path has 1 to 107 octets")
        }
    }
}

/// Permission bits that leave others out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Mode(u32);

impl From<Mode> for u32 {
    fn from(value: Mode) -> Self {
        value.0
    }
}

impl Mode {
    /// Read and write for owner and group.
    pub(super) const DEFAULT: Self = Self(0o660);
}

impl TryFrom<i64> for Mode {
    type Error = &'static str;

    fn try_from(mode: i64) -> Result<Self, Self::Error> {
        match u32::try_from(mode) {
            Ok(bits) if bits & !0o770 == 0 && bits & 0o600 == 0o600 => Ok(Self(bits)),
            _ => {
                Err("the control socket is for its owner and group only: 0o600 or 0o660, in octal")
            }
        }
    }
}
