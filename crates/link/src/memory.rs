//! A link in memory: two ends, what one sends the other receives. For tests, the lab and replay.
//!
//! Frames arrive in order, with offload and tag as they were sent; each end holds up to
//! [`CAPACITY`] frames not yet received, beyond that a sender is told the queue is full.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packet::Packet;

use crate::{
    BATCH, Entry, Frame, Link, LinkError, Opened, Outgoing, Receive, Statistics, Transmit,
    Transmitted,
};

/// This kind of link: a loopback of its own.
pub const ENTRY: Entry = Entry {
    name: "memory",
    summary: "A queue in memory: what is sent is received.",
    when: "For tests and the scheduler lab, which use both ends of a pair.",
    needs: "Nothing.",
    open: |_| {
        Ok(Opened {
            links: vec![loopback()],
            group: None,
            detail: None,
            unsteered: None,
        })
    },
};

/// Frames that one end holds at most.
pub const CAPACITY: usize = 4096;

type Queue = Arc<Mutex<VecDeque<Frame>>>;

/// Two ends joined by a wire.
#[must_use]
pub fn pair() -> (Link, Link) {
    let (left, right) = (Queue::default(), Queue::default());
    (link(&left, &right), link(&right, &left))
}

/// One end whose frames come back to itself.
#[must_use]
pub fn loopback() -> Link {
    let queue = Queue::default();
    link(&queue, &queue)
}

fn link(incoming: &Queue, outgoing: &Queue) -> Link {
    Link {
        receiver: Box::new(Receiver {
            queue: Arc::clone(incoming),
            batch: Vec::with_capacity(BATCH),
            received: 0,
        }),
        sender: Arc::new(Sender {
            queue: Arc::clone(outgoing),
        }),
    }
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<Frame>> {
    // Nothing that holds the lock can panic half-way through a change.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Receiver {
    queue: Queue,
    batch: Vec<Frame>,
    received: u64,
}

impl Receive for Receiver {
    fn receive<'a>(&'a mut self, batch: &mut Vec<Packet<'a>>) -> Result<usize, LinkError> {
        self.batch.clear();
        let mut queue = lock(&self.queue);
        let count = queue.len().min(BATCH);
        self.batch.extend(queue.drain(..count));
        drop(queue);
        batch.extend(self.batch.iter_mut().map(Frame::packet));
        self.received += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn statistics(&mut self) -> Statistics {
        Statistics {
            received: self.received,
            ..Statistics::default()
        }
    }
}

struct Sender {
    queue: Queue,
}

impl Transmit for Sender {
    fn transmit(&self, frames: &[Outgoing<'_>]) -> Transmitted {
        let mut result = Transmitted::default();
        let mut queue = lock(&self.queue);
        for frame in frames {
            if queue.len() == CAPACITY {
                result.refuse(libc::ENOBUFS, 1);
                continue;
            }
            queue.push_back(match frame {
                Outgoing::InPlace(packet) => Frame::from(packet),
                Outgoing::Owned(frame) => frame.clone(),
            });
            result.sent += 1;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use packet::Vlan;

    use super::*;

    #[test]
    fn what_one_end_sends_the_other_receives_in_order() {
        let (mut left, mut right) = pair();
        let mut frames: Vec<Outgoing<'_>> = (0..100_u8)
            .map(|octet| Frame::new(&[octet; 60], 14).into())
            .collect();
        if let Some(Outgoing::Owned(frame)) = frames.first_mut() {
            frame.vlan = Some(Vlan {
                tpid: 0x8100,
                tci: 9,
            });
        }
        assert_eq!(left.sender.transmit(&frames).sent, 100);

        let mut batch = Vec::new();
        assert_eq!(right.receiver.receive(&mut batch).expect("memory"), BATCH);
        assert_eq!(
            batch[0].vlan,
            Some(Vlan {
                tpid: 0x8100,
                tci: 9
            })
        );
        assert_eq!(batch[63].bytes(), [63; 60]);
        // What came in goes back out without a copy in between.
        let back: Vec<Outgoing<'_>> = batch.into_iter().map(Outgoing::from).collect();
        assert_eq!(right.sender.transmit(&back).sent, BATCH);
        drop(back);
        let mut batch = Vec::new();
        assert_eq!(right.receiver.receive(&mut batch).expect("memory"), 36);
        drop(batch);
        assert_eq!(right.receiver.statistics().received, 100);
        let mut batch = Vec::new();
        assert_eq!(left.receiver.receive(&mut batch).expect("memory"), 64);
    }

    #[test]
    fn a_full_queue_is_said() {
        let link = loopback();
        let frames: Vec<Outgoing<'_>> = (0..=CAPACITY)
            .map(|_| Frame::new(&[0; 60], 14).into())
            .collect();
        let result = link.sender.transmit(&frames);
        assert_eq!(
            (result.sent, result.queue_full, result.failed()),
            (CAPACITY, 1, 1)
        );
        assert_eq!(result.last_errno, Some(libc::ENOBUFS));
    }
}
