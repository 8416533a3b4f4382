//! Captures made here, replayed: what is made up of the host, what becomes of each frame, what is compared.

mod case;

use case::capture::{CLIENT_MAC, Capture, DIRECTOR_MAC, SERVER_MAC};
use case::{Case, RULES, SYN, VIP, clients};

const NAT: &str = "-A -t 10.8.0.1:80 -s rr\n-a -t 10.8.0.1:80 -r 10.2.0.11:8080 -m -w 1\n";

#[test]
fn connections_go_where_the_scheduler_says() {
    let report = Case::new(&clients(), RULES).run().unwrap();
    let servers: Vec<&str> = report
        .connections
        .iter()
        .map(|c| c.server.as_str())
        .collect();
    let (newest, oldest) = ("10.2.0.12:80", "10.2.0.11:80");
    assert_eq!(servers, [newest, oldest, newest, oldest]);
    assert_eq!(report.verdicts["forwarded"], 4);
    assert_eq!(
        (report.frames, report.sent, report.duration_ns),
        (4, 4, 3_000_000_000)
    );
    assert_eq!(report.interfaces[0].mac, DIRECTOR_MAC.to_string());
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("2 of 2 real servers")),
        "{:?}",
        report.notes
    );
    assert!(
        report.connections_table.contains("10.1.0.2:4004"),
        "{}",
        report.connections_table
    );
    assert!(
        report
            .services_table
            .contains("10.2.0.12:80                        2"),
        "{}",
        report.services_table
    );
}

/// A capture on the director's interface holds its own frames too.
#[test]
fn what_the_recorded_director_sent_is_left_out() {
    let mut capture = Capture::ethernet();
    let client = ([10, 1, 0, 2], 4001);
    // The forwarded frame comes first, as if the capture began in between.
    capture.tcp(0, (DIRECTOR_MAC, SERVER_MAC), client, VIP, 16);
    capture.tcp(1, (CLIENT_MAC, DIRECTOR_MAC), client, VIP, SYN);
    capture.tcp(1, (DIRECTOR_MAC, SERVER_MAC), client, VIP, SYN);
    let report = Case::new(&capture, RULES).run().unwrap();
    assert_eq!((report.own, report.connections.len()), (2, 1));
    assert_eq!(report.verdicts["forwarded"], 1);
}

#[test]
fn answers_of_nat_servers_are_translated_back() {
    let mut capture = Capture::ethernet();
    let (client, server) = (([10, 1, 0, 2], 4001), ([10, 2, 0, 11], 8080));
    capture.tcp(0, (CLIENT_MAC, DIRECTOR_MAC), client, VIP, SYN);
    capture.tcp(0, (DIRECTOR_MAC, SERVER_MAC), client, server, SYN);
    capture.tcp(1, (SERVER_MAC, DIRECTOR_MAC), server, client, 18);
    let mut case = Case::new(&capture, NAT);
    let output = case.folder.path().join("out.pcap");
    case.options.output = Some(output.clone());
    case.options.each = true;
    let mut frames = Vec::new();
    let report = replay::run(&case.options, &mut |frame| frames.push(frame)).unwrap();
    assert_eq!((report.verdicts["forwarded"], report.own), (2, 1));
    let seen: Vec<(&str, Option<&str>)> = frames
        .iter()
        .map(|frame| (frame.verdict, frame.server.as_deref()))
        .collect();
    let server = Some("10.2.0.11:8080");
    assert_eq!(
        seen,
        [("forwarded", server), ("own", None), ("forwarded", None)]
    );
    assert_eq!(
        frames[0].sent,
        ["TCP 10.1.0.2:4001 > 10.2.0.11:8080 [S] 40 by eth0 to 02:00:00:00:02:0b"]
    );
    assert_eq!(
        frames[2].sent,
        ["TCP 10.8.0.1:80 > 10.1.0.2:4001 [S.] 40 by eth0 to 02:00:00:00:01:02"]
    );
    let mut written = link::pcap::Reader::open(&output).unwrap();
    let mut times = Vec::new();
    while let Some(record) = written.next_record().unwrap() {
        times.push(record.time.as_secs());
    }
    assert_eq!(
        times,
        [1_700_000_000, 1_700_000_001],
        "at the frames' own times"
    );
}

/// Real servers behind a second interface, and the frames of both in one file.
#[test]
fn a_second_interface_is_found_by_the_answers() {
    let inner = packet::Mac([2, 0, 0, 0, 0, 2]);
    let mut capture = Capture::ethernet();
    let (client, server) = (([10, 1, 0, 2], 4001), ([10, 2, 0, 11], 8080));
    capture.tcp(0, (CLIENT_MAC, DIRECTOR_MAC), client, VIP, SYN);
    capture.tcp(1, (SERVER_MAC, inner), server, client, 18);
    let report = Case::new(&capture, NAT).run().unwrap();
    assert_eq!(report.verdicts["forwarded"], 2, "{report:?}");
    let macs: Vec<&str> = report.interfaces.iter().map(|i| i.mac.as_str()).collect();
    assert_eq!(macs, ["02:00:00:00:00:01", "02:00:00:00:00:02"]);
}

