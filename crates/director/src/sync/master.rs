//! The master's side: which packets of a connection queue a message.

use std::sync::Arc;

use super::Entry;
use crate::connection::{ConnectionId, State, sctp, tcp};
use crate::director::{Batch, Worker};
use crate::frame::Output;
use crate::sysctl::{Sysctl, Sysctls};
use crate::template::Template;
use crate::time::Instant;

/// Nanoseconds in a unit of [`Mark`]'s time: four ticks of the recorded kernel, which keeps the retries in the two
/// lowest bits of a time in ticks.
const UNIT_NANOS: u64 = 40_000_000;
/// Units in a second.
const UNITS_PER_SECOND: u32 = 25;
/// Bits of a [`Mark`] below the time.
const TIME_SHIFT: u32 = 6;
/// Bits of the retries, above those of the state.
const RETRIES_SHIFT: u32 = 4;
const RETRIES_MASK: u32 = 0b11;
const STATE_MASK: u32 = 0b1111;
/// Least difference of lifetimes that is worth a message, units.
const LEAST_DIFFERENCE: u32 = 10 * UNITS_PER_SECOND;

/// What was told last about a connection: its state (4 bits), how often it was repeated (2 bits), and when the
/// backup's copy ends (26 bits, modulo 31 days). The default is: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl Mark {
    fn new(state: u8, retries: u32, end: u32) -> Self {
        Self(end << TIME_SHIFT | (retries & RETRIES_MASK) << RETRIES_SHIFT | u32::from(state))
    }

    /// The mark of these bits ([`Mark::bits`]).
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Nothing but the state was told, by another director.
    pub(crate) fn of_state(state: u8) -> Self {
        Self::new(state, 0, 0)
    }

    const fn state(self) -> u32 {
        self.0 & STATE_MASK
    }

    const fn retries(self) -> u32 {
        self.0 >> RETRIES_SHIFT & RETRIES_MASK
    }

    /// By how many units `end` is later than the end that was told; modulo 31 days.
    fn lead_of(self, end: u32) -> i32 {
        // Both times without their 6 highest bits, which the mark has no room for.
        let told = self.0 & !((1 << TIME_SHIFT) - 1);
        (end << TIME_SHIFT).wrapping_sub(told).cast_signed() >> TIME_SHIFT
    }
}

/// The `sync_*` settings that decide.
#[derive(Clone, Copy, Debug)]
struct Rules {
    threshold: i64,
    period: i64,
    /// Units; 0 = off.
    refresh: u32,
    retries: u32,
    /// Connections under a template are not told.
    templates_only: bool,
}

impl Rules {
    fn of(sysctls: &Sysctls) -> Self {
        let number = |sysctl| u32::try_from(sysctls.get(sysctl)).unwrap_or(0);
        Self {
            threshold: sysctls.get(Sysctl::SyncThreshold).into(),
            period: sysctls.sync_period().into(),
            refresh: number(Sysctl::SyncRefreshPeriod).saturating_mul(UNITS_PER_SECOND),
            retries: number(Sysctl::SyncRetries),
            templates_only: sysctls.is_on(Sysctl::SyncPersistMode),
        }
    }
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
struct Subject {
    /// None for a template.
    state: Option<State>,
    is_under_template: bool,
    /// Packets so far, this one included.
    packets: u32,
    /// Seconds.
    timeout: u32,
}

/// Whether a packet has to be told (kernel: `ip_vs_sync_conn_needed`), and the mark to keep then.
fn needed(subject: &Subject, mark: Mark, rules: &Rules, now: Instant) -> Option<Mark> {
    if subject.state.is_some() && rules.templates_only && subject.is_under_template {
        return None;
    }
    let changed = match subject.state {
        Some(state) => {
            if !is_told(state) {
                return None;
            }
            u32::from(state.number()) != mark.state()
        }
        None => false,
    };
    let state = subject.state.map_or(0, State::number);
    let units = u32::try_from((now.as_nanos() / UNIT_NANOS) & u64::from(u32::MAX)).unwrap_or(0);
    let end = units.wrapping_add(subject.timeout.saturating_mul(UNITS_PER_SECOND));
    if changed && !subject.state.is_some_and(is_established) {
        return Some(Mark::new(state, 0, end));
    }
    let mut retries = 0;
    if rules.refresh > 0 && mark != Mark::default() {
        let timeout = subject.timeout.saturating_mul(UNITS_PER_SECOND);
        let least = rules.refresh.min((timeout / 2).max(LEAST_DIFFERENCE));
        let lead = mark.lead_of(end);
        if lead.unsigned_abs() < least {
            // With the same lifetime as then, the lead is the time since the last message.
            let is_early = i64::from(lead) < i64::from(rules.refresh / 8);
            if mark.retries() >= rules.retries || is_early {
                return None;
            }
            retries = mark.retries() + 1;
        }
    }
    let packets = i64::from(subject.packets);
    let is_due = if rules.period > 0 {
        subject.state.is_none() || packets % rules.period == rules.threshold
    } else {
        rules.refresh > 0 || packets == rules.threshold
    };
    is_due.then(|| Mark::new(state, retries, end))
}

/// Whether connections in this state are told at all.
const fn is_told(state: State) -> bool {
    match state {
        State::Tcp(state) => matches!(
            state,
            tcp::State::Established
                | tcp::State::FinWait
                | tcp::State::Close
                | tcp::State::CloseWait
                | tcp::State::TimeWait
        ),
        State::Udp => true,
        State::Sctp(state) => matches!(
            state,
            sctp::State::Established
                | sctp::State::ShutdownSent
                | sctp::State::ShutdownReceived
                | sctp::State::ShutdownAckSent
                | sctp::State::Closed
        ),
    }
}

/// Whether data may flow. A change to it is not told at once, but by the count of packets; UDP has no changes.
const fn is_established(state: State) -> bool {
    matches!(
        state,
        State::Tcp(tcp::State::Established) | State::Sctp(sctp::State::Established) | State::Udp
    )
}

impl Worker {
    /// Queues what has to be told after a client's packet: its connection, then the connection's template. Version 0
    /// has no IPv6, and tells a template only together with its connection.
    pub(crate) fn tell(&mut self, batch: &Batch<'_>, id: ConnectionId, output: &mut Output<'_>) {
        if !self.shared.sync.is_master() {
            return;
        }
        let is_old = self.is_version_0();
        let rules = Rules::of(&self.shared.sysctls);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if is_old && connection.client().0.is_ipv6() {
            return;
        }
        let subject = Subject {
            state: Some(connection.state()),
            is_under_template: connection.template().is_some(),
            packets: connection.packets(),
            timeout: connection.timeout(),
        };
        if let Some(mark) = needed(&subject, connection.told(), &rules, batch.now) {
            connection.set_told(mark);
            output.told.push(Entry::of_connection(connection));
        } else if is_old {
            return;
        }
        if let Some(template) = connection.template() {
            let (template, mark) = (Arc::clone(template), connection.mark());
            tell_template(&template, mark, &rules, batch.now, output);
        }
    }

