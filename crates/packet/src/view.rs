//! Headers as tables of fields: a view over a fixed number of octets, every field at an offset that
//! the compiler has checked, so that no getter and no setter can fail.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::ethernet::Mac;

/// A value that stands in `WIDTH` octets of a header, in network order.
pub trait Field<const WIDTH: usize>: Sized {
    /// The value that the octets stand for.
    fn from_octets(octets: [u8; WIDTH]) -> Self;
    /// The octets that stand for the value.
    fn to_octets(self) -> [u8; WIDTH];
}

macro_rules! integer_field {
    ($($kind:ty, $width:literal;)*) => {$(
        impl Field<$width> for $kind {
            #[inline]
            fn from_octets(octets: [u8; $width]) -> Self {
                Self::from_be_bytes(octets)
            }
            #[inline]
            fn to_octets(self) -> [u8; $width] {
                self.to_be_bytes()
            }
        }
    )*};
}
integer_field! { u8, 1; u16, 2; u32, 4; }

impl Field<4> for Ipv4Addr {
    #[inline]
    fn from_octets(octets: [u8; 4]) -> Self {
        Self::from(octets)
    }
    #[inline]
    fn to_octets(self) -> [u8; 4] {
        self.octets()
    }
}

impl Field<16> for Ipv6Addr {
    #[inline]
    fn from_octets(octets: [u8; 16]) -> Self {
        Self::from(octets)
    }
    #[inline]
    fn to_octets(self) -> [u8; 16] {
        self.octets()
    }
}

impl Field<6> for Mac {
    #[inline]
    fn from_octets(octets: [u8; 6]) -> Self {
        Self(octets)
    }
    #[inline]
    fn to_octets(self) -> [u8; 6] {
        self.0
    }
}

/// Reads the field at `AT`; a field that does not lie inside the header does not compile.
#[inline]
pub(crate) fn get<F: Field<W>, const AT: usize, const W: usize, const N: usize>(
    header: &[u8; N],
) -> F {
    const { assert!(AT + W <= N) };
    let mut octets = [0; W];
    octets.copy_from_slice(&header[AT..AT + W]);
    F::from_octets(octets)
}

/// Writes the field at `AT`; a field that does not lie inside the header does not compile.
#[inline]
pub(crate) fn set<F: Field<W>, const AT: usize, const W: usize, const N: usize>(
    header: &mut [u8; N],
    value: F,
) {
    const { assert!(AT + W <= N) };
    header[AT..AT + W].copy_from_slice(&value.to_octets());
}

/// Declares a view: its name, its octets, and per field the getter, the setter, the type and the
/// offset in octets.
macro_rules! header {
    (
        $(#[$meta:meta])*
        $name:ident, $len:literal {
            $($(#[$doc:meta])* $get:ident, $set:ident: $kind:ty = $at:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<B>(B);

        impl $name<()> {
            #[doc = concat!("Octets of the fixed header: ", stringify!($len), ".")]
            pub const LEN: usize = $len;
        }

        impl<'a> $name<&'a [u8; $len]> {
            /// A view of the header at the start of `bytes`; `None` when they are too few.
            #[inline]
            #[must_use]
            pub fn of(bytes: &'a [u8]) -> Option<Self> {
                bytes.first_chunk().map(Self)
            }
        }

        impl<'a> $name<&'a mut [u8; $len]> {
            /// A view to be written to; `None` when the octets are too few.
            #[inline]
            #[must_use]
            pub fn of_mut(bytes: &'a mut [u8]) -> Option<Self> {
                bytes.first_chunk_mut().map(Self)
            }

            $(
                #[doc = concat!("Writes [`Self::", stringify!($get), "`].")]
                #[inline]
                pub fn $set(&mut self, value: $kind) {
                    $crate::view::set::<$kind, $at, _, $len>(self.0, value);
                }
            )*
        }

        impl<B: core::borrow::Borrow<[u8; $len]>> $name<B> {
            $(
                $(#[$doc])*
                #[inline]
                #[must_use]
                pub fn $get(&self) -> $kind {
                    $crate::view::get::<$kind, $at, _, $len>(self.0.borrow())
                }
            )*
        }
    };
}
pub(crate) use header;

/// Two octets at `at`, network order; `None` beyond the end.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|octets| u16::from_be_bytes(*octets))
}

/// Writes `octets` at `at`; `None`, and nothing written, beyond the end.
#[inline]
#[must_use]
pub(crate) fn put<const W: usize>(bytes: &mut [u8], at: usize, octets: [u8; W]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = octets;
    Some(())
}

/// The lower 16 bits.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower 16 bits are what is asked for"
)]
pub(crate) const fn low16(value: u64) -> u16 {
    value as u16
}