#[test]
fn schedulers_are_compared() {
    let mut case = Case::new(&clients(), RULES);
    case.options.schedulers = ["rr", "sh", "mh -b mh-port"].map(str::to_owned).to_vec();
    let report = case.run().unwrap();
    let names: Vec<&str> = report
        .schedulers
        .iter()
        .map(|o| o.scheduler.as_str())
        .collect();
    assert_eq!(names, ["rules", "rr", "sh", "mh -b mh-port"]);
    let service = |number: usize| &report.schedulers[number].services[0];
    assert_eq!((service(0).elsewhere, service(1).elsewhere), (0, 0));
    // One client address: sh gives it one server, half of whose connections rr sent to the other.
    let ratio = |number: usize| service(number).shares.unwrap().max;
    assert_eq!((service(2).elsewhere, ratio(2)), (2, 2.0));
    assert_eq!((ratio(0), service(2).not_made), (1.0, 0));
}

/// A scheduler that draws lots draws what the recorded director drew, if it is told where they began: by its state
/// file, or in so many words, which count more.
#[test]
fn lots_begin_where_they_are_told_to() {
    let mut capture = Capture::ethernet();
    for port in 0..64 {
        capture.tcp(
            0,
            (CLIENT_MAC, DIRECTOR_MAC),
            ([10, 1, 0, 2], 4000 + port),
            VIP,
            SYN,
        );
    }
    let choices = |state: &str, lots: Option<u64>| {
        let rules = format!("{state}{}", RULES.replace("-s rr", "-s twos"));
        let mut case = Case::new(&capture, &rules);
        case.options.lots = lots;
        let report = case.run().unwrap();
        let servers = report.connections.into_iter().map(|it| it.server);
        (report.lots, servers.collect::<Vec<_>>())
    };
    let state = |lots| format!("{}\n--set 900 120 300\n", control::lots::line(lots));
    let told = choices("", Some(7));
    assert_eq!((told.0, told.1.len()), (7, 64));
    assert_eq!(choices(&state(7), None), told);
    assert_eq!(choices(&state(8), Some(7)), told);
    assert_ne!(choices(&state(8), None).1, told.1);
    assert_eq!(choices("", None), choices("", Some(0)));
}

/// Where nobody told, the replay chooses otherwise than the recording, and says so.
#[test]
fn lots_that_nobody_told_of_are_a_note() {
    let notes = |rules: &str, lots: Option<u64>| {
        let mut case = Case::new(&clients(), rules);
        case.options.lots = lots;
        let notes = case.run().unwrap().notes.into_iter();
        notes
            .filter(|note| note.contains("lots"))
            .collect::<Vec<_>>()
    };
    let twos = RULES.replace("-s rr", "-s twos");
    let told = "-s twos draws lots, and where the recorded director's began is not known, so that it chose otherwise; its \
                log says it (schedulers' lots begin at N) for --lots N, or give its state file as rules";
    assert_eq!(notes(&twos, None), [told]);
    let none: [&str; 0] = [];
    assert_eq!(notes(&twos, Some(7)), none);
    let state = format!("{}\n--set 900 120 300\n{twos}", control::lots::line(7));
    assert_eq!(notes(&state, None), none);
    assert_eq!(notes(RULES, None), none);
}

#[test]
fn one_packet_connections_are_counted() {
    let rules = "-A -u 10.8.0.1:53 -s rr -o\n-a -u 10.8.0.1:53 -r 10.2.0.11:53 -g -w 1\n";
    let mut capture = Capture::ethernet();
    for at in 0..3 {
        capture.udp(
            at,
            (CLIENT_MAC, DIRECTOR_MAC),
            ([10, 1, 0, 2], 4001),
            ([10, 8, 0, 1], 53),
        );
    }
    let report = Case::new(&capture, rules).run().unwrap();
    assert_eq!(report.connections.len(), 3);
}

/// Connections end in between, as in a director: the same client is a new one after an hour.
#[test]
fn time_passes_between_frames() {
    let mut capture = Capture::ethernet();
    for at in [0, 10, 3600] {
        capture.udp(
            at,
            (CLIENT_MAC, DIRECTOR_MAC),
            ([10, 1, 0, 2], 4001),
            ([10, 8, 0, 1], 53),
        );
    }
    // A clock that was set back.
    capture.udp(
        5,
        (CLIENT_MAC, DIRECTOR_MAC),
        ([10, 1, 0, 2], 4001),
        ([10, 8, 0, 1], 53),
    );
    let rules = "-A -u 10.8.0.1:53 -s rr\n-a -u 10.8.0.1:53 -r 10.2.0.11:53 -g -w 1\n";
    let report = Case::new(&capture, rules).run().unwrap();
    assert_eq!((report.connections.len(), report.out_of_order), (2, 1));
    assert_eq!(report.duration_ns, 3_600_000_000_000);
}

