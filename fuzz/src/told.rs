//! What another director tells of its connections and templates, true or not.

use director::sync::{Entry, FLAG_TEMPLATE};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

use crate::host::{client_address, server_address, virtual_address};

/// One entry of a synchronisation message.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Told {
    v6: bool,
    template: bool,
    protocol: u8,
    flags: u32,
    state: u8,
    client: u8,
    port: u8,
    virtual_server: u8,
    server: u8,
    mark: u8,
    timeout: u32,
    engine: u8,
}

impl Told {
    /// The entry, as the codec could have read it.
    #[must_use]
    pub fn entry(self) -> Entry {
        let family = if self.v6 { 4 } else { 0 };
        let (protocol, port) = [(6, 80), (17, 53), (6, 21), (132, 80), (0, 0), (50, 0)]
            [usize::from(self.protocol) % 6];
        let flags = if self.template {
            self.flags | FLAG_TEMPLATE
        } else {
            self.flags & !FLAG_TEMPLATE
        };
        let engines = ["sip", "nosuch"];
        Entry {
            protocol,
            flags,
            state: u16::from(self.state & 15),
            client: (
                client_address(self.v6, self.client),
                1001 + u16::from(self.port & 15),
            ),
            virtual_server: (virtual_address(self.virtual_server & 1 | family >> 1), port),
            server: (server_address(self.server & 3 | family), port),
            mark: u32::from(self.mark & 0x81 == 0x81),
            timeout: self.timeout,
            shifts: None,
            engine: (self.engine & 7 == 7).then(|| {
                let name = engines[usize::from(self.engine >> 3 & 1)];
                (name.to_owned(), Box::from(&b"call@id"[..]))
            }),
        }
    }
}
