//! The options: one table of names and arguments, one of what each command says to each option.

use super::command::Kind;

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Value,
    /// A value unless the next word begins with `-`.
    MaybeValue,
}

/// What an option means. Several options may mean the same kind of thing ([`Check`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Command(Kind),
    Help,
    Version,
    Tcp,
    Udp,
    Sctp,
    Mark,
    Ipv6,
    Scheduler,
    Persistent,
    Netmask,
    Engine,
    SchedulerFlags,
    OnePacket,
    RealServer,
    Gatewaying,
    Ipip,
    Masquerading,
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
    Numeric,
    Connection,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Exact,
    Thresholds,
    PersistentConnections,
    TunnelInfo,
    NoSort,
    Sort,
    SyncId,
    McastInterface,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLength,
}

/// One row of the option table.
#[derive(Clone, Copy, Debug)]
pub(super) struct OptionRow {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
    pub(super) meaning: Meaning,
    /// Which row of [`CHECKS`] it counts as; `None` = allowed everywhere, any number of times.
    pub(super) check: Option<Check>,
}

/// Builds a row.
const fn row(
    long: &'static str,
    short: Option<char>,
    takes: Takes,
    meaning: Meaning,
    check: Option<Check>,
) -> OptionRow {
    OptionRow {
        long,
        short,
        takes,
        meaning,
        check,
    }
}

use Takes::{MaybeValue, Nothing, Value};

/// Every option of ipvsadm.
#[rustfmt::skip]
pub(super) const OPTIONS: &[OptionRow] = &[
    row("add-service", Some('A'), Nothing, Meaning::Command(Kind::AddService), None),
    row("edit-service", Some('E'), Nothing, Meaning::Command(Kind::EditService), None),
    row("delete-service", Some('D'), Nothing, Meaning::Command(Kind::DeleteService), None),
    row("clear", Some('C'), Nothing, Meaning::Command(Kind::Flush), None),
    row("list", Some('L'), Nothing, Meaning::Command(Kind::List), None),
    row("list", Some('l'), Nothing, Meaning::Command(Kind::List), None),
    row("zero", Some('Z'), Nothing, Meaning::Command(Kind::Zero), None),
    row("add-server", Some('a'), Nothing, Meaning::Command(Kind::AddServer), None),
    row("edit-server", Some('e'), Nothing, Meaning::Command(Kind::EditServer), None),
    row("delete-server", Some('d'), Nothing, Meaning::Command(Kind::DeleteServer), None),
    row("set", None, Nothing, Meaning::Command(Kind::Set), None),
    row("restore", Some('R'), Nothing, Meaning::Command(Kind::Restore), None),
    row("save", Some('S'), Nothing, Meaning::Command(Kind::Save), None),
    row("start-daemon", None, Value, Meaning::Command(Kind::StartDaemon), None),
    row("stop-daemon", None, Value, Meaning::Command(Kind::StopDaemon), None),
    row("help", Some('h'), Nothing, Meaning::Help, None),
    row("version", Some('v'), Nothing, Meaning::Version, None),
    row("tcp-service", Some('t'), Value, Meaning::Tcp, Some(Check::Service)),
    row("udp-service", Some('u'), Value, Meaning::Udp, Some(Check::Service)),
    row("sctp-service", None, Value, Meaning::Sctp, Some(Check::Service)),
    row("fwmark-service", Some('f'), Value, Meaning::Mark, Some(Check::Service)),
    row("ipv6", Some('6'), Nothing, Meaning::Ipv6, None),
    row("scheduler", Some('s'), Value, Meaning::Scheduler, Some(Check::Scheduler)),
    row("persistent", Some('p'), MaybeValue, Meaning::Persistent, Some(Check::Persistent)),
    row("netmask", Some('M'), Value, Meaning::Netmask, Some(Check::Netmask)),
    row("pe", None, Value, Meaning::Engine, Some(Check::Engine)),
    row("sched-flags", Some('b'), Value, Meaning::SchedulerFlags, Some(Check::SchedulerFlags)),
    row("ops", Some('o'), Nothing, Meaning::OnePacket, Some(Check::OnePacket)),
    row("real-server", Some('r'), Value, Meaning::RealServer, Some(Check::RealServer)),
    row("gatewaying", Some('g'), Nothing, Meaning::Gatewaying, Some(Check::Forwarding)),
    row("ipip", Some('i'), Nothing, Meaning::Ipip, Some(Check::Forwarding)),
    row("masquerading", Some('m'), Nothing, Meaning::Masquerading, Some(Check::Forwarding)),
    row("weight", Some('w'), Value, Meaning::Weight, Some(Check::Weight)),
    row("u-threshold", Some('x'), Value, Meaning::UpperThreshold, Some(Check::UpperThreshold)),
    row("l-threshold", Some('y'), Value, Meaning::LowerThreshold, Some(Check::LowerThreshold)),
    row("tun-type", None, Value, Meaning::TunnelType, Some(Check::TunnelType)),
    row("tun-port", None, Value, Meaning::TunnelPort, Some(Check::TunnelPort)),
    row("tun-nocsum", None, Nothing, Meaning::TunnelNoChecksum, Some(Check::TunnelNoChecksum)),
    row("tun-csum", None, Nothing, Meaning::TunnelChecksum, Some(Check::TunnelChecksum)),
    row("tun-remcsum", None, Nothing, Meaning::TunnelRemoteChecksum, Some(Check::TunnelRemoteChecksum)),
    row("numeric", Some('n'), Nothing, Meaning::Numeric, Some(Check::Numeric)),
    row("connection", Some('c'), Nothing, Meaning::Connection, Some(Check::Connection)),
    row("timeout", None, Nothing, Meaning::Timeout, Some(Check::Timeout)),
    row("daemon", None, Nothing, Meaning::Daemon, Some(Check::Daemon)),
    row("stats", None, Nothing, Meaning::Stats, Some(Check::Stats)),
    row("rate", None, Nothing, Meaning::Rate, Some(Check::Rate)),
    row("exact", Some('X'), Nothing, Meaning::Exact, Some(Check::Exact)),
    row("thresholds", None, Nothing, Meaning::Thresholds, Some(Check::Thresholds)),
    row("persistent-conn", None, Nothing, Meaning::PersistentConnections, Some(Check::PersistentConnections)),
    row("tun-info", None, Nothing, Meaning::TunnelInfo, Some(Check::TunnelInfo)),
    row("nosort", None, Nothing, Meaning::NoSort, Some(Check::NoSort)),
    row("sort", None, Nothing, Meaning::Sort, None),
    row("syncid", None, Value, Meaning::SyncId, Some(Check::SyncId)),
    row("mcast-interface", None, Value, Meaning::McastInterface, Some(Check::McastInterface)),
    row("mcast-group", None, Value, Meaning::McastGroup, Some(Check::McastGroup)),
    row("mcast-port", None, Value, Meaning::McastPort, Some(Check::McastPort)),
    row("mcast-ttl", None, Value, Meaning::McastTtl, Some(Check::McastTtl)),
    row("sync-maxlen", None, Value, Meaning::SyncMaxLength, Some(Check::SyncMaxLength)),
];