    /// Queues what has to be told about the template of a connection that ended with its first packet.
    pub(crate) fn tell_one_packet(
        &self,
        batch: &Batch<'_>,
        template: Option<&Arc<Template>>,
        mark: u32,
        output: &mut Output<'_>,
    ) {
        if let Some(template) = template
            && self.shared.sync.is_master()
            && !self.is_version_0()
        {
            let rules = Rules::of(&self.shared.sysctls);
            tell_template(template, mark, &rules, batch.now, output);
        }
    }

    fn is_version_0(&self) -> bool {
        !self.shared.sysctls.is_on(Sysctl::SyncVersion)
    }
}

fn tell_template(
    template: &Template,
    mark: u32,
    rules: &Rules,
    now: Instant,
    output: &mut Output<'_>,
) {
    let subject = Subject {
        state: None,
        is_under_template: false,
        packets: template.count_packet(),
        timeout: u32::try_from(template.timeout().as_secs()).unwrap_or(u32::MAX),
    };
    if let Some(told) = needed(&subject, template.told(), rules, now) {
        template.set_told(told);
        output.told.push(Entry::of_template(template, mark));
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::protocol::Protocol;

    const ESTABLISHED: State = State::Tcp(tcp::State::Established);

    fn subject(state: Option<State>, packets: u32) -> Subject {
        Subject {
            state,
            is_under_template: false,
            packets,
            timeout: 900,
        }
    }

    fn rules(threshold: i64, period: i64) -> Rules {
        Rules {
            threshold,
            period,
            refresh: 0,
            retries: 0,
            templates_only: false,
        }
    }

    /// The packets, by number, of a connection in this state that are told.
    fn told(state: State, rules: &Rules, packets: u32) -> Vec<u32> {
        let mut mark = Mark::default();
        let is_told = |&number: &u32| {
            let next = needed(&subject(Some(state), number), mark, rules, Instant::START);
            mark = next.unwrap_or(mark);
            next.is_some()
        };
        (1..=packets).filter(is_told).collect()
    }

    #[test]
    fn established_connections_are_told_by_the_count_of_packets() {
        assert_eq!(told(ESTABLISHED, &rules(3, 50), 110), [3, 53, 103]);
        assert_eq!(told(ESTABLISHED, &rules(1, 2), 6), [1, 3, 5]);
        assert_eq!(told(State::Udp, &rules(3, 0), 60), [3]);
        assert_eq!(told(State::first(Protocol::Tcp), &rules(1, 2), 6), []);
    }

    #[test]
    fn a_change_of_state_is_told_at_once() {
        let closing = State::Tcp(tcp::State::CloseWait);
        assert_eq!(told(closing, &rules(3, 50), 10), [1, 3]);
    }

    #[test]
    fn templates_are_told_with_every_packet_and_may_be_all_that_is_told() {
        let at = Instant::START;
        for number in 1..5 {
            let template = subject(None, number);
            assert!(needed(&template, Mark::default(), &rules(3, 50), at).is_some());
        }
        let rules = Rules {
            templates_only: true,
            ..rules(1, 2)
        };
        let under = Subject {
            is_under_template: true,
            ..subject(Some(ESTABLISHED), 1)
        };
        assert!(needed(&under, Mark::default(), &rules, at).is_none());
    }

    #[test]
    fn with_a_refresh_period_messages_are_rare_and_repeated() {
        let rules = Rules {
            refresh: 60 * UNITS_PER_SECOND,
            retries: 1,
            ..rules(3, 0)
        };
        let mut mark = Mark::default();
        let mut times = Vec::new();
        for second in 0..150 {
            let now = Instant::START.after(Duration::from_secs(1_000_000 + second));
            let next = needed(&subject(Some(ESTABLISHED), 7), mark, &rules, now);
            if let Some(next) = next {
                mark = next;
                times.push(second);
            }
        }
        assert_eq!(times, [0, 8, 68, 76, 136, 144]);
    }

    #[test]
    fn a_mark_keeps_its_parts() {
        let mark = Mark::new(13, 2, 1000);
        assert_eq!((mark.state(), mark.retries()), (13, 2));
        assert_eq!([1000, 1007, 990].map(|end| mark.lead_of(end)), [0, 7, -10]);
        assert_eq!(Mark::from_bits(mark.bits()), mark);
    }
}