/// What only the clock drives happens, too: a persistence template is there until its time has come.
#[test]
fn templates_end_between_frames() {
    let rules = RULES.replace("-s rr", "-s rr -p 60");
    let templates = |last| {
        let mut capture = Capture::ethernet();
        let client = |host| ([10, 1, 0, host], 4001);
        let macs = (CLIENT_MAC, DIRECTOR_MAC);
        capture.tcp(0, macs, client(2), VIP, SYN);
        capture.tcp(last, macs, client(3), VIP, SYN);
        let report = Case::new(&capture, &rules).run().unwrap();
        report.connections_table.contains("10.1.0.2:0")
    };
    assert_eq!([50, 3600].map(templates), [true, false]);
}

#[test]
fn drops_have_their_reason() {
    let report = Case::new(&clients(), "-A -t 10.8.0.1:80 -s rr\n")
        .run()
        .unwrap();
    assert_eq!(report.drops["no_destination"], 4);
    assert_eq!(report.verdicts["dropped"], 4);
}

#[test]
fn a_capture_of_ip_packets() {
    let mut capture = Capture::raw();
    capture.tcp(
        0,
        (CLIENT_MAC, DIRECTOR_MAC),
        ([10, 1, 0, 2], 4001),
        VIP,
        SYN,
    );
    let report = Case::new(&capture, NAT).run().unwrap();
    assert_eq!((report.verdicts["forwarded"], report.sent), (1, 1));
}

#[test]
fn a_state_file_and_a_configuration_are_rules_too() {
    let state =
        "--set 900 120 300\nsysctl -w net.ipv4.vs.expire_nodest_conn=1\n".to_owned() + RULES;
    assert_eq!(
        Case::new(&clients(), &state)
            .run()
            .unwrap()
            .connections
            .len(),
        4
    );
    let mut case = Case::new(&clients(), "");
    case.options.rules = case.folder.path().join("ulvs.toml");
    let toml = "rules = '''\n-A -f 7 -s rr\n-a -f 7 -r 10.2.0.11:80 -g\n'''\n\
                [[mark]]\nmark = 7\ndestination = \"10.8.0.1\"\n";
    std::fs::write(
        &case.options.rules,
        format!("{toml}interface = \"outside\"\n"),
    )
    .unwrap();
    assert_eq!(case.run().unwrap().connections.len(), 0, "it is eth0");
    case.options.host.interface = "outside".to_owned();
    assert_eq!(case.run().unwrap().connections.len(), 4);
    std::fs::write(&case.options.rules, toml).unwrap();
    let report = case.run().unwrap();
    assert_eq!(report.connections.len(), 4);
    assert_eq!(report.schedulers[0].services[0].service, "-f 7");
}

#[test]
fn what_comes_before_a_break_is_replayed() {
    let whole = clients().octets();
    let case = Case::new(&clients(), RULES);
    std::fs::write(&case.options.capture, &whole[..whole.len() - 1]).unwrap();
    let report = case.run().unwrap();
    assert_eq!((report.frames, report.connections.len()), (3, 3));
    let broken = report.broken.unwrap();
    assert!(
        broken.contains("behind frame 3") && broken.contains("in.pcap"),
        "{broken}"
    );
}

mod any_file {
    //! No capture makes it panic, whatever stands in it.

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn is_replayed_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
            cut in any::<prop::sample::Index>(),
            nat in any::<bool>(),
        ) {
            let mut capture = clients();
            capture.tcp(9, (SERVER_MAC, DIRECTOR_MAC), ([10, 2, 0, 11], 8080), ([10, 1, 0, 2], 4001), 18);
            capture.udp(10, (CLIENT_MAC, DIRECTOR_MAC), ([10, 1, 0, 2], 4001), ([10, 8, 0, 1], 53));
            let mut octets = capture.octets();
            for (place, value) in changes {
                let place = place.index(octets.len());
                octets[place] = value;
            }
            octets.truncate(cut.index(octets.len() * 4).max(24));
            let mut case = Case::new(&capture, if nat { NAT } else { RULES });
            std::fs::write(&case.options.capture, &octets).unwrap();
            case.options.schedulers = vec!["sh".to_owned()];
            case.options.each = true;
            if let Ok(octets) = replay::frame_of(&case.options.capture, 1) {
                let question = replay::Question {
                    about: replay::About::Frame(octets),
                    mark: None,
                    interface: None,
                };
                let answer = replay::explain(&case.options.rules, &case.options.host, &question);
                prop_assert!(answer.is_ok_and(|answer| answer.starts_with("verdict\t")));
            }
            if let Err(error) = case.run() {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
