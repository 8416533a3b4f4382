//! What a running daemon uses, as lines of text: written by the daemon, read by `ulvs doctor`.

use std::fmt;
use std::net::IpAddr;

/// The name of the text in a request ([`control::netlink::Request::DumpText`]).
pub const NAME: &str = "ulvs_status";

/// What a daemon uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Threads that forward packets.
    pub workers: usize,
    /// Longest window of busy polling, microseconds; 0 = none.
    pub busy_poll: u64,
    /// How the kernel is kept silent; `None` = there is no guard.
    pub guard: Option<String>,
    /// Interfaces that it works on, each with the name of its kind of link.
    pub interfaces: Vec<(String, String)>,
    /// Those whose kind of link has a choice, each with how it is done.
    pub details: Vec<(String, String)>,
    /// Those whose receive aggregation it turned on.
    pub gro: Vec<String>,
    /// Those on which the kernel sends on established flows by itself.
    pub assist: Vec<String>,
    /// VIPs, and whether the host's kernel (true) or ulvs answers for them.
    pub vips: Vec<(IpAddr, bool)>,
}

const LOCAL: &str = "local";
const OWNED: &str = "owned";

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "workers {}", self.workers)?;
        writeln!(f, "busy_poll {}", self.busy_poll)?;
        if let Some(guard) = &self.guard {
            writeln!(f, "guard {guard}")?;
        }
        for (name, link) in &self.interfaces {
            writeln!(f, "interface {name} {link}")?;
        }
        for (name, detail) in &self.details {
            writeln!(f, "detail {name} {detail}")?;
        }
        for name in &self.gro {
            writeln!(f, "gro {name}")?;
        }
        for name in &self.assist {
            writeln!(f, "assist {name}")?;
        }
        for (vip, local) in &self.vips {
            writeln!(f, "vip {vip} {}", if *local { LOCAL } else { OWNED })?;
        }
        Ok(())
    }
}

impl Status {
    /// The kind of link that it uses on an interface; `None` = it does not work on that one.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&str> {
        let mut interfaces = self.interfaces.iter();
        interfaces
            .find(|(interface, _)| interface == name)
            .map(|(_, link)| link.as_str())
    }

    /// Reads the text; lines that this version does not know are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "workers" => status.workers = value.parse().unwrap_or_default(),
                "busy_poll" => status.busy_poll = value.parse().unwrap_or_default(),
                "guard" => status.guard = Some(value.to_owned()),
                "interface" => status.interfaces.extend(pair(value)),
                "detail" => status.details.extend(pair(value)),
                "gro" => status.gro.push(value.to_owned()),
                "assist" => status.assist.push(value.to_owned()),
                "vip" => status.vips.extend(value.split_once(' ').and_then(vip)),
                _ => {}
            }
        }
        status
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, rest) = text.split_once(' ')?;
    Some((name.to_owned(), rest.to_owned()))
}

fn vip((address, answer): (&str, &str)) -> Option<(IpAddr, bool)> {
    Some((address.parse().ok()?, answer == LOCAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let status = Status {
            workers: 3,
            busy_poll: 50,
            guard: Some("TCX".into()),
            interfaces: vec![
                ("eth0".into(), "af_packet".into()),
                ("ulvs0".into(), "tun".into()),
            ],
            details: vec![("eth0".into(), "two words".into())],
            gro: vec!["eth0".into()],
            assist: vec!["eth1".into()],
            vips: vec![
                ("10.0.0.1".parse().unwrap(), false),
                ("fd00::1".parse().unwrap(), true),
            ],
        };
        assert_eq!(Status::parse(&status.to_string()), status);
        assert_eq!(Status::parse("new thing\nnonsense\n"), Status::default());
    }
}
