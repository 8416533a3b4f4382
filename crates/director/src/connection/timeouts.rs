//! How long a connection lives in each state without a packet.

use super::{sctp, tcp};

/// Timeouts of all states, seconds (kernel: the per-protocol timeout tables; BEHAVIOURS 25).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, by [`tcp::State`] number.
    pub tcp: [u32; tcp::STATES],
    /// UDP.
    pub udp: u32,
    /// SCTP, by [`sctp::State`] number.
    pub sctp: [u32; sctp::STATES],
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: tcp::TIMEOUTS,
            udp: super::udp::TIMEOUT,
            sctp: sctp::TIMEOUTS,
        }
    }
}

impl Timeouts {
    /// What `ipvsadm --set TCP TCPFIN UDP` does: ESTABLISHED, FIN_WAIT (not TIME_WAIT nor CLOSE_WAIT) and UDP, seconds;
    /// 0 leaves a timeout as it is.
    pub fn set(&mut self, established: u32, fin_wait: u32, udp: u32) {
        let set = |timeout: &mut u32, seconds| {
            if seconds != 0 {
                *timeout = seconds;
            }
        };
        set(&mut self.tcp[tcp::State::Established as usize], established);
        set(&mut self.tcp[tcp::State::FinWait as usize], fin_wait);
        set(&mut self.udp, udp);
    }

    /// What `ipvsadm -L --timeout` shows: TCP ESTABLISHED, TCP FIN_WAIT and UDP, seconds.
    #[must_use]
    pub const fn shown(&self) -> (u32, u32, u32) {
        (
            self.tcp[tcp::State::Established as usize],
            self.tcp[tcp::State::FinWait as usize],
            self.udp,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_leaves_zeroes_alone() {
        let mut timeouts = Timeouts::default();
        assert_eq!(timeouts.shown(), (900, 120, 300));
        timeouts.set(0, 7, 0);
        assert_eq!(timeouts.shown(), (900, 7, 300));
        assert_eq!(timeouts.tcp[tcp::State::TimeWait as usize], 120);
        assert_eq!(timeouts.tcp[tcp::State::CloseWait as usize], 60);
        timeouts.set(100, 0, 12);
        assert_eq!(timeouts.shown(), (100, 7, 12));
    }
}
