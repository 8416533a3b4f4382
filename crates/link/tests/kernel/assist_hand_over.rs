//! A flow is the director's until it is taken over.

use std::sync::Arc;
use std::time::Duration;

use link::{Frame, Outgoing};

use crate::af_packet::collect;
use crate::assist::{Bench, UDP, bench, frame, translations};

#[test]
fn packets_are_the_directors_until_the_flow_is_taken_over() {
    let mut bench = bench();
    let flows = Arc::clone(bench.assist.flows());
    for family in [0, 1] {
        let flow = bench.flow(family, UDP, translations(family)[1]);
        let id = flows.install(&flow, flows.generation()).expect("room");
        assert_eq!(flows.arrived(&id), None, "no packet yet");
        let bytes = frame(family, UDP, b"data");
        for arrived in 1..4 {
            assert_eq!(bench.send(&bytes), (vec![], vec![bytes.clone()]));
            assert_eq!(flows.arrived(&id), Some(arrived));
        }
        // One that is judged in any case does not count.
        let mut judged = bytes.clone();
        judged[5] = 9;
        assert_eq!(bench.send(&judged).1.len(), 1);
        assert!(!flows.take_over(&id, 2), "a third came");
        assert_eq!(bench.send(&bytes).1.len(), 1);
        assert!(!flows.take_over(&id, 3), "a fourth came");
        assert!(flows.take_over(&id, 4));
        assert!(!flows.take_over(&id, 4), "it is");
        for _ in 0..3 {
            assert_eq!(bench.send(&bytes).0.len(), 1);
        }
        assert_eq!(flows.remove(&id).packets, 3);
        // An entry that is used again begins anew.
        std::thread::sleep(Duration::from_millis(30));
        let newest = id.number();
        let id = flows.install(&flow, flows.generation()).expect("room");
        assert!(id.number() <= newest, "not a fresh one");
        assert_eq!(bench.send(&bytes).1.len(), 1);
        assert_eq!(flows.arrived(&id), Some(1));
        flows.remove(&id);
    }
}

#[test]
fn a_ring_tells_what_it_was_given_and_what_was_taken_out() {
    let mut bench = bench();
    let bytes = frame(0, UDP, b"data");
    assert_eq!(bench.send(&bytes).1.len(), 1);
    let taken = bench.director.receiver.taken();
    let send = |bench: &mut Bench| {
        let frame = Outgoing::Owned(Frame::new(&bytes, 14));
        assert_eq!(bench.client.sender.transmit(&[frame]).sent, 1);
    };
    for _ in 0..5 {
        send(&mut bench);
    }
    // What hosts say to their IPv6 neighbours by themselves may come, too.
    let arrived = bench.director.receiver.arrived().expect("a ring");
    assert!(arrived >= taken + 5, "{arrived} arrived, {taken} taken");
    // Statistics are from the same count.
    assert_eq!(bench.director.receiver.statistics().overrun, 0);
    assert!(bench.director.receiver.arrived() >= Some(arrived));
    assert_eq!(bench.director.receiver.taken(), taken);
    collect(&mut *bench.director.receiver, 5, |_| true);
    assert!(bench.director.receiver.taken() >= taken + 5);
    // Frames for which there is no room did not arrive.
    for _ in 0..5000 {
        send(&mut bench);
    }
    let dropped = bench.director.receiver.statistics().overrun;
    assert!(
        dropped > 800,
        "{dropped} of 5000 did not fit into 4096 slots"
    );
    // Other frames may still come.
    let director = &mut *bench.director.receiver;
    let caught_up = (0..1000).any(|_| {
        let mut batch = Vec::new();
        director.receive(&mut batch).expect("receive");
        director.arrived() == Some(director.taken())
    });
    assert!(caught_up, "{:?}, {}", director.arrived(), director.taken());
}
