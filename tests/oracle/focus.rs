//! What a case is about: which schedulers, protocols and options its configuration draws from, and how often it does
//! what.

use crate::frame::{SCTP, TCP, UDP};

/// One thing that a case does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A client that was not there.
    NewFlow,
    /// Many clients of one service.
    Burst,
    /// The next packet of a flow, from either end.
    OldFlow,
    /// An ICMP error from the clients' side.
    ClientError,
    /// One from the servers' side.
    ServerError,
    /// A datagram in fragments.
    Fragments,
    /// A packet that is not as it should be.
    Odd,
    /// ESP, AH, ping and other protocols.
    Other,
    /// A change of services or real servers.
    Configure,
    /// A change of a setting.
    Sysctl,
    /// An FTP dialogue.
    Ftp,
    /// A SIP message.
    Sip,
    /// Any command line, right or wrong.
    Line,
    /// Seconds pass.
    Wait,
}

use Action::{
    Burst, ClientError, Configure, Fragments, Ftp, Line, NewFlow, Odd, OldFlow, Other, ServerError,
    Sip, Sysctl, Wait,
};

/// Everything that a focus fixes; numbers are percentages unless they say otherwise.
#[derive(Debug)]
pub(crate) struct Focus {
    /// The topic of its recordings.
    pub(crate) name: &'static str,
    /// How many actions.
    pub(crate) actions: u32,
    /// What they are, by weight.
    pub(crate) mix: &'static [(Action, u32)],
    /// Schedulers of its services.
    pub(crate) schedulers: &'static [&'static str],
    /// Protocols of its services.
    pub(crate) protocols: &'static [u8],
    /// Forwarding methods: `g`, `m`, `i`.
    pub(crate) methods: &'static [char],
    /// Services over IPv6.
    pub(crate) v6: u32,
    /// Persistent services.
    pub(crate) persistent: u32,
    /// Services by firewall mark, and by port 0.
    pub(crate) wide: u32,
    /// Real servers with thresholds.
    pub(crate) threshold: u32,
}

/// All but `twos`, which picks at random.
const ALL: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh", "lblc", "lblcr", "fo", "ovf",
];
/// Schedulers that spread whatever comes.
const PLAIN: &[&str] = &["rr", "wrr", "wlc", "lc"];
const ANY: &[u8] = &[TCP, TCP, TCP, UDP, UDP, SCTP];

/// What every focus that says nothing else has.
const BASE: Focus = Focus {
    name: "mixed",
    actions: 70,
    mix: &[
        (NewFlow, 36),
        (OldFlow, 40),
        (ClientError, 4),
        (ServerError, 4),
        (Fragments, 2),
        (Odd, 4),
        (Other, 1),
        (Configure, 9),
        (Sysctl, 2),
    ],
    schedulers: ALL,
    protocols: ANY,
    methods: &['g', 'm', 'i'],
    v6: 30,
    persistent: 25,
    wide: 20,
    threshold: 15,
};

/// Every focus there is.
pub(crate) const FOCUSES: [Focus; 12] = [
    BASE,
    Focus {
        name: "scheduling",
        actions: 50,
        mix: &[(NewFlow, 30), (Burst, 25), (OldFlow, 20), (Configure, 25)],
        persistent: 0,
        wide: 15,
        ..BASE
    },
    Focus {
        name: "forwarding",
        mix: &[
            (NewFlow, 40),
            (OldFlow, 40),
            (ServerError, 6),
            (Fragments, 8),
            (Odd, 3),
            (Configure, 6),
            (Sysctl, 2),
        ],
        schedulers: PLAIN,
        methods: &['g', 'm', 'i', 'i', 'i'],
        persistent: 0,
        wide: 10,
        v6: 45,
        threshold: 0,
        ..BASE
    },
    Focus {
        name: "persistence",
        mix: &[(NewFlow, 55), (OldFlow, 20), (Configure, 20), (Sysctl, 4)],
        persistent: 100,
        wide: 45,
        ..BASE
    },
    Focus {
        name: "states",
        actions: 90,
        mix: &[(NewFlow, 15), (OldFlow, 78), (Configure, 3), (Sysctl, 4)],
        schedulers: PLAIN,
        protocols: &[TCP, TCP, SCTP, SCTP, UDP],
        methods: &['m', 'm', 'g', 'i'],
        persistent: 10,
        ..BASE
    },
    Focus {
        name: "errors",
        mix: &[
            (NewFlow, 25),
            (OldFlow, 20),
            (ClientError, 25),
            (ServerError, 25),
            (Configure, 4),
            (Sysctl, 3),
        ],
        schedulers: PLAIN,
        persistent: 10,
        v6: 40,
        ..BASE
    },
    Focus {
        name: "odd",
        mix: &[
            (NewFlow, 25),
            (OldFlow, 15),
            (Fragments, 15),
            (Odd, 35),
            (Other, 10),
            (Configure, 3),
            (Sysctl, 2),
        ],
        schedulers: PLAIN,
        methods: &['g', 'm', 'm'],
        persistent: 10,
        ..BASE
    },
    Focus {
        name: "thresholds",
        mix: &[(NewFlow, 50), (OldFlow, 25), (Burst, 8), (Configure, 17)],
        persistent: 30,
        threshold: 90,
        ..BASE
    },
    Focus {
        name: "ftp",
        actions: 14,
        mix: &[
            (Ftp, 80),
            (NewFlow, 5),
            (Configure, 5),
            (ServerError, 5),
            (ClientError, 5),
        ],
        schedulers: PLAIN,
        protocols: &[TCP],
        methods: &['m', 'm', 'm', 'm', 'g'],
        persistent: 15,
        wide: 0,
        threshold: 0,
        // The helper of 6.1.176 loses what comes over IPv6; that of 6.1.192 does not.
        v6: 0,
    },
    Focus {
        name: "sip",
        mix: &[(Sip, 80), (NewFlow, 5), (OldFlow, 10), (Configure, 8)],
        schedulers: PLAIN,
        protocols: &[UDP],
        persistent: 100,
        wide: 0,
        v6: 10,
        ..BASE
    },
    Focus {
        name: "commands",
        actions: 60,
        mix: &[(Line, 100)],
        ..BASE
    },
    Focus {
        name: "timers",
        actions: 40,
        mix: &[(NewFlow, 45), (OldFlow, 40), (Configure, 6), (Wait, 4)],
        ..BASE
    },
];

/// The focus of a name.
pub(crate) fn named(name: &str) -> Option<&'static Focus> {
    FOCUSES.iter().find(|focus| focus.name == name)
}

impl Focus {
    /// Whether its cases run timers out on purpose.
    pub(crate) fn waits(&self) -> bool {
        self.mix.iter().any(|(action, _)| *action == Wait)
    }
}
