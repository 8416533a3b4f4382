//! The guard as a BPF program on the TCX ingress hook, which looks its rules up in [`Flows`].

use std::io;

use super::{Flows, tcx_program};
use crate::LinkError;
use crate::sys::bpf::{Attachment, Hook, Kind, Program};
use crate::sys::interface;

/// A loaded program and where it is attached.
#[derive(Debug)]
pub(super) struct Tcx {
    program: Program,
    attachments: Vec<(String, Attachment)>,
}

pub(super) fn failed<'a>(
    operation: &'static str,
    interface: &'a str,
) -> impl Fn(io::Error) -> LinkError + 'a {
    move |source| {
        let error = LinkError::new(operation, interface, source);
        error.needs("CAP_NET_ADMIN and CAP_BPF")
    }
}

impl Tcx {
    /// Attaches a program that drops the packets of `flows`.
    pub(super) fn attach(interfaces: &[&str], flows: &Flows) -> Result<Self, LinkError> {
        let all = interfaces.join(", ");
        let program = Program::load(Kind::TrafficControl, &tcx_program::build(flows.number()))
            .map_err(failed("load the guard's BPF program", &all))?;
        let mut guard = Self {
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
            let attachment = self
                .program
                .attach(index, Hook::TcxIngress)
                .map_err(failed("attach the guard's BPF program", name))?;
            self.attachments.push(((*name).to_owned(), attachment));
        }
        Ok(())
    }
}
