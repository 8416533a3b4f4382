//! Connection synchronisation: what a master tells its backups about connections and templates, and what a
//! backup makes of it.
//!
//! Promises: the master's rules when to tell (`net.ipv4.vs.sync_*`) and the backup's when to create, replace and
//! update are the kernel's (`ip_vs_sync.c`; recordings `sync.*`). An [`Entry`] is a value: how it travels is the
//! control crate's codec, and sockets are the driver's. Nothing is queued unless a master runs.

mod backup;
mod master;

use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub(crate) use master::Mark;

use crate::connection::{Connection, FLAG_INACTIVE, FLAG_NO_OUTPUT, METHOD_MASK, State};
use crate::destination::Method;
use crate::template::Template;

/// IP_VS_CONN_F_SYNC: the entry came by a synchronisation message.
pub const FLAG_SYNC: u32 = 0x0020;
/// IP_VS_CONN_F_NO_CPORT: the client's port is not known yet.
pub const FLAG_NO_CLIENT_PORT: u32 = 0x0800;
/// IP_VS_CONN_F_TEMPLATE: a persistence template.
pub const FLAG_TEMPLATE: u32 = 0x1000;
/// IP_VS_CONN_F_SEQ_MASK: the entry has sequence number shifts.
pub const FLAGS_SEQUENCE: u32 = 0x0600;
/// IP_VS_CONN_F_BACKUP_MASK: flags that a backup takes from a message.
const FLAGS_TAKEN: u32 = METHOD_MASK as u32
    | FLAG_NO_OUTPUT as u32
    | FLAG_INACTIVE as u32
    | FLAGS_SEQUENCE
    | FLAG_NO_CLIENT_PORT
    | FLAG_TEMPLATE;

/// A shift of TCP sequence numbers in one direction, as the FTP helper keeps it (kernel: `ip_vs_seq`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceShift {
    /// Sequence number from which on [`SequenceShift::delta`] is added.
    pub initial: u32,
    /// SequenceShift behind it, modulo 2^32.
    pub delta: u32,
    /// SequenceShift before it, modulo 2^32.
    pub previous_delta: u32,
}

/// What one message says about a connection or template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// IP protocol number; 0 for the template of a firewall-mark service.
    pub protocol: u8,
    /// The kernel's `IP_VS_CONN_F_*` bits; [`FLAG_TEMPLATE`] tells what it is.
    pub flags: u32,
    /// State number of the protocol; of a template 0 NONE, 1 ASSURED.
    pub state: u16,
    /// CIP and port, host order; port 0 in a template.
    pub client: (IpAddr, u16),
    /// VIP (or mark, as [`crate::template::mark_address`]) and port, host order.
    pub virtual_server: (IpAddr, u16),
    /// RIP and port, host order; of the client's family.
    pub server: (IpAddr, u16),
    /// Firewall mark; 0 = none.
    pub mark: u32,
    /// Lifetime without a packet, seconds; 0 = not told (version 0).
    pub timeout: u32,
    /// Sequence number shifts towards the real server and towards the client. The kernel leaves them to connection
    /// tracking today, and so neither tells them nor does a director here; they are read and written all the same.
    pub shifts: Option<[SequenceShift; 2]>,
    /// Persistence engine and what it found: 1 to 16 and 1 to 255 octets.
    pub engine: Option<(String, Box<[u8]>)>,
}

impl Entry {
    /// Whether it is about a persistence template.
    #[must_use]
    pub const fn is_template(&self) -> bool {
        self.flags & FLAG_TEMPLATE != 0
    }

    /// What is to be told about a connection.
    fn of_connection(connection: &Connection) -> Self {
        Self {
            protocol: connection.protocol().number(),
            flags: connection.flags().into(),
            state: connection.state().number().into(),
            client: connection.client(),
            virtual_server: connection.virtual_server(),
            server: connection.server(),
            mark: connection.mark(),
            timeout: connection.timeout(),
            shifts: None,
            engine: None,
        }
    }

    /// What is to be told about a template whose connection has this firewall mark.
    fn of_template(template: &Template, mark: u32) -> Self {
        let key = template.key();
        let method = template.destination.method();
        let no_output = match method {
            Method::Masq => 0,
            _ => FLAG_NO_OUTPUT,
        };
        let flags = FLAG_INACTIVE | method as u16 | no_output;
        Self {
            protocol: key.protocol.map_or(0, |protocol| protocol.number()),
            flags: template.flags() | u32::from(flags),
            state: u16::from(template.is_assured()),
            client: (key.client, 0),
            virtual_server: (key.virtual_address, template.virtual_port()),
            server: (template.destination.address, template.destination_port()),
            mark,
            timeout: u32::try_from(template.timeout().as_secs()).unwrap_or(u32::MAX),
            shifts: None,
            engine: key.data.as_ref().map(|data| {
                let engine = crate::persistence::ENGINES.first();
                (
                    engine.map_or("", |engine| engine.name).to_owned(),
                    data.clone(),
                )
            }),
        }
    }

    /// The state, where the protocol has one of this number.
    fn state(&self) -> Option<State> {
        let protocol = crate::protocol::Protocol::from_number(self.protocol)?;
        State::from_number(protocol, u8::try_from(self.state).ok()?)
    }
}

/// Which synchronisation daemons run.
#[derive(Debug, Default)]
pub struct Roles {
    master: AtomicBool,
    backup: AtomicBool,
}

impl Roles {
    /// The same for a dry run.
    pub(crate) fn fork(&self) -> Self {
        Self {
            master: AtomicBool::new(self.is_master()),
            backup: AtomicBool::new(self.is_backup()),
        }
    }

    /// Whether a master runs: connections are told.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.master.load(Relaxed)
    }

    /// Whether a backup runs.
    #[must_use]
    pub fn is_backup(&self) -> bool {
        self.backup.load(Relaxed)
    }

    /// Whether any of them runs.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.is_master() || self.is_backup()
    }

    /// Starts or stops telling connections.
    pub fn set_master(&self, runs: bool) {
        self.master.store(runs, Relaxed);
    }

    /// Notes that a backup runs, or that none does.
    pub fn set_backup(&self, runs: bool) {
        self.backup.store(runs, Relaxed);
    }
}
