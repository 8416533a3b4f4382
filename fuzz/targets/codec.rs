//! Any bytes as a datagram on the control socket: reading never panics, what was read can be written and
//! reads the same, and every request gets an answer that a client can read.

#![no_main]

use control::netlink::{Answer, Errno, Request, answered, expected, replies, requests, respond};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for frame in replies(data) {
        let _ = frame;
    }
    let mut acknowledgements = 0;
    for frame in requests(data) {
        let answer = match &frame.request {
            Ok(request) => {
                written_reads_the_same(request);
                Ok(if frame.header.is_dump() {
                    Answer::List(Vec::new())
                } else {
                    Answer::Done
                })
            }
            Err(errno) => Err(*errno),
        };
        for datagram in respond(&frame, 42, &answer) {
            acknowledgements += answered(&datagram);
            for reply in replies(&datagram) {
                reply.expect("our own answer can be read");
            }
        }
        let refused = respond(&frame, 42, &Err(Errno::EINVAL));
        assert!(
            refused
                .iter()
                .map(|datagram| answered(datagram))
                .sum::<usize>()
                >= 1
        );
    }
    assert!(
        acknowledgements >= expected(data),
        "a client would wait for ever"
    );
});

/// From the second time on: a name that is no UTF-8 is read as near as text comes to it.
fn written_reads_the_same(request: &Request) {
    let first = read(&request.encode(7, 42));
    let second = read(&first.encode(7, 42));
    assert_eq!(first, second);
}

/// The only request of our own datagram.
fn read(datagram: &[u8]) -> Request {
    let mut frames = requests(datagram);
    let frame = frames.next().expect("one request");
    assert!(frames.next().is_none());
    frame.request.expect("our own request can be read")
}
