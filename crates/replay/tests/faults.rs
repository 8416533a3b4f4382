//! What users get wrong: one sentence that names the file, the line where there is one, and what to do; nothing is
//! printed or written then.

mod case;

use std::fs;

use case::capture::{Capture, DIRECTOR_MAC};
use case::{Case, RULES, clients};

impl Case {
    /// What the command prints, what it says of faults, and whether it succeeds.
    fn said(&self, json: Option<&str>) -> (String, String, bool) {
        let printing = replay::Printing {
            json: json.map(|name| self.folder.path().join(name)),
            tables: false,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = replay::command(&self.options, &printing, &mut out, &mut err);
        let text = |octets| String::from_utf8(octets).unwrap();
        (text(out), text(err), code == 0)
    }

    /// The sentence about a command that fails and does nothing.
    fn refused(&self, json: Option<&str>) -> String {
        let (out, err, succeeds) = self.said(json);
        assert_eq!((out.as_str(), succeeds), ("", false), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        err
    }
}

#[test]
fn captures_that_cannot_be_read() {
    let mut case = Case::new(&clients(), RULES);
    let output = case.folder.path().join("out.pcap");
    case.options.output = Some(output.clone());
    let whole = clients().octets();
    let pcapng = [0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a].repeat(3);
    let other_link = |link_type| Capture::with_link_type(link_type).octets();
    for (octets, expected) in [
        (vec![], "in.pcap: it is empty: record it again, `tcpdump"),
        (
            whole[..10].to_vec(),
            "in.pcap: it is cut off in its header: record or copy it again",
        ),
        (
            pcapng,
            "in.pcap: it is a pcapng file, which `editcap -F pcap",
        ),
        (
            vec![0x1f, 0x8b, 8, 0, 0, 0],
            "in.pcap: it is compressed, `gunzip` it first",
        ),
        (
            b"no capture".to_vec(),
            "in.pcap: it is no capture: replay reads classic pcap files",
        ),
        // Linux's cooked mode (`-i any`), 802.11 and 802.11 with radio information.
        (
            other_link(113),
            "in.pcap: link type 113 is neither Ethernet nor RAW: record an Ethernet",
        ),
        (
            other_link(105),
            "in.pcap: link type 105 is neither Ethernet nor RAW: record an Ethernet",
        ),
        (
            other_link(127),
            "in.pcap: link type 127 is neither Ethernet nor RAW: record an Ethernet",
        ),
    ] {
        fs::write(&case.options.capture, octets).unwrap();
        let said = case.refused(None);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    fs::remove_file(&case.options.capture).unwrap();
    assert!(case.refused(None).contains("in.pcap: No such file"));
    assert!(!output.exists(), "nothing is written");
}

/// Microseconds and nanoseconds, in either order of octets, cut off behind the header's magic number.
#[test]
fn captures_of_each_kind_are_known() {
    let case = Case::new(&clients(), RULES);
    for magic in [0xa1b2_c3d4_u32, 0xa1b2_3c4d] {
        for octets in [magic.to_be_bytes(), magic.to_le_bytes()] {
            fs::write(&case.options.capture, octets).unwrap();
            let said = case.refused(None);
            assert!(said.contains("cut off in its header"), "{said}");
        }
    }
}

#[test]
fn rules_that_cannot_be_read() {
    let case = Case::new(&clients(), RULES);
    let set = "--set 900 120 300\n";
    for (rules, expected) in [
        (
            format!("{RULES}-a -t 10.8.0.1:80 -r 10.2.0.11:x -g"),
            "rules:4: `-a -t 10.8.0.1:80 -r 10.2.0.11:x -g`: illegal",
        ),
        (
            format!("{RULES}-A -t 10.8.0.2:80 -s best"),
            "rules:4: `-A -t 10.8.0.2:80 -s best`: Scheduler",
        ),
        (
            format!("{RULES}\n-D -t 10.8.0.1:80"),
            "rules:5: `-D -t 10.8.0.1:80`: rules add services and real servers: -A or -a",
        ),
        (
            "IP Virtual Server version 1.2.1 (size=4096)".to_owned(),
            "rules:1: `IP Virtual Server version 1.2.1 (size=4096)`: rules add services",
        ),
        (
            "# nothing\n".to_owned(),
            "rules: there is no service in it: save them by `ipvsadm -S -n",
        ),
        (format!("{set}-A -t 10.8.0.1:80\n"), "rules:2: "),
        // A state file's lines, as a director refuses them.
        (
            format!("# saved\n{set}{RULES}-A -t 10.8.0.2:80 -s best\n-A -u 10.8.0.2:80 -s rr\n"),
            "rules:6: -A -t 10.8.0.2:80 -s best: there is no such scheduler",
        ),
        (
            format!("{set}{RULES}sysctl -w net.ipv4.vs.nosuch=1\n"),
            "rules:5: there is no sysctl named nosuch",
        ),
    ] {
        fs::write(&case.options.rules, rules).unwrap();
        let said = case.refused(None);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    fs::remove_file(&case.options.rules).unwrap();
    assert!(case.refused(None).contains("rules: No such file"));
}

#[test]
fn schedulers_that_do_not_exist() {
    let mut case = Case::new(&clients(), RULES);
    for (scheduler, expected) in [
        (
            "best",
            "--scheduler \"best\": there is no scheduler \"best\", only rr, wrr",
        ),
        (
            "mh -b port",
            "--scheduler \"mh -b port\": \"port\" is not a flag of mh, only mh-fallback, mh-port",
        ),
        (
            "rr -b sh-port",
            "--scheduler \"rr -b sh-port\": \"sh-port\" is not a flag of rr, which has none",
        ),
    ] {
        case.options.schedulers = vec![scheduler.to_owned()];
        let said = case.refused(None);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn files_that_cannot_be_written() {
    let mut case = Case::new(&clients(), RULES);
    case.options.output = Some("/nonexistent/out.pcap".into());
    let said = case.refused(None);
    assert!(
        said.contains("cannot write the capture file /nonexistent/out.pcap: No such file"),
        "{said}"
    );
    // It is full when the last octets are written, too.
    case.options.output = Some("/dev/full".into());
    let said = case.refused(None);
    assert!(
        said.contains("cannot write the capture file /dev/full: No space"),
        "{said}"
    );
    assert!(fs::metadata("/dev/full").is_ok(), "a device stays");
    case.options.output = None;
    for (name, expected) in [
        (
            "/nonexistent/x.json",
            "cannot write the report /nonexistent/x.json: No such file",
        ),
        ("/dev/full", "cannot write the report /dev/full: No space"),
    ] {
        let said = case.refused(Some(name));
        assert!(said.contains(expected), "{said}");
    }
}

/// No file is read and written, or written twice, whatever it is called.
#[test]
fn files_that_are_in_use() {
    let mut case = Case::new(&clients(), RULES);
    let folder = case.folder.path().to_owned();
    fs::hard_link(folder.join("in.pcap"), folder.join("link.pcap")).unwrap();
    for name in ["in.pcap", "link.pcap", "rules"] {
        case.options.output = Some(folder.join(name));
        let said = case.refused(None);
        assert!(
            said.contains("-o ") && said.contains("name another one"),
            "{said}"
        );
        case.options.output = None;
        let said = case.refused(Some(name));
        assert!(
            said.contains("--json ") && said.contains("name another one"),
            "{said}"
        );
    }
    case.options.output = Some(folder.join("out"));
    assert!(case.refused(Some("out")).contains("name another one"));
    assert_eq!(
        fs::read(folder.join("in.pcap")).unwrap(),
        clients().octets()
    );
    assert_eq!(fs::read_to_string(folder.join("rules")).unwrap(), RULES);
    // Two files are fine.
    let (out, err, succeeds) = case.said(Some("report.json"));
    assert!(succeeds && out.contains(&DIRECTOR_MAC.to_string()), "{err}");
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["frames"], 4);
}

/// What comes before the break is replayed and printed, and the sentence and the exit code say that there was more.
#[test]
fn a_capture_that_breaks_off() {
    let case = Case::new(&clients(), RULES);
    let whole = clients().octets();
    fs::write(&case.options.capture, &whole[..whole.len() - 1]).unwrap();
    let (out, err, succeeds) = case.said(None);
    assert!(!succeeds && out.contains("in.pcap: 3 frames"), "{out}");
    assert!(
        err.contains("in.pcap: the file is cut off or broken behind frame 3"),
        "{err}"
    );
    assert_eq!(err.lines().count(), 1);
}
