//! Files written and read back, both byte orders, and files that are broken.

use super::*;

fn tagged() -> (Vec<u8>, Vlan) {
    (
        [&[1; 12][..], &[8, 0], &[5; 46]].concat(),
        Vlan {
            tpid: 0x8100,
            tci: 0x2001,
        },
    )
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.pcap");
    let (bytes, vlan) = tagged();
    let time = Duration::new(1_700_000_000, 123_456_789);
    let mut writer = Writer::create(&path, LinkType::Ethernet).expect("create");
    writer.write(time, &bytes, Some(vlan)).expect("write");
    writer
        .write(time + Duration::from_nanos(1), &bytes, None)
        .expect("write");
    writer
        .write(time, &[9; 7], Some(vlan))
        .expect("a frame without room for a tag");
    writer
        .write(time, &[3; 65_600], None)
        .expect("a super-frame");
    drop(writer);

    let mut reader = Reader::open(&path).expect("open");
    assert_eq!(reader.link_type(), LinkType::Ethernet);
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().expect("read") {
        records.push(record);
    }
    assert_eq!(records.len(), 4);
    assert_eq!((records[0].time, records[0].frame.vlan), (time, Some(vlan)));
    assert_eq!(
        (records[0].frame.bytes(), records[0].frame.link_len),
        (&bytes[..], 14)
    );
    assert_eq!(records[1].time, time + Duration::from_nanos(1));
    assert_eq!(
        (records[1].frame.bytes(), records[1].frame.vlan),
        (&bytes[..], None)
    );
    assert_eq!(records[2].frame.bytes(), [9; 7]);
    assert_eq!(records[3].frame.len(), 65_600);
}

#[test]
fn microseconds_both_byte_orders_and_raw_ip() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.pcap");
    for little in [false, true] {
        let word = |value: u32| {
            if little {
                value.to_le_bytes()
            } else {
                value.to_be_bytes()
            }
        };
        let half = |value: u16| {
            if little {
                value.to_le_bytes()
            } else {
                value.to_be_bytes()
            }
        };
        let mut file = word(0xa1b2_c3d4).to_vec();
        file.extend([half(2), half(4)].concat());
        file.extend([0, 0, 65535, 101, 7, 5, 20, 20].map(word).concat());
        file.extend([0x45; 20]);
        std::fs::write(&path, &file).expect("write");
        let mut reader = Reader::open(&path).expect("open");
        assert_eq!(reader.link_type(), LinkType::Raw);
        let record = reader.next_record().expect("read").expect("one frame");
        assert_eq!(record.time, Duration::new(7, 5000));
        assert_eq!(
            (record.frame.bytes(), record.frame.link_len),
            (&[0x45; 20][..], 0)
        );
        // Cut off in the middle of the frame.
        std::fs::write(&path, &file[..file.len() - 1]).expect("write");
        Reader::open(&path)
            .expect("open")
            .next_record()
            .expect_err("cut off");
    }
}

#[test]
fn what_a_capture_left_out_is_zeros() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.pcap");
    // `tcpdump -s 20` of a frame of 60 octets: the length in the file's header is that of the part.
    let mut file = [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4].to_vec();
    file.extend(
        [0, 0, 20, 1, 7, 999_999, 20, 60]
            .map(u32::to_be_bytes)
            .concat(),
    );
    file.extend([9; 20]);
    std::fs::write(&path, &file).expect("write");
    let mut reader = Reader::open(&path).expect("open");
    let record = reader.next_record().expect("read").expect("one frame");
    assert_eq!(record.time, Duration::new(7, 999_999_000));
    assert_eq!(record.left_out, 40);
    assert_eq!(record.frame.bytes(), [&[9; 20][..], &[0; 40]].concat());
    assert!(reader.next_record().expect("read").is_none());
}

#[test]
fn broken_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.pcap");
    std::fs::write(&path, "not a capture file, whatever its name is").expect("write");
    let error = Reader::open(&path)
        .expect_err("no magic number")
        .to_string();
    assert!(
        error.contains("a.pcap") && error.contains("magic"),
        "{error}"
    );
    let error = Reader::open(&folder.path().join("none"))
        .expect_err("no file")
        .to_string();
    assert!(error.contains("No such file"), "{error}");
    let mut header = [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4].to_vec();
    header.extend([0, 0, 65535, 113].map(u32::to_be_bytes).concat());
    std::fs::write(&path, header).expect("write");
    let error = Reader::open(&path).expect_err("cooked").to_string();
    assert!(
        error.contains("link type 113 is neither Ethernet nor RAW"),
        "{error}"
    );
}

#[test]
fn a_link_reads_one_file_and_writes_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let (bytes, vlan) = tagged();
    let mut writer = Writer::create(&input, LinkType::Ethernet).expect("create");
    for at in 0..70 {
        writer
            .write(Duration::from_secs(at), &bytes, Some(vlan))
            .expect("write");
    }
    drop(writer);
    let mut link = open(&input, Some(&output)).expect("open");
    for expected in [64, 6, 0] {
        let mut batch = Vec::new();
        assert_eq!(
            link.receiver.receive(&mut batch).expect("receive"),
            expected
        );
        let outgoing: Vec<Outgoing<'_>> = batch.into_iter().map(Outgoing::from).collect();
        assert_eq!(link.sender.transmit(&outgoing).sent, expected);
    }
    assert_eq!(link.receiver.statistics().received, 70);
    drop(link);
    let mut reader = Reader::open(&output).expect("open");
    let first = reader.next_record().expect("read").expect("a frame");
    assert_eq!(
        (first.time, first.frame.vlan),
        (Duration::from_secs(63), Some(vlan))
    );
    assert_eq!(first.frame.bytes(), bytes);
}
