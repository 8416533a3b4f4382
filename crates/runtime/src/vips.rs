//! Who answers for each VIP: ulvs (`owned`) or the host's kernel (`local`), and what that asks of the host.
//!
//! Pure: decides from the kernel's tables; attaching the guard, joining groups and announcing is done elsewhere.

use std::net::IpAddr;

use director::net::{Answer, RouteKind};

use crate::network::tables::Tables;

/// What the operator wants for a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Local when the host has the address, owned otherwise.
    #[default]
    Auto,
    /// Always this.
    Fixed(Answer),
}

/// What the operator says about a VIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Who is to answer.
    pub choice: Choice,
    /// Name of the interface on which an owned VIP is announced; `None` = where its network is.
    pub interface: Option<String>,
}

/// What was decided for a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Who answers.
    pub answer: Answer,
    /// The interface on whose network the VIP lies: where it is announced. `None` for a VIP that a router sends
    /// here, and for local ones.
    pub interface: Option<u32>,
}

/// Decides who answers for `vip`.
///
/// # Errors
/// A sentence that says why nobody could, or why the choice contradicts the host, and what to do.
pub fn place(tables: &Tables, vip: IpAddr, wish: &Wish) -> Result<Placement, String> {
    let local = tables.is_local(vip);
    let interface = match &wish.interface {
        Some(name) => Some(index_of(tables, vip, name)?),
        None => tables.connected(vip),
    };
    let len = if vip.is_ipv4() { 32 } else { 128 };
    match wish.choice {
        Choice::Auto | Choice::Fixed(Answer::Local) if local => Ok(Placement {
            answer: Answer::Local,
            interface: None,
        }),
        Choice::Fixed(Answer::Local) => Err(format!(
            "VIP {vip} is to be answered by the kernel, but no interface has it: \
             `ip addr add {vip}/{len} dev INTERFACE`, or set answer = \"owned\" for it"
        )),
        Choice::Fixed(Answer::Owned) if local => Err(format!(
            "VIP {vip} is to be answered by ulvs, but this host has the address: \
             `ip addr del {vip}/{len} dev INTERFACE`, or set answer = \"local\" for it"
        )),
        Choice::Auto if interface.is_none() => Err(format!(
            "VIP {vip} is neither an address of this host nor on a network it is connected to ({}), \
             so no packet would reach it: `ip addr add {vip}/{len} dev INTERFACE`, or set answer = \
             \"owned\" for it if a router sends its packets here",
            networks(tables, vip)
        )),
        Choice::Auto | Choice::Fixed(Answer::Owned) => Ok(Placement {
            answer: Answer::Owned,
            interface,
        }),
    }
}

fn index_of(tables: &Tables, vip: IpAddr, name: &str) -> Result<u32, String> {
    let found = tables.links().iter().find(|(_, link)| link.name == name);
    found.map(|(&index, _)| index).ok_or_else(|| {
        format!("VIP {vip} is to be announced on {name}, but there is no interface of that name")
    })
}

/// The connected networks of the family of `vip` for a message, such as `10.1.0.5/24 on eth0`.
fn networks(tables: &Tables, vip: IpAddr) -> String {
    let mut list: Vec<String> = Vec::new();
    for (&index, link) in tables.links().iter().filter(|(_, link)| !link.loopback) {
        for (address, len) in tables.addresses(index) {
            let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if address.is_ipv4() == vip.is_ipv4() && !link_local {
                list.push(format!("{address}/{len} on {}", link.name));
            }
        }
    }
    if list.is_empty() {
        let family = if vip.is_ipv4() { "IPv4" } else { "IPv6" };
        list.push(format!("no interface has an {family} address"));
    }
    list.join(", ")
}

/// What the kernel would do on its own with frames that ulvs takes, and so what a guard is needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// `net.ipv4.ip_forward`.
    pub v4: bool,
    /// `net.ipv6.conf.all.forwarding`.
    pub v6: bool,
}

impl Forwarding {
    /// The host's settings.
    #[must_use]
    pub fn read() -> Self {
        let on = |name| crate::network::read_sysctl(name).is_some_and(|value| value != 0);
        Self {
            v4: on("net/ipv4/ip_forward"),
            v6: on("net/ipv6/conf/all/forwarding"),
        }
    }

