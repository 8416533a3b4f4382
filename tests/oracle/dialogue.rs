//! FTP and SIP: what their clients and servers say.

use crate::frame::TCP;
use crate::plan::{Body, Data, Flow, Sending, Speaker};
use crate::world::World;

const SYN: u8 = 2;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x18;
const SYN_ACK: u8 = 0x12;

impl World {
    /// A segment with numbers that go on.
    fn segment(&mut self, flow: usize, speaker: Speaker, flags: u8, text: &str) -> Sending {
        let body = Body::Tcp {
            flags,
            data: Data::Text(text.to_owned()),
            stream: true,
        };
        let id = self.next_id();
        Sending::new(flow, speaker, id, body)
    }

    fn say(&mut self, flow: usize, speaker: Speaker, flags: u8, text: &str) {
        let sending = self.segment(flow, speaker, flags, text);
        self.send(sending);
    }

    /// SYN, SYN and ACK, ACK.
    fn greet(&mut self, flow: usize) {
        let mut first = self.segment(flow, Speaker::Client, SYN, "");
        first.settle = true;
        self.send(first);
        self.say(flow, Speaker::Server, SYN_ACK, "");
        self.say(flow, Speaker::Client, ACK, "");
    }

    /// A control connection, then transfers of several kinds, or more of them on the last connection.
    pub(crate) fn ftp(&mut self) {
        let Some(service) = self.services.first().cloned() else {
            return self.configure();
        };
        let old = self
            .some_flow()
            .filter(|(_, flow)| flow.protocol == TCP && flow.virtual_end.1 == 21);
        let control = match old {
            Some((place, _)) if self.draw.chance(60) => place,
            _ => {
                let place = self.add_flow(&service);
                self.plan.flows[place].virtual_end.1 = 21;
                self.greet(place);
                self.say(place, Speaker::Server, PUSH, "220 ready\r\n");
                self.say(place, Speaker::Client, ACK, "");
                place
            }
        };
        let port = u16::try_from(self.draw.between(1025, 65_000)).unwrap_or(2000);
        let v6 = self.plan.flows[control].client.0.is_ipv6();
        match (self.draw.between(0, 4), v6) {
            (0 | 1, false) => self.passive(
                control,
                port,
                &format!(
                    "227 Entering Passive Mode ({{server}},{},{}).\r\n",
                    port >> 8,
                    port & 255
                ),
            ),
            (0..=2, _) => self.passive(
                control,
                port,
                &format!("229 Entering Extended Passive Mode (|||{port}|)\r\n"),
            ),
            (_, false) if self.draw.chance(60) => {
                let client = self.plan.flows[control]
                    .client
                    .0
                    .to_string()
                    .replace('.', ",");
                self.active(
                    control,
                    port,
                    &format!("PORT {client},{},{}\r\n", port >> 8, port & 255),
                );
            }
            _ => {
                let client = self.plan.flows[control].client.0;
                let family = if v6 { 2 } else { 1 };
                self.active(
                    control,
                    port,
                    &format!("EPRT |{family}|{client}|{port}|\r\n"),
                );
            }
        }
        if self.draw.chance(15) {
            self.say(control, Speaker::Client, 0x11, "");
        }
    }

    fn passive(&mut self, control: usize, port: u16, reply: &str) {
        let request = if reply.starts_with("227") {
            "PASV\r\n"
        } else {
            "EPSV\r\n"
        };
        self.say(control, Speaker::Client, PUSH, request);
        self.say(control, Speaker::Server, PUSH, reply);
        self.say(control, Speaker::Client, ACK, "");
        let Flow {
            protocol,
            client,
            virtual_end,
        } = self.plan.flows[control].clone();
        let own = u16::try_from(self.draw.between(1024, 60_000)).unwrap_or(1024);
        self.plan.flows.push(Flow {
            protocol,
            client: (client.0, own),
            virtual_end: (virtual_end.0, port),
        });
        let data = self.plan.flows.len() - 1;
        self.greet(data);
        self.say(data, Speaker::Server, PUSH, "contents");
        self.say(data, Speaker::Client, ACK, "");
        self.say(data, Speaker::Server, 0x11, "");
        self.say(data, Speaker::Client, 0x11, "");
        self.say(control, Speaker::Server, PUSH, "226 done\r\n");
        self.say(control, Speaker::Client, ACK, "");
    }

    fn active(&mut self, control: usize, port: u16, request: &str) {
        self.say(control, Speaker::Client, PUSH, request);
        self.say(control, Speaker::Server, PUSH, "200 so be it\r\n");
        self.say(control, Speaker::Client, ACK, "");
        let server = Speaker::ServerFrom(20, port);
        let body = |flags, data: &str| Body::Tcp {
            flags,
            data: Data::Text(data.to_owned()),
            stream: false,
        };
        let Flow {
            protocol,
            client,
            virtual_end,
        } = self.plan.flows[control].clone();
        self.plan.flows.push(Flow {
            protocol,
            client: (client.0, port),
            virtual_end: (virtual_end.0, 20),
        });
        let data = self.plan.flows.len() - 1;
        for (flow, speaker, flags, text) in [
            (control, server, SYN, ""),
            (data, Speaker::Client, SYN_ACK, ""),
            (control, server, PUSH, "contents"),
            (data, Speaker::Client, ACK, ""),
            (control, server, 0x11, ""),
            (data, Speaker::Client, 0x11, ""),
        ] {
            let id = self.next_id();
            self.send(Sending::new(flow, speaker, id, body(flags, text)));
        }
    }

    /// A message with one of a few Call-IDs, or without.
    pub(crate) fn sip(&mut self) {
        let place = self.draw.place(self.services.len());
        let Some(service) = self.services.get(place).cloned() else {
            return self.configure();
        };
        let flow = match self.some_flow() {
            Some((flow, _)) if self.draw.chance(30) => flow,
            _ => self.add_flow(&service),
        };
        let call = self.draw.between(1, 6);
        let start = self.draw.of(&[
            "INVITE sip:a@b SIP/2.0",
            "SIP/2.0 200 OK",
            "BYE sip:a@b SIP/2.0",
        ]);
        let name = self
            .draw
            .of(&["Call-ID", "Call-ID", "Call-ID", "i", "call-id", "CSeq"]);
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP c\r\n{name}: call{call}@host\r\nContent-Length: 0\r\n\r\n"
        );
        let body = Body::Udp {
            data: Data::Text(text),
            checksum: None,
        };
        let speaker = if self.draw.chance(25) {
            Speaker::Server
        } else {
            Speaker::Client
        };
        let id = self.next_id();
        let mut sending = Sending::new(flow, speaker, id, body);
        sending.settle = speaker == Speaker::Client;
        self.send(sending);
    }
}
