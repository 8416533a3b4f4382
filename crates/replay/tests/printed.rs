//! What `ulvs replay` prints, word for word.

mod case;

use std::fs;
use std::time::Duration;

use case::capture::{CLIENT_MAC, Capture, DIRECTOR_MAC, SERVER_MAC};
use case::{Case, RULES, SYN, VIP, clients};

const NAT: &str = "-A -t 10.8.0.1:80 -s rr\n\
                   -a -t 10.8.0.1:80 -r 10.2.0.11:8080 -m -w 1\n\
                   -A -u 10.8.0.1:53 -s rr\n";

impl Case {
    /// What the command prints with these tables or without.
    fn printed(&self, tables: bool) -> String {
        let printing = replay::Printing { json: None, tables };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = replay::command(&self.options, &printing, &mut out, &mut err);
        assert_eq!((code, String::from_utf8(err).unwrap().as_str()), (0, ""));
        let folder = format!("{}/", self.folder.path().display());
        String::from_utf8(out).unwrap().replace(&folder, "")
    }
}

/// A connection by NAT, a datagram that nobody is there for, a frame with a part left out, a clock that was set back.
fn session() -> Capture {
    let mut capture = Capture::ethernet();
    let (client, server) = (([10, 1, 0, 2], 4001), ([10, 2, 0, 11], 8080));
    capture.tcp(0, (CLIENT_MAC, DIRECTOR_MAC), client, VIP, SYN);
    capture.tcp(0, (DIRECTOR_MAC, SERVER_MAC), client, server, SYN);
    capture.tcp(1, (SERVER_MAC, DIRECTOR_MAC), server, client, 18);
    capture.tcp(2, (CLIENT_MAC, DIRECTOR_MAC), client, VIP, 16);
    capture.udp(1, (CLIENT_MAC, DIRECTOR_MAC), client, ([10, 8, 0, 1], 53));
    capture
}

#[test]
fn each_frame_the_summary_and_the_tables() {
    let mut case = Case::new(&session(), NAT);
    // Ten octets of data of the last frame were not captured.
    let mut octets = session().octets();
    octets.truncate(octets.len() - 10);
    let length = octets.len() - 42 - 8;
    octets[length..length + 4].copy_from_slice(&42_u32.to_be_bytes());
    fs::write(&case.options.capture, octets).unwrap();
    case.options.each = true;
    let expected = "      1       0.000000  TCP 10.1.0.2:4001 > 10.8.0.1:80 [S] 40  forwarded, new: 10.2.0.11:8080
                        -> TCP 10.1.0.2:4001 > 10.2.0.11:8080 [S] 40 by eth0 to 02:00:00:00:02:0b
      2       0.000000  TCP 10.1.0.2:4001 > 10.2.0.11:8080 [S] 40  own
      3       1.000000  TCP 10.2.0.11:8080 > 10.1.0.2:4001 [S.] 40  forwarded
                        -> TCP 10.8.0.1:80 > 10.1.0.2:4001 [S.] 40 by eth0 to 02:00:00:00:01:02
      4       2.000000  TCP 10.1.0.2:4001 > 10.8.0.1:80 [.] 40  forwarded
                        -> TCP 10.1.0.2:4001 > 10.2.0.11:8080 [.] 40 by eth0 to 02:00:00:00:02:0b
      5       2.000000  UDP 10.1.0.2:4001 > 10.8.0.1:53 38  dropped: no_destination
                        -> ICMP 10.8.0.1 > 10.1.0.2 type 3 code 3 66 by eth0 to 02:00:00:00:01:02

in.pcap: 5 frames in 2.000000 s, with the rules of rules
  eth0 02:00:00:00:00:01 mtu 1500 (198.18.0.1, 2001:2::1), made up
  note: the capture holds only the beginning of 1 frame; the rest was taken as zeros
  note: 1 frame with a time before that of the frame before counted as of that time

         3 forwarded
         1 dropped
         1   dropped: no_destination
         1 sent by the recorded director itself, not replayed
         4 sent
         1 new connections

-t 10.8.0.1:80 -s rr   max/mean 1.000
  server          weight  connections  active  inactive  packets in  packets out
  10.2.0.11:8080       1            1       1         0           2            1

-u 10.8.0.1:53 -s rr
  server  weight  connections  active  inactive  packets in  packets out

IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.8.0.1:80                         1        2        1       80       40
  -> 10.2.0.11:8080                      1        2        1       80       40
UDP  10.8.0.1:53                         0        0        0        0        0

IPVS connection entries
pro expire state       source             virtual            destination
TCP 15:00  ESTABLISHED 10.1.0.2:4001      10.8.0.1:80        10.2.0.11:8080
";
    let printed = case.printed(true);
    assert_eq!(printed, expected, "{printed}");
}

#[test]
fn schedulers_beside_each_other() {
    let mut rules = RULES.replace("10.2.0.12:80 -g -w 1", "10.2.0.12:80 -g -w 3");
    for server in 13..18 {
        rules += &format!("-a -t 10.8.0.1:80 -r 10.2.0.{server}:80 -g -w 0\n");
    }
    let mut case = Case::new(&clients(), &rules);
    // sh refuses what falls to a real server without weight.
    case.options.schedulers = ["mh -b mh-port", "sh -b sh-port"]
        .map(str::to_owned)
        .to_vec();
    let expected = "\
-t 10.8.0.1:80 (connections / packets from clients)
  server                 rr (rules)  mh -b mh-port  sh -b sh-port
  10.2.0.11:80 weight 1       2 / 2          0 / 0          1 / 1
  10.2.0.12:80 weight 3       2 / 2          4 / 4          2 / 2
  10.2.0.13:80 weight 0       0 / 0          0 / 0          0 / 0
  10.2.0.14:80 weight 0       0 / 0          0 / 0          0 / 0
  10.2.0.15:80 weight 0       0 / 0          0 / 0          0 / 0
  10.2.0.16:80 weight 0       0 / 0          0 / 0          0 / 0
  10.2.0.17:80 weight 0       0 / 0          0 / 0          0 / 0
  max/mean                    1.500          2.000          1.200
  went elsewhere                  0              2              1
  not made                        0              0              1
";
    let printed = case.printed(false);
    let (_, compared) = printed.rsplit_once("\n\n").expect("several parts");
    assert_eq!(compared, expected, "{printed}");
}

/// Frames leave at the times at which others arrived, to the microsecond.
#[test]
fn what_is_sent_has_its_time() {
    let mut case = Case::new(&clients(), RULES);
    let mut octets = clients().octets();
    // Microseconds of the second frame.
    let second = 24 + 16 + 54;
    octets[second + 4..second + 8].copy_from_slice(&123_456_u32.to_be_bytes());
    fs::write(&case.options.capture, octets).unwrap();
    let output = case.folder.path().join("out.pcap");
    case.options.output = Some(output.clone());
    case.printed(false);
    let mut written = link::pcap::Reader::open(&output).unwrap();
    let mut times = Vec::new();
    while let Some(record) = written.next_record().unwrap() {
        times.push(record.time);
    }
    // The first client's connection.
    let start = Duration::from_secs(1_700_000_001);
    let expected = [0, 1_123_456, 2_000_000, 3_000_000].map(Duration::from_micros);
    assert_eq!(times, expected.map(|time| start + time));
}