    /// Whether the kernel forwards packets of this address's family.
    #[must_use]
    pub const fn of(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// Why the kernel must be kept from frames of `vip`; `None` when it keeps silent by itself. The text follows
/// "needs a guard: ".
#[must_use]
pub fn guard_reason(
    tables: &Tables,
    vip: IpAddr,
    answer: Answer,
    forwarding: Forwarding,
) -> Option<String> {
    if answer == Answer::Local {
        return Some(format!(
            "the host has the VIP {vip}, so its kernel would answer clients with resets"
        ));
    }
    if forwarding.of(vip) {
        let family = if vip.is_ipv4() { "IPv4" } else { "IPv6" };
        return Some(format!(
            "{family} forwarding is on, so the kernel would forward frames for the VIP {vip} a second time"
        ));
    }
    // An IPv6 packet without any route is answered "no route" even by a host that does not forward; IPv4 is silent.
    if vip.is_ipv6()
        && tables
            .lookup(vip)
            .is_none_or(|route| route.kind == RouteKind::Unreachable)
    {
        return Some(format!(
            "no route covers the VIP {vip}, so the kernel would answer clients \"no route\""
        ));
    }
    None
}

/// What to do when a guard is needed and cannot be had.
#[must_use]
pub fn unguarded(reason: &str, refusal: &str, vip: IpAddr, answer: Answer) -> String {
    let instead = match (answer, vip) {
        (Answer::Local, _) => format!("take {vip} off the host so that ulvs owns it"),
        (Answer::Owned, IpAddr::V4(_)) => {
            "turn forwarding off with `sysctl net.ipv4.ip_forward=0`".into()
        }
        (Answer::Owned, IpAddr::V6(_)) => format!(
            "turn forwarding off with `sysctl net.ipv6.conf.all.forwarding=0` and add `ip route add blackhole {vip}/128`"
        ),
    };
    format!(
        "{reason}; a guard against that cannot be set ({refusal}): give ulvs CAP_NET_ADMIN and CAP_BPF, or {instead}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tables::tests::world;

    const OWNED: Choice = Choice::Fixed(Answer::Owned);
    const LOCAL: Choice = Choice::Fixed(Answer::Local);

    fn placed(vip: &str, choice: Choice) -> Result<Placement, String> {
        place(
            &world(),
            ip(vip),
            &Wish {
                choice,
                interface: None,
            },
        )
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn auto_follows_the_host() {
        let local = Placement {
            answer: Answer::Local,
            interface: None,
        };
        let owned = |interface| Placement {
            answer: Answer::Owned,
            interface,
        };
        assert_eq!(placed("10.1.0.1", Choice::Auto), Ok(local.clone()));
        assert_eq!(placed("10.1.0.1", LOCAL), Ok(local));
        assert_eq!(placed("10.1.0.9", Choice::Auto), Ok(owned(Some(2))));
        assert_eq!(placed("10.1.0.9", OWNED), Ok(owned(Some(2))));
        assert_eq!(placed("192.0.2.1", OWNED), Ok(owned(None)));
    }

    #[test]
    fn contradictions_are_named() {
        for (vip, choice, part) in [
            ("192.0.2.1", Choice::Auto, "10.1.0.1/24 on eth0"),
            ("10.1.0.9", LOCAL, "ip addr add 10.1.0.9/32"),
            ("10.1.0.1", OWNED, "ip addr del 10.1.0.1/32"),
            ("fd00::1", Choice::Auto, "no interface has an IPv6 address"),
        ] {
            let text = placed(vip, choice).unwrap_err();
            assert!(text.contains(part) && text.contains(vip), "{text}");
        }
    }

    #[test]
    fn an_interface_may_be_named() {
        let named = |name: &str| Wish {
            choice: OWNED,
            interface: Some(name.into()),
        };
        let placement = place(&world(), ip("192.0.2.1"), &named("eth1")).unwrap();
        assert_eq!(placement.interface, Some(3));
        let text = place(&world(), ip("192.0.2.1"), &named("eth7")).unwrap_err();
        assert!(
            text.contains("eth7") && text.contains("192.0.2.1"),
            "{text}"
        );
    }

    #[test]
    fn when_the_kernel_must_be_kept_off() {
        let tables = world();
        let off = Forwarding::default();
        let on = Forwarding {
            v4: true,
            v6: false,
        };
        let reason = |vip: &str, answer, forwarding| {
            guard_reason(&tables, ip(vip), answer, forwarding).unwrap_or_default()
        };
        assert_eq!(reason("10.1.0.9", Answer::Owned, off), "");
        assert!(reason("10.1.0.9", Answer::Owned, on).contains("forwarding is on"));
        assert!(reason("10.1.0.1", Answer::Local, off).contains("resets"));
        assert!(reason("fd00::1", Answer::Owned, off).contains("no route"));
    }
}
