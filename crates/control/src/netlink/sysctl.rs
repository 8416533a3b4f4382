//! Settings on the wire: ulvs's own SYSCTL nest, for what the kernel tells only by `/proc/sys/net/ipv4/vs`.

use super::Errno;
use super::attribute::{Attributes, Writer, string};

/// Longest name and value, octets.
const TEXT_MAX: usize = 63;
/// Longest note, octets.
const NOTE_MAX: usize = 255;

const NAME: u16 = 1;
const VALUE: u16 = 2;
const NOTE: u16 = 3;

/// A `net.ipv4.vs.*` setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name, without `net.ipv4.vs.` in replies, with or without it in requests.
    pub name: String,
    /// Value as `sysctl -n` prints it.
    pub value: String,
    /// A sentence when the setting has no effect here; never in requests.
    pub note: Option<String>,
}

impl Setting {
    pub(super) fn encode(&self, nest: &mut Writer) {
        nest.put_string(NAME, &self.name, TEXT_MAX);
        nest.put_string(VALUE, &self.value, TEXT_MAX);
        if let Some(note) = &self.note {
            nest.put_string(NOTE, note, NOTE_MAX);
        }
    }

    pub(super) fn decode(nest: &[u8]) -> Result<Self, Errno> {
        let (mut name, mut value, mut note) = (None, None, None);
        for (kind, octets) in Attributes::new(nest) {
            match kind {
                NAME => name = Some(string(octets, TEXT_MAX)?),
                VALUE => value = Some(string(octets, TEXT_MAX)?),
                NOTE => note = Some(string(octets, NOTE_MAX)?),
                _ => {}
            }
        }
        Ok(Self {
            name: name.ok_or(Errno::EINVAL)?,
            value: value.ok_or(Errno::EINVAL)?,
            note,
        })
    }
}
