//! The guard as a BPF program on the TCX ingress hook, its rules in a hash map.

use std::io;

use super::{Entry, tcx_program};
use crate::LinkError;
use crate::sys::bpf::{Attachment, HashMap, Program};
use crate::sys::interface;

/// Entries at most; memory is taken as they come.
const ENTRIES: u32 = 1 << 18;
/// A map value is not read, it must only be there.
const VALUE: [u8; 8] = [0; 8];

/// A loaded program and where it is attached.
#[derive(Debug)]
pub(super) struct Tcx {
    map: HashMap<{ tcx_program::KEY }, 8>,
    program: Program,
    attachments: Vec<(String, Attachment)>,
}

fn failed<'a>(operation: &'static str, interface: &'a str) -> impl Fn(io::Error) -> LinkError + 'a {
    move |source| {
        let error = LinkError::new(operation, interface, source);
        error.needs("CAP_NET_ADMIN and CAP_BPF")
    }
}

impl Tcx {
    pub(super) fn attach(interfaces: &[&str]) -> Result<Self, LinkError> {
        let all = interfaces.join(", ");
        let map = HashMap::new(ENTRIES).map_err(failed("make a BPF map for the guard", &all))?;
        let program = Program::load(&tcx_program::build(map.number()))
            .map_err(failed("load the guard's BPF program", &all))?;
        let mut guard = Self {
            map,
            program,
            attachments: Vec::new(),
        };
        guard.reattach(interfaces)?;
        Ok(guard)
    }

    pub(super) fn reattach(&mut self, interfaces: &[&str]) -> Result<(), LinkError> {
        self.attachments.retain(|(name, attachment)| {
            let at = attachment.interface().ok();
            interfaces.contains(&name.as_str()) && at.is_some() && at == interface::index(name).ok()
        });
        for name in interfaces {
            if self
                .attachments
                .iter()
                .any(|(attached, _)| attached == name)
            {
                continue;
            }
            let index = interface::index(name).map_err(failed("look up the interface", name))?;
            let attachment = self.program.attach(index).map_err(|source| {
                // Linux before 6.6 does not know the hook.
                let source = match source.raw_os_error() {
                    Some(libc::EINVAL) => io::Error::other("needs Linux 6.6"),
                    _ => source,
                };
                failed("attach the guard's BPF program", name)(source)
            })?;
            self.attachments.push(((*name).to_owned(), attachment));
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, entries: &[Entry]) -> Result<(), LinkError> {
        let changed = entries
            .iter()
            .try_for_each(|entry| self.map.insert(key(entry), VALUE));
        changed.map_err(failed("change the guard's BPF map", "all interfaces"))
    }

    pub(super) fn remove(&mut self, entries: &[Entry]) -> Result<(), LinkError> {
        let changed = entries
            .iter()
            .try_for_each(|entry| self.map.remove(key(entry)));
        changed.map_err(failed("change the guard's BPF map", "all interfaces"))
    }
}

/// The entry as the program looks it up.
fn key(entry: &Entry) -> [u8; tcx_program::KEY] {
    let mut key = [0; tcx_program::KEY];
    let (address, rest) = key.split_at_mut(16);
    address.copy_from_slice(&entry.address.octets());
    let [port0, port1] = entry.port.to_be_bytes();
    rest.copy_from_slice(&[port0, port1, entry.protocol, tcx_program::role(entry.role)]);
    key
}
