//! Direct routing: the packet stays as it is, only its link header is the real server's.

use packet::Translation;

use super::{Entry, Passage};
use crate::destination::Method;
use crate::director::Worker;
use crate::verdict::Verdict;

/// Direct routing.
pub(super) const METHOD: Entry = Entry {
    method: Method::DirectRoute,
    option: Some("-g"),
    name: "Route",
    summary: "direct routing: only the link-layer destination changes",
    send,
};

fn send(worker: &mut Worker, passage: Passage<'_, '_, '_, '_>) -> Verdict {
    worker.route_on(passage, Translation::default())
}