/// What may be given once, in the order in which ipvsadm checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    Forwarding,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConnections,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    Engine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLength,
    TunnelInfo,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
}

/// Name of each [`Check`], and what each command ([`Kind`], in its order) says to it:
/// `+` must be given, `.` may, `x` must not, `1` at most one of these.
pub(super) const CHECKS: &[(Check, &str, &str)] = &[
    //                                                        AEDCLadeXSPRWZ
    (Check::Numeric, "numeric", "xxxx.xxxxxxx.x"),
    (Check::Connection, "connection", "xxxx1xxxxxxxxx"),
    (Check::Service, "service-address", "+++x1+++xxxxx."),
    (Check::Scheduler, "scheduler", "..xxxxxxxxxxxx"),
    (Check::Persistent, "persistent", "..xxxxxxxxxxxx"),
    (Check::Netmask, "netmask", "..xxxxxxxxxxxx"),
    (Check::RealServer, "real-server", "xxxxx+++xxxxxx"),
    (Check::Forwarding, "forwarding-method", "xxxxx.x.xxxxxx"),
    (Check::Weight, "weight", "xxxxx.x.xxxxxx"),
    (Check::UpperThreshold, "u-threshold", "xxxxx.x.xxxxxx"),
    (Check::LowerThreshold, "l-threshold", "xxxxx.x.xxxxxx"),
    (Check::McastInterface, "mcast-interface", "xxxxxxxxx.xxxx"),
    (Check::Timeout, "timeout", "xxxx1xxxxxxxxx"),
    (Check::Daemon, "daemon", "xxxx1xxxxxxxxx"),
    (Check::Stats, "stats", "xxxx.xxxxxxxxx"),
    (Check::Rate, "rate", "xxxx.xxxxxxxxx"),
    (Check::Thresholds, "thresholds", "xxxx.xxxxxxxxx"),
    (
        Check::PersistentConnections,
        "persistent-conn",
        "xxxx.xxxxxxxxx",
    ),
    (Check::NoSort, "nosort", "xxxx.xxxxxxxxx"),
    (Check::SyncId, "syncid", "xxxx.xxxx..xxx"),
    (Check::Exact, "exact", "xxxx.xxxxxxxxx"),
    (Check::OnePacket, "ops", "..xxxxxxxxxxxx"),
    (Check::Engine, "pe", "..xxxxxxxxxxxx"),
    (Check::SchedulerFlags, "sched-flags", "..xxxxxxxxxxxx"),
    (Check::McastGroup, "mcast-group", "xxxxxxxxx.xxxx"),
    (Check::McastPort, "mcast-port", "xxxxxxxxx.xxxx"),
    (Check::McastTtl, "mcast-ttl", "xxxxxxxxx.xxxx"),
    (Check::SyncMaxLength, "sync-maxlen", "xxxxxxxxx.xxxx"),
    (Check::TunnelInfo, "tun-info", "xxxx.xxxxxxxxx"),
    (Check::TunnelType, "tun-type", "xxxxx.x.xxxxxx"),
    (Check::TunnelPort, "tun-port", "xxxxx.x.xxxxxx"),
    (Check::TunnelNoChecksum, "tun-nocsum", "xxxxx.x.xxxxxx"),
    (Check::TunnelChecksum, "tun-csum", "xxxxx.x.xxxxxx"),
    (Check::TunnelRemoteChecksum, "tun-remcsum", "xxxxx.x.xxxxxx"),
];

/// What each tunnel type (ipip, gue, gre) says to the tunnel options, as in [`CHECKS`].
pub(super) const TUNNEL_CHECKS: &[(Check, &str, &str)] = &[
    (Check::TunnelPort, "tun-port", "x+x"),
    (Check::TunnelNoChecksum, "tun-nocsum", "x11"),
    (Check::TunnelChecksum, "tun-csum", "x11"),
    (Check::TunnelRemoteChecksum, "tun-remcsum", "x1x"),
];

impl Check {
    /// The name that messages use.
    pub(super) fn name(self) -> &'static str {
        CHECKS
            .iter()
            .find(|(check, ..)| *check == self)
            .map_or("", |(_, name, _)| name)
    }
}
