//! The shipped files, and what each fault says.

use core::net::IpAddr;
use director::sysctl::SYSCTLS;

use super::*;

const ULVS: &str = include_str!("../../../../configs/ulvs.toml");
const EXAMPLES: [(&str, &str); 3] = [
    ("dr.toml", include_str!("../../../../configs/dr.toml")),
    ("nat.toml", include_str!("../../../../configs/nat.toml")),
    ("tun.toml", include_str!("../../../../configs/tun.toml")),
];

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("ulvs.toml", text)
}

/// What is said about a text that is refused.
fn said(text: &str) -> String {
    parse(text).expect_err("the text is refused").to_string()
}

/// `configs/ulvs.toml` with the keys that have no default: a `#` right before a key, a section or a rule
/// goes away; one before a space begins an explanation and stays.
fn uncommented() -> String {
    let lines = ULVS.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_states_the_defaults() {
    let shipped = parse(ULVS).expect("configs/ulvs.toml can be read");
    let sysctls = shipped.sysctls.clone();
    assert_eq!(
        Config {
            sysctls: Vec::new(),
            ..shipped
        },
        Config::default()
    );
    let defaults = director::sysctl::Sysctls::default();
    for (name, value) in sysctls {
        let shipped = director::sysctl::Sysctls::default();
        shipped.write(&name, &value).unwrap();
        assert_eq!(shipped.read(&name), defaults.read(&name), "{name}");
    }
    for entry in SYSCTLS {
        assert!(
            ULVS.contains(&format!("\n{} = ", entry.name)),
            "{}",
            entry.name
        );
    }
}

/// The keys of a section, out of what is said about a key that nobody has.
fn keys(section: &str) -> Vec<String> {
    let said = said(&format!("{section}\nzzzzzzzz = 1\n"));
    let (_, keys) = said.split_once("the keys here are ").expect(&said);
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_explained_in_the_shipped_file() {
    let whole = uncommented();
    parse(&whole).expect("the keys without a default are right too");
    let mut count = 0;
    for section in [
        "",
        "[control]",
        "[timeouts]",
        "[shadow]",
        "[log]",
        "[[interface]]",
        "[[vip]]",
        "[[mark]]",
    ] {
        let part = match section {
            "" => whole.split("\n[").next().unwrap_or_default(),
            _ => {
                let (_, rest) = whole.split_once(&format!("\n{section}\n")).expect(section);
                rest.split("\n[").next().unwrap_or_default()
            }
        };
        for key in keys(section) {
            count += 1;
            let is_there = part
                .lines()
                .any(|line| line.starts_with(&format!("{key} = ")))
                || whole.contains(&format!("\n[{key}]\n"))
                || whole.contains(&format!("\n[[{key}]]\n"));
            assert!(is_there, "{section} {key} is missing in configs/ulvs.toml");
            let explained = part
                .lines()
                .zip(part.lines().skip(1))
                .any(|(before, line)| {
                    line.starts_with(&format!("{key} = ")) && before.starts_with("# ")
                });
            assert!(
                explained || whole.contains(&format!("[{key}]")),
                "{section} {key}"
            );
        }
    }
    assert!(count > 25, "{count}");
}

#[test]
fn examples_make_their_services() {
    for (name, text) in EXAMPLES {
        let config = Config::parse(name, text).expect(name);
        let state = config.desired_state().expect(name);
        assert_eq!(state.services.len(), 1, "{name}");
        assert_eq!(state.services[0].1.len(), 2, "{name}");
        assert_eq!(config.vips[0].answer, VipAnswer::Owned, "{name}");
    }
}

#[test]
fn faults_are_sentences() {
    let faults = [
        (
            "worker = 2",
            "`worker = 2`: there is no key `worker`, did you mean `workers`?",
        ),
        (
            "control = \"/run/ulvs.sock\"",
            "`control = \"/run/ulvs.sock\"`: invalid type: string \"/run/ulvs.sock\", expected a section: its name in \
             brackets, and its keys in the lines below",
        ),
        (
            "workers = 0",
            "`workers = 0`: invalid value: integer `0`, expected a whole number from 1 to 64",
        ),
        (
            "workers = \"two\"",
            "`workers = \"two\"`: invalid type: string \"two\", expected a whole number from 1 to 64",
        ),
        (
            "interfaces = [\"eth0\", \"a/b\"]",
            "`interfaces = [\"eth0\", \"a/b\"]`: an interface's name has 1 to 15 letters, no slash and no \
             space among them",
        ),
        (
            "link = \"xdp\"",
            "`link = \"xdp\"`: unknown variant `xdp`, expected one of `af-packet`, `af-xdp`, `tun`",
        ),
        (
            "rules = \"-A -t nonsense\"",
            "`-A -t nonsense`: illegal virtual server address[:port] specified",
        ),
        (
            "rules = \"-C\"",
            "`-C`: rules add services and real servers: -A or -a, as `ipvsadm -S -n` prints them",
        ),
    ];
    for (line, expected) in faults {
        assert_eq!(
            said(&format!("# first\n{line}\n")),
            format!("ulvs.toml:2: {expected}")
        );
    }
}

#[test]
fn faults_of_sections_are_sentences() {
    let mode = "the control socket is for its owner and group only: 0o600 or 0o660, in octal";
    assert_eq!(
        said("[control]\nmode = 660"),
        format!("ulvs.toml:2: `mode = 660`: {mode}")
    );
    assert_eq!(
        said("[control]\nmode = 0o666"),
        format!("ulvs.toml:2: `mode = 0o666`: {mode}")
    );
    assert_eq!(
        said("[[vip]]\naddress = \"10.0.0.999\""),
        "ulvs.toml:2: `address = \"10.0.0.999\"`: invalid IP address syntax"
    );
    assert_eq!(
        said("[[vip]]\naddress = \"10.0.0.1\"\nanswer = \"sometimes\""),
        "ulvs.toml:3: `answer = \"sometimes\"`: unknown variant `sometimes`, expected one of `auto`, \
         `owned`, `local`"
    );
    assert_eq!(
        said("[[vip]]\naddress = \"::1\"\n[[vip]]\naddress = \"::1\""),
        "ulvs.toml:4: `address = \"::1\"`: this VIP has a section already: leave one of the two out"
    );
    assert_eq!(
        said("[[vip]]\nanswer = \"auto\""),
        "ulvs.toml:1: `[[vip]]`: missing field `address`"
    );
    let sysctl = said("workers = 1\n[sysctl]\nsloppy = 1");
    assert!(
        sysctl.starts_with("ulvs.toml:3: `sloppy = 1`: there is no such sysctl, the names are "),
        "{sysctl}"
    );
    let sysctl = said("[sysctl]\nsecure_tcp = 9");
    assert!(
        sysctl.starts_with("ulvs.toml:2: `secure_tcp = 9`: "),
        "{sysctl}"
    );
    let ports = said("[[mark]]\nmark = 1\nports = [80, \"90-80\"]");
    assert!(ports.contains("a range of ports \"5000-5100\""), "{ports}");
    let unread = said("workers = [");
    assert!(
        unread.starts_with("ulvs.toml:1: `workers = [`: ") && !unread.contains('\n'),
        "{unread}"
    );
}

#[test]
fn interfaces_have_the_link_of_their_section_or_the_default() {
    let text =
        "interfaces = [\"eth0\", \"ulvs0\"]\n[[interface]]\nname = \"ulvs0\"\nlink = \"tun\"\n";
    let config = parse(text).expect("two kinds of links");
    assert_eq!(config.link, LinkKind::AfPacket);
    let expected = InterfaceLink {
        name: "ulvs0".into(),
        link: LinkKind::Tun,
        place: "ulvs.toml:4: `link = \"tun\"`".into(),
    };
    assert_eq!(config.links, [expected]);
    parse("[[interface]]\nname = \"ulvs0\"\nlink = \"tun\"\n")
        .expect("beside every Ethernet interface");
}

#[test]
fn contradictions_about_links_are_sentences() {
    let section = "[[interface]]\nname = \"eth1\"\nlink = \"tun\"\n";
    let again = "ulvs.toml:5: `name = \"eth1\"`: this interface has a section already: leave one of the two out";
    assert_eq!(said(&format!("{section}{section}")), again);
    assert_eq!(
        said(&format!("interfaces = [\"eth0\"]\n{section}")),
        "ulvs.toml:3: `name = \"eth1\"`: `interfaces` does not name it: add it there, or leave this section out"
    );
    for text in ["link = \"tun\"", "link = \"tun\"\ninterfaces = []"] {
        assert_eq!(
            said(text),
            "ulvs.toml:1: `link = \"tun\"`: TUN devices are made by their names: interfaces = [\"ulvs0\"]"
        );
    }
    let vip = "[[vip]]\naddress = \"10.0.0.1\"\ninterface = \"eth1\"\n";
    assert_eq!(
        said(&format!("{section}{vip}")),
        "ulvs.toml:6: `interface = \"eth1\"`: nobody hears announcements on a TUN device: leave this key out, or name \
         an interface with another link"
    );
    assert_eq!(
        said("[[interface]]\nname = \"eth1\"\n"),
        "ulvs.toml:1: `[[interface]]`: missing field `link`"
    );
    assert_eq!(
        said("[[interface]]\nname = \"eth1\"\nlink = \"carrier-pigeon\""),
        "ulvs.toml:3: `link = \"carrier-pigeon\"`: unknown variant `carrier-pigeon`, expected one of `af-packet`, `af-xdp`, `tun`"
    );
}

#[test]
fn rules_know_their_lines() {
    let rules =
        "rules = \"\"\"\n# web\n-A -t 10.0.0.1:80\n\n-a -t 10.0.0.1:81 -r 10.0.0.11\n\"\"\"\n";
    let config = parse(rules).expect("each line is a rule");
    let places: Vec<usize> = config.rules().iter().map(|rule| rule.line).collect();
    assert_eq!(places, [3, 5]);
    let fault = config
        .desired_state()
        .expect_err("there is no such service");
    assert_eq!(
        fault.to_string(),
        "ulvs.toml:5: `-a -t 10.0.0.1:81 -r 10.0.0.11`: Service not defined"
    );
    assert_eq!(
        said("rules = \"\"\"-A -t 10.0.0.1:80\n-A -t\"\"\""),
        "ulvs.toml:2: `-A -t`: -t: missing argument"
    );
}

#[test]
fn rules_of_a_file_come_behind() {
    let mut config = parse("rules = \"-A -t 10.0.0.1:80\"").expect("a rule");
    let text = "-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 3 -x 5\n";
    config.add_rules("services.rules", text).expect("a rule");
    let state = config.desired_state().expect("they fit together");
    assert_eq!(state.services[0].1[0].weight, 3);
    let fault = config
        .add_rules("services.rules", "\n-A -s rr\n")
        .expect_err("no service");
    assert!(
        fault
            .to_string()
            .starts_with("services.rules:2: `-A -s rr`: You need to supply")
    );
    assert_eq!(
        config.rules().len(),
        2,
        "nothing of a file with a fault is taken"
    );
}

#[test]
fn timeouts_and_sysctls_are_part_of_the_desired_state() {
    let text = "[timeouts]\ntcp = 100\n[sysctl]\nsync_threshold = \"3 50\"\nsloppy_tcp = 1\n";
    let state = parse(text)
        .expect("right")
        .desired_state()
        .expect("possible");
    assert_eq!((state.timeouts.tcp, state.timeouts.udp), (100, 300));
    assert_eq!(state.sysctls, [("sloppy_tcp".to_owned(), "1".to_owned())]);
}

#[test]
fn marks_by_the_first_section_that_matches() {
    let text = "[[mark]]\nmark = 1\ndestination = \"10.0.0.1\"\nprotocol = \"tcp\"\nports = [80, \"443-444\"]\n\
                [[mark]]\nmark = 2\nsource = \"192.0.2.0/24\"\n\
                [[mark]]\nmark = 3\ninterface = \"eth1\"\ndestination = \"fd00::/16\"\n";
    let marks = parse(text).expect("right").marks;
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let mark = |interface, source, destination, protocol, destination_port| {
        let (source, destination) = (address(source), address(destination));
        MarkRule::mark_of(
            &marks,
            &Packet {
                interface,
                source,
                destination,
                protocol,
                destination_port,
            },
        )
    };
    assert_eq!(mark("eth0", "192.0.2.1", "10.0.0.1", 6, Some(80)), 1);
    assert_eq!(mark("eth0", "198.51.100.1", "10.0.0.1", 6, Some(444)), 1);
    assert_eq!(mark("eth0", "198.51.100.1", "10.0.0.1", 6, Some(445)), 0);
    assert_eq!(mark("eth0", "198.51.100.1", "10.0.0.1", 17, Some(80)), 0);
    assert_eq!(
        mark("eth0", "192.0.2.1", "10.0.0.1", 6, None),
        2,
        "a fragment has no port"
    );
    assert_eq!(mark("eth1", "2001:db8::1", "fd00:8::1", 6, Some(1)), 3);
    assert_eq!(mark("eth0", "2001:db8::1", "fd00:8::1", 6, Some(1)), 0);
    assert_eq!(mark("eth1", "2001:db8::1", "fd01:8::1", 6, Some(1)), 0);
}

proptest::proptest! {
    /// Pieces of a configuration in any order are read or refused by one sentence.
    #[test]
    fn any_text_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..8)) {
        let text = pieces.concat();
        if let Err(fault) = parse(&text) {
            let sentence = fault.to_string();
            proptest::prop_assert!(fault.line >= 1 && !sentence.contains('\n'), "{}", sentence);
        }
    }
}

fn piece() -> impl proptest::strategy::Strategy<Value = String> {
    let lines: Vec<String> = uncommented()
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    proptest::prop_oneof![
        3 => proptest::sample::select(lines),
        1 => "\\PC{0,20}",
        1 => "[\\[\\]\"'=\n\\\\a-z0-9#]{0,20}",
    ]
}
