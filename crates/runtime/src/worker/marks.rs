//! Firewall marks: what `iptables -j MARK` does for kernel IPVS, done by the configuration's rules, as packet sockets
//! see frames before netfilter.

use std::collections::HashMap;
use std::sync::Arc;

use control::config::{self, MarkRule};
use packet::{Headers, Packet};

/// The rules, and the names that they know interfaces by.
#[derive(Clone, Debug)]
pub struct Marks {
    rules: Arc<Vec<MarkRule>>,
    names: HashMap<u32, String>,
}

impl Marks {
    /// Marks by `rules`; `names` are the interfaces' by index.
    #[must_use]
    pub const fn new(rules: Arc<Vec<MarkRule>>, names: HashMap<u32, String>) -> Self {
        Self { rules, names }
    }

    /// The mark of a frame that arrived on `interface`; 0 = none.
    #[must_use]
    pub fn of(&self, interface: u32, packet: &Packet<'_>) -> u32 {
        let Ok(headers) = Headers::parse(packet) else {
            return 0;
        };
        let name = self.names.get(&interface).map_or("", String::as_str);
        let packet = config::Packet::of(name, &headers);
        MarkRule::mark_of(&self.rules, &packet)
    }
}

#[cfg(test)]
mod tests {
    use control::config::Config;

    use super::*;

    #[test]
    fn by_interface_and_port() {
        let text = "[[mark]]\nmark = 7\ninterface = \"eth1\"\nprotocol = \"udp\"\nports = [53]\n";
        let config = Config::parse("test", text).unwrap();
        let names = HashMap::from([(2, "eth0".to_owned()), (3, "eth1".to_owned())]);
        let marks = Marks::new(Arc::new(config.marks), names);
        let mark = |interface, port| {
            let mut bytes = Vec::new();
            etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 60)
                .udp(4000, port)
                .write(&mut bytes, b"x")
                .unwrap();
            let len = bytes.len();
            marks.of(interface, &Packet::new(&mut bytes, 0..len, 14))
        };
        assert_eq!(
            [mark(3, 53), mark(2, 53), mark(3, 54), mark(9, 53)],
            [7, 0, 0, 0]
        );
    }
}
