//! A flow is the director's until it is taken over.

use std::sync::Arc;
use std::time::Duration;

use crate::assist::{UDP, bench, frame, translations};

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
