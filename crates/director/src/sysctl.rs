//! The `net.ipv4.vs.*` settings: names, defaults and ranges of kernel 6.1.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use core::time::Duration;

/// A setting. `sync_threshold` has a second value, in [`Sysctls::sync_period`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Sysctl {
    /// Available memory threshold of the defences, pages.
    Amemthresh,
    /// One in so many packets is dropped by `drop_packet` 3.
    AmDroprate,
    /// Only backup: no scheduling while the backup daemon runs.
    BackupOnly,
    /// Send packets of firewall-mark services without real servers on to their destination.
    CacheBypass,
    /// What a SYN on a closing connection does.
    ConnReuseMode,
    /// Maintain kernel connection tracking entries.
    Conntrack,
    /// Defence: drop random entries (0 never, 1 when memory is short, 2 automatic, 3 always).
    DropEntry,
    /// Defence: drop the first packets of new connections.
    DropPacket,
    /// Expire connections whose real server was deleted at once.
    ExpireNodestConn,
    /// Make a new template when the template's real server has weight 0.
    ExpireQuiescentTemplate,
    /// Do not schedule packets that came out of a tunnel.
    IgnoreTunneled,
    /// Seconds an unused `lblc` entry is kept.
    LblcExpiration,
    /// Seconds an unused `lblcr` entry is kept.
    LblcrExpiration,
    /// Answer NAT replies without a connection with ICMP port unreachable.
    NatIcmpSend,
    /// Path MTU discovery in tunnels.
    PmtuDisc,
    /// Run the rate estimators.
    RunEstimation,
    /// Schedule ICMP errors that belong to no connection.
    ScheduleIcmp,
    /// Defence: stricter TCP states and timeouts.
    SecureTcp,
    /// Schedule any SCTP chunk.
    SloppySctp,
    /// Schedule any TCP segment but RST.
    SloppyTcp,
    /// Route NAT replies anew.
    SnatReroute,
    /// Do not synchronise templates' connections.
    SyncPersistMode,
    /// Synchronisation threads.
    SyncPorts,
    /// Most synchronisation messages in the queue.
    SyncQlenMax,
    /// Seconds between repeated synchronisation messages.
    SyncRefreshPeriod,
    /// How often a synchronisation message is repeated.
    SyncRetries,
    /// Socket buffer of synchronisation, octets.
    SyncSockSize,
    /// Packets before the first synchronisation message, and between further ones.
    SyncThreshold,
    /// Version of synchronisation messages.
    SyncVersion,
}

/// Which values a setting takes.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Any number.
    Any,
    /// From 0 to this one.
    UpTo(i32),
    /// Powers of two.
    PowerOfTwo,
    /// Seconds that the kernel can count in ticks, negative ones too.
    Seconds,
    /// Two numbers from 0 on, the second 0 or above the first.
    Threshold,
    /// A number from 0 to the largest of 64 bits.
    Unsigned,
}

/// A setting's name and default.
#[derive(Debug)]
pub struct SysctlEntry {
    /// The setting.
    pub sysctl: Sysctl,
    /// Name behind `net.ipv4.vs.`.
    pub name: &'static str,
    /// Value at start.
    pub default: i32,
    values: Values,
}

const fn entry(sysctl: Sysctl, name: &'static str, default: i32, values: Values) -> SysctlEntry {
    SysctlEntry {
        sysctl,
        name,
        default,
        values,
    }
}

impl SysctlEntry {
    /// Why the setting does nothing here, in one sentence; `None` for those that have their effect.
    #[must_use]
    pub const fn without_effect(&self) -> Option<&'static str> {
        match self.sysctl {
            Sysctl::CacheBypass => {
                Some("no effect: packets to other hosts, which could be sent on, are not balanced")
            }
            Sysctl::Conntrack => {
                Some("no effect: netfilter's connection tracking does not see the packets")
            }
            Sysctl::IgnoreTunneled => {
                Some("no effect: packets are read before any tunnel device opens them")
            }
            Sysctl::SnatReroute => {
                Some("no effect but on recorded routes: replies are not routed by their source")
            }
            Sysctl::SyncPorts => Some("no effect: one socket carries all synchronisation messages"),
            Sysctl::SyncSockSize => Some("no effect: the sockets have the system's buffer sizes"),
            _ => None,
        }
    }
}

