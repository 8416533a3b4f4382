//! NAT: the destination becomes the real server; its replies come back through the director (`reply.rs`).

use packet::Translation;

use super::{Entry, Passage};
use crate::destination::Method;
use crate::director::Worker;
use crate::verdict::Verdict;

/// NAT.
pub(super) const METHOD: Entry = Entry {
    method: Method::Masq,
    option: Some("-m"),
    name: "Masq",
    summary: "NAT: addresses and ports are translated both ways",
    send,
};

fn send(worker: &mut Worker, passage: Passage<'_, '_, '_, '_>) -> Verdict {
    let destination = Some((passage.target.address, passage.target.port));
    worker.route_on(
        passage,
        Translation {
            source: None,
            destination,
        },
    )
}
