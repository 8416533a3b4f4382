//! What the control thread asks the workers, which answer between two batches.

use std::time::Duration;

use control::listing;
use control::netlink::ConnectionEntry;
use crossbeam::channel;
use director::connection::Cursor;
use director::director::Director;

use crate::worker::{Handle, Order, Report};

/// Places of a connection table that a worker looks at in one go: some 100 microseconds.
const LIST_PIECE: u32 = 1024;
/// Longest wait for a worker's answer; it takes a batch's time in fact.
const PATIENCE: Duration = Duration::from_secs(5);

/// The connections of all workers, asked for in pieces so that no worker stops for long.
pub(super) fn connections(
    workers: &[Handle],
    now: director::time::Instant,
) -> Vec<ConnectionEntry> {
    let mut entries = Vec::new();
    for worker in workers {
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let answer = ask(worker, move |director| {
                let mut piece = Vec::new();
                let table = director.connections();
                let show = |_, connection: &_| piece.push(listing::connection(connection, now));
                let next = table.list(from, LIST_PIECE, show);
                (piece, next)
            });
            let Some((piece, next)) = answer else {
                break;
            };
            entries.extend(piece);
            cursor = next;
        }
    }
    entries
}

/// What every worker counted.
pub(super) fn reports(workers: &[Handle]) -> Vec<Report> {
    let report = |worker: &Handle| {
        let (sender, receiver) = channel::bounded(1);
        worker.order(Order::Report(sender));
        receiver.recv_timeout(PATIENCE).ok()
    };
    workers.iter().filter_map(report).collect()
}

/// Lets a worker work out something between two batches; `None` when it does not answer.
pub(super) fn ask<T: Send + 'static>(
    worker: &Handle,
    question: impl FnOnce(&mut Director) -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = channel::bounded(1);
    worker.order(Order::Run(Box::new(move |director, _| {
        // If nobody waits any more, the answer came too late.
        let _ = sender.send(question(director));
    })));
    receiver.recv_timeout(PATIENCE).ok()
}