/// Every setting, by name.
pub const SYSCTLS: &[SysctlEntry] = {
    use Sysctl as S;
    use Values::{Any, PowerOfTwo, Seconds, Threshold, Unsigned, UpTo};
    &[
        entry(S::Amemthresh, "amemthresh", 1024, Any),
        entry(S::AmDroprate, "am_droprate", 10, Any),
        entry(S::BackupOnly, "backup_only", 0, Any),
        entry(S::CacheBypass, "cache_bypass", 0, Any),
        entry(S::ConnReuseMode, "conn_reuse_mode", 1, Any),
        entry(S::Conntrack, "conntrack", 0, Any),
        entry(S::DropEntry, "drop_entry", 0, UpTo(3)),
        entry(S::DropPacket, "drop_packet", 0, UpTo(3)),
        entry(S::ExpireNodestConn, "expire_nodest_conn", 0, Any),
        entry(
            S::ExpireQuiescentTemplate,
            "expire_quiescent_template",
            0,
            Any,
        ),
        entry(S::IgnoreTunneled, "ignore_tunneled", 0, Any),
        entry(S::LblcExpiration, "lblc_expiration", 86_400, Seconds),
        entry(S::LblcrExpiration, "lblcr_expiration", 86_400, Seconds),
        entry(S::NatIcmpSend, "nat_icmp_send", 0, Any),
        entry(S::PmtuDisc, "pmtu_disc", 1, Any),
        entry(S::RunEstimation, "run_estimation", 1, Any),
        entry(S::ScheduleIcmp, "schedule_icmp", 0, Any),
        entry(S::SecureTcp, "secure_tcp", 0, UpTo(3)),
        entry(S::SloppySctp, "sloppy_sctp", 0, Any),
        entry(S::SloppyTcp, "sloppy_tcp", 0, Any),
        entry(S::SnatReroute, "snat_reroute", 1, Any),
        entry(S::SyncPersistMode, "sync_persist_mode", 0, Any),
        entry(S::SyncPorts, "sync_ports", 1, PowerOfTwo),
        entry(S::SyncQlenMax, "sync_qlen_max", QUEUE_MAX, Unsigned),
        entry(S::SyncRefreshPeriod, "sync_refresh_period", 0, Seconds),
        entry(S::SyncRetries, "sync_retries", 0, UpTo(3)),
        entry(S::SyncSockSize, "sync_sock_size", 0, Any),
        entry(S::SyncThreshold, "sync_threshold", 3, Threshold),
        entry(S::SyncVersion, "sync_version", 1, UpTo(1)),
    ]
};

/// What all names begin with.
pub const PREFIX: &str = "net.ipv4.vs.";
/// Second value of `sync_threshold` at start.
const SYNC_PERIOD: i32 = 50;
/// `sync_qlen_max` at start; the kernel has a 32nd of its free memory's pages there.
const QUEUE_MAX: i32 = 3831;
/// The longest time that the recorded kernel (100 ticks a second) counts, seconds.
pub(crate) const LONGEST_SECONDS: i32 = i32::MAX / 100;

/// Why a setting was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SysctlError {
    /// There is no setting of this name.
    #[error("there is no sysctl named {name}")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The value is not of the setting's kind or range (EINVAL).
    #[error("{value:?} is not a value of {name}")]
    Invalid {
        /// Name of the setting.
        name: &'static str,
        /// The value given.
        value: String,
    },
}

