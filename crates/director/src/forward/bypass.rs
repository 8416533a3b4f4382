//! Bypass: the packet goes on to its original destination (transparent caches, `cache_bypass`).

use packet::Translation;

use super::{Entry, Passage};
use crate::destination::Method;
use crate::director::Worker;
use crate::verdict::Verdict;

/// Bypass.
pub(super) const METHOD: Entry = Entry {
    method: Method::Bypass,
    option: None,
    name: "Bypass",
    summary: "to its original destination, when no cache may take it",
    send,
};

fn send(worker: &mut Worker, passage: Passage<'_, '_, '_, '_>) -> Verdict {
    worker.route_on(passage, Translation::default())
}
