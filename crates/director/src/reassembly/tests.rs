//! Fragments that are whole, broken, tiny, and too many.

use super::*;

/// Takes in a fragment of eight octets.
fn add(reassembly: &mut Reassembly, v6: bool, id: u16, eighth: u16, more: bool) -> Progress {
    let mut bytes = if v6 {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 16, 44, 64];
        bytes.extend([0xfd; 32]);
        bytes.extend([17, 0]);
        bytes.extend((eighth << 3 | u16::from(more)).to_be_bytes());
        bytes.extend(u32::from(id).to_be_bytes());
        bytes
    } else {
        let [high, low] = id.to_be_bytes();
        let [flags, offset] = (u16::from(more) << 13 | eighth).to_be_bytes();
        let mut bytes = vec![0x45, 0, 0, 28, high, low, flags, offset, 64, 17, 0, 0];
        bytes.extend([10; 8]);
        let checksum = packet::checksum::Sum::of(&bytes).finish();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes
    };
    bytes.extend([7; 8]);
    let whole = bytes.len();
    let packet = Packet::new(&mut bytes, 0..whole, 0);
    let headers = Headers::parse(&packet).unwrap();
    let fragment = headers.fragment.unwrap();
    let mut frame = Frame::InPlace(packet);
    reassembly.add(Instant::START, 0, &mut frame, &headers, fragment)
}

fn after(seconds: u64) -> Instant {
    Instant::START.after(Duration::from_secs(seconds))
}

#[test]
fn finished_and_broken_datagrams_leave_nothing_behind() {
    let mut reassembly = Reassembly::default();
    for id in 0..1000 {
        assert!(matches!(
            add(&mut reassembly, false, id, 0, true),
            Progress::Incomplete
        ));
        assert!(matches!(
            add(&mut reassembly, false, id, 1, false),
            Progress::Complete(_)
        ));
        let _ = add(&mut reassembly, true, id, 0, true);
        let _ = add(&mut reassembly, true, id, 1, false);
        assert!(matches!(
            add(&mut reassembly, true, id, 8190, true),
            Progress::Incomplete
        ));
        assert!(matches!(
            add(&mut reassembly, true, id, 8191, true),
            Progress::Invalid
        ));
    }
    let places: usize = reassembly.order.iter().map(VecDeque::len).sum();
    assert!(places <= 2 * (LEFT_OVER_MAX + 1), "{places} places");
    assert!(reassembly.incomplete.is_empty());
    assert_eq!(reassembly.octets, 0);
}

#[test]
fn tiny_fragments_take_up_what_they_take_up() {
    let mut reassembly = Reassembly::default();
    for id in 0..30_000 {
        let _ = add(&mut reassembly, id % 2 == 0, id, 1, true);
    }
    assert!(reassembly.octets <= OCTETS_MAX);
    let kept = reassembly.incomplete.len();
    assert!(kept <= OCTETS_MAX / DATAGRAM_OVERHEAD, "{kept} datagrams");
    let given_up = usize::try_from(reassembly.take_kept().dropped).unwrap();
    assert_eq!(given_up, 30_000 - kept, "the others are counted");
    assert!(matches!(
        add(&mut reassembly, false, 29_999, 0, true),
        Progress::Incomplete
    ));
    let progress = add(&mut reassembly, false, 29_999, 2, false);
    assert!(
        matches!(progress, Progress::Complete(_)),
        "the newest are kept"
    );
}

#[test]
fn ipv4_does_not_wait_for_ipv6() {
    let mut reassembly = Reassembly::default();
    let _ = add(&mut reassembly, true, 1, 0, true);
    let _ = add(&mut reassembly, false, 1, 0, true);
    // One without a first fragment counts, but nobody is told.
    let _ = add(&mut reassembly, false, 2, 1, true);
    assert_eq!(reassembly.next_deadline(), Some(after(30)));
    assert_eq!(reassembly.expire(after(30)).len(), 1);
    assert_eq!(reassembly.take_kept().dropped, 2);
    assert_eq!(reassembly.next_deadline(), Some(after(60)));
    assert_eq!(reassembly.expire(after(60)).len(), 1);
    assert_eq!(reassembly.next_deadline(), None);
}