/// Values of all settings, shared by all workers.
#[derive(Debug)]
pub struct Sysctls {
    values: [AtomicI32; SYSCTLS.len()],
    sync_period: AtomicI32,
    queue_max: AtomicU64,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            values: core::array::from_fn(|index| AtomicI32::new(SYSCTLS[index].default)),
            sync_period: AtomicI32::new(SYNC_PERIOD),
            queue_max: AtomicU64::new(QUEUE_MAX.unsigned_abs().into()),
        }
    }
}

impl Sysctls {
    /// The same values, for a dry run.
    pub(crate) fn fork(&self) -> Self {
        Self {
            values: core::array::from_fn(|index| AtomicI32::new(self.values[index].load(Relaxed))),
            sync_period: AtomicI32::new(self.sync_period()),
            queue_max: AtomicU64::new(self.queue_max()),
        }
    }

    /// Value now (the first of two; of `sync_qlen_max`, see [`Sysctls::queue_max`]).
    #[must_use]
    pub fn get(&self, sysctl: Sysctl) -> i32 {
        self.values[sysctl as usize].load(Relaxed)
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn is_on(&self, sysctl: Sysctl) -> bool {
        self.get(sysctl) != 0
    }

    /// Second value of `sync_threshold`: packets between synchronisation messages of a connection.
    #[must_use]
    pub fn sync_period(&self) -> i32 {
        self.sync_period.load(Relaxed)
    }

    /// `sync_qlen_max`: most synchronisation messages that wait to be sent.
    #[must_use]
    pub fn queue_max(&self) -> u64 {
        self.queue_max.load(Relaxed)
    }

    /// A time in seconds; a negative one is over at once.
    #[must_use]
    pub fn seconds(&self, sysctl: Sysctl) -> Duration {
        Duration::from_secs(u64::try_from(self.get(sysctl)).unwrap_or(0))
    }

    /// The value of the setting called `name` (with or without [`PREFIX`]), as `sysctl -n` prints it.
    ///
    /// # Errors
    /// [`SysctlError::Unknown`].
    pub fn read(&self, name: &str) -> Result<String, SysctlError> {
        let entry = find(name)?;
        let value = self.get(entry.sysctl);
        Ok(match entry.values {
            Values::Threshold => format!("{value}\t{}", self.sync_period()),
            Values::Unsigned => self.queue_max().to_string(),
            _ => value.to_string(),
        })
    }

    /// Sets the setting called `name` (with or without [`PREFIX`]), as a write to its file in `/proc/sys` does: decimal,
    /// octal (`010`) and hexadecimal numbers (`0x10`) between white space; what follows the last number is ignored.
    /// A running director's are set by [`crate::shared::Shared::set_sysctl`], so that its defences follow.
    ///
    /// # Errors
    /// [`SysctlError`]; the setting keeps its value.
    pub fn write(&self, name: &str, value: &str) -> Result<(), SysctlError> {
        let entry = find(name)?;
        self.write_entry(entry, value)
            .ok_or_else(|| SysctlError::Invalid {
                name: entry.name,
                value: value.to_owned(),
            })
    }

    fn write_entry(&self, entry: &SysctlEntry, value: &str) -> Option<()> {
        let (first, rest) = Number::parse(value)?;
        match entry.values {
            Values::Unsigned => {
                let limit = (!first.is_negative).then_some(first.magnitude)?;
                self.queue_max.store(limit, Relaxed);
                return Some(());
            }
            Values::Threshold => {
                let period = match rest.trim_start().is_empty() {
                    true => self.sync_period(),
                    false => Number::parse(rest)?.0.to_int()?,
                };
                let threshold = first.to_int()?;
                if threshold < 0 || period < 0 || (threshold >= period && period != 0) {
                    return None;
                }
                self.sync_period.store(period, Relaxed);
            }
            _ => {}
        }
        let first = first.to_int()?;
        let allowed = match entry.values {
            Values::UpTo(last) => (0..=last).contains(&first),
            Values::PowerOfTwo => first > 0 && first.unsigned_abs().is_power_of_two(),
            Values::Seconds => (-LONGEST_SECONDS..=LONGEST_SECONDS).contains(&first),
            Values::Any | Values::Unsigned | Values::Threshold => true,
        };
        allowed.then(|| self.set(entry.sysctl, first))
    }

    /// Sets a setting to a value that is known to be allowed.
    pub(crate) fn set(&self, sysctl: Sysctl, value: i32) {
        self.values[sysctl as usize].store(value, Relaxed);
    }
}

/// A number as written to a file in `/proc/sys`.
#[derive(Clone, Copy, Debug)]
struct Number {
    is_negative: bool,
    magnitude: u64,
}

impl Number {
    /// Octets of the longest number that the kernel reads.
    const LEN_MAX: usize = 20;

