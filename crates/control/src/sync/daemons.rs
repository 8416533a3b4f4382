//! The two synchronisation daemons as the operator sees them: `--start-daemon`, `--stop-daemon`, `-L --daemon`.

use core::net::{IpAddr, Ipv4Addr};

use crate::netlink::{DaemonAttrs, Errno, SyncState};

pub use crate::netlink::SyncState as Role;

/// 224.0.0.81.
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const PORT: u16 = 8848;
const TTL: u8 = 1;
/// Octets of an IP and a UDP header.
const HEADERS_V4: u32 = 20 + 8;
const HEADERS_V6: u32 = 40 + 8;
/// MTU that a master counts with, and the least that a backup does.
const MTU: u32 = 1500;
const LENGTH_MAX: u32 = 65_535;
/// Least length that a backup can be told to expect.
const BACKUP_LENGTH_MIN: u32 = 1024;

/// A daemon that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Sender or receiver.
    pub role: Role,
    /// Interface that carries the multicasts.
    pub interface: String,
    /// Identity of the group of directors; a backup with 0 takes every group's messages.
    pub sync_id: u8,
    /// Longest datagram, octets of UDP payload.
    pub max_length: u16,
    /// Multicast group.
    pub group: IpAddr,
    /// UDP port.
    pub port: u16,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Daemon {
    /// The daemon that a command asks for; `mtu_of` tells the MTU of an interface, octets, or why the daemon cannot run
    /// there.
    ///
    /// # Errors
    /// `EINVAL`: role, interface or identity is missing, or the group is no multicast address; else what `mtu_of` says.
    pub fn new(
        attrs: &DaemonAttrs,
        mtu_of: impl FnOnce(&str) -> Result<u32, Errno>,
    ) -> Result<Self, Errno> {
        let (Some(state), Some(interface), Some(sync_id)) =
            (attrs.state, &attrs.interface, attrs.sync_id)
        else {
            return Err(Errno::EINVAL);
        };
        let group = attrs.group.unwrap_or(GROUP);
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let mtu = mtu_of(interface)?;
        let role = SyncState::from_number(state).ok_or(Errno::EINVAL)?;
        let [.., sync_id] = sync_id.to_be_bytes();
        let headers = if group.is_ipv6() {
            HEADERS_V6
        } else {
            HEADERS_V4
        };
        let (own_mtu, least) = match role {
            SyncState::Master => (MTU, 1),
            SyncState::Backup => (mtu.clamp(MTU, LENGTH_MAX), BACKUP_LENGTH_MIN),
        };
        let length = match attrs.max_length {
            None | Some(0) => own_mtu - headers,
            Some(length) => u32::from(length).clamp(least, LENGTH_MAX - headers),
        };
        Ok(Self {
            role,
            interface: interface.clone(),
            sync_id,
            max_length: u16::try_from(length).unwrap_or(u16::MAX),
            group,
            port: attrs.port.filter(|port| *port != 0).unwrap_or(PORT),
            ttl: attrs.ttl.filter(|ttl| *ttl != 0).unwrap_or(TTL),
        })
    }

    /// What `-L --daemon` tells.
    #[must_use]
    pub fn attrs(&self) -> DaemonAttrs {
        DaemonAttrs {
            state: Some(self.role.number()),
            interface: Some(self.interface.clone()),
            sync_id: Some(self.sync_id.into()),
            max_length: Some(self.max_length),
            group: Some(self.group),
            port: Some(self.port),
            ttl: Some(self.ttl),
        }
    }
}

/// The daemons that run: at most one master and one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemons {
    /// The sender.
    pub master: Option<Daemon>,
    /// The receiver.
    pub backup: Option<Daemon>,
}

impl Daemons {
    fn place(&mut self, role: Role) -> &mut Option<Daemon> {
        match role {
            SyncState::Master => &mut self.master,
            SyncState::Backup => &mut self.backup,
        }
    }

    /// Starts a daemon.
    ///
    /// # Errors
    /// `EEXIST`: one in this role runs.
    pub fn start(&mut self, daemon: Daemon) -> Result<(), Errno> {
        let place = self.place(daemon.role);
        if place.is_some() {
            return Err(Errno::EEXIST);
        }
        *place = Some(daemon);
        Ok(())
    }

    /// Stops the daemon in this role.
    ///
    /// # Errors
    /// `ESRCH`: none runs.
    pub fn stop(&mut self, role: Role) -> Result<(), Errno> {
        self.place(role).take().map(drop).ok_or(Errno::ESRCH)
    }

    /// Those that run, the master first.
    pub fn iter(&self) -> impl Iterator<Item = &Daemon> {
        self.master.iter().chain(&self.backup)
    }
}