    /// The number at the head of `text` behind white space, and what follows it; none where there is none, or where
    /// something but white space follows it at once.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let text = text.trim_ascii_start();
        let end = text.find([' ', '\t', '\n']).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        if number.len() > Self::LEN_MAX {
            return None;
        }
        let (is_negative, digits) = match number.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, number),
        };
        if !digits.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let (digits, radix) = match digits.get(..2) {
            Some("0x" | "0X") => (digits.get(2..)?, 16),
            Some(_) if digits.starts_with('0') => (digits, 8),
            _ => (digits, 10),
        };
        // A sign here would be a second one.
        let digits = (!digits.starts_with('+')).then_some(digits)?;
        let magnitude = u64::from_str_radix(digits, radix).ok()?;
        let number = Self {
            is_negative,
            magnitude,
        };
        Some((number, rest))
    }

    fn to_int(self) -> Option<i32> {
        let magnitude = i64::try_from(self.magnitude).ok()?;
        let value = if self.is_negative {
            -magnitude
        } else {
            magnitude
        };
        i32::try_from(value).ok()
    }
}

/// The setting called `name` (with or without [`PREFIX`]).
///
/// # Errors
/// [`SysctlError::Unknown`].
pub fn find(name: &str) -> Result<&'static SysctlEntry, SysctlError> {
    let short = name.strip_prefix(PREFIX).unwrap_or(name);
    let found = SYSCTLS.iter().find(|entry| entry.name == short);
    found.ok_or_else(|| SysctlError::Unknown {
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_at_their_own_index() {
        for (index, entry) in SYSCTLS.iter().enumerate() {
            assert_eq!(entry.sysctl as usize, index, "{}", entry.name);
        }
    }

    /// [noservice.sysctl_values].
    #[test]
    fn defence_modes_reach_from_0_to_3() {
        let sysctls = Sysctls::default();
        for name in ["drop_entry", "net.ipv4.vs.drop_packet", "secure_tcp"] {
            for value in ["0", "1", "2", "3"] {
                assert_eq!(sysctls.write(name, value), Ok(()));
            }
            for value in ["4", "-1", "x", "", "1,2"] {
                assert!(sysctls.write(name, value).is_err(), "{value:?}");
            }
            assert_eq!(sysctls.read(name).as_deref(), Ok("3"));
        }
    }

    #[test]
    fn the_sync_threshold_is_two_numbers() {
        let sysctls = Sysctls::default();
        assert_eq!(sysctls.read("sync_threshold").as_deref(), Ok("3\t50"));
        assert!(sysctls.write("sync_threshold", "60").is_err());
        assert_eq!(sysctls.write("sync_threshold", "60 100"), Ok(()));
        assert_eq!(sysctls.write("sync_threshold", "7 0\n"), Ok(()));
        assert_eq!(sysctls.read("sync_threshold").as_deref(), Ok("7\t0"));
        assert_eq!(sysctls.write("sync_threshold", "1 2 3"), Ok(()));
        assert!(sysctls.write("sync_threshold", "1 x").is_err());
        assert_eq!(sysctls.read("sync_threshold").as_deref(), Ok("1\t2"));
    }

    #[test]
    fn unknown_names_are_told_apart() {
        let sysctls = Sysctls::default();
        assert!(matches!(
            sysctls.write("drop_entries", "1"),
            Err(SysctlError::Unknown { .. })
        ));
    }
}
