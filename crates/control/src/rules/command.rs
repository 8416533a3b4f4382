//! What a command line asks for.

use crate::netlink::{
    DaemonAttrs, DestAttrs, DestKey, DestSettings, Request, ServiceAttrs, ServiceKey,
    ServiceSettings, Timeouts,
};

/// The commands of ipvsadm, in the order of the columns of the option checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
}

impl Kind {
    /// Column of the option checks, and the name that messages use.
    pub(super) const fn column(self) -> (usize, &'static str) {
        match self {
            Self::AddService => (0, "add-service"),
            Self::EditService => (1, "edit-service"),
            Self::DeleteService => (2, "delete-service"),
            Self::Flush => (3, "flush"),
            Self::List => (4, "list"),
            Self::AddServer => (5, "add-server"),
            Self::DeleteServer => (6, "delete-server"),
            Self::EditServer => (7, "edit-server"),
            Self::Set => (8, "set"),
            Self::StartDaemon => (9, "start-daemon"),
            Self::StopDaemon => (10, "stop-daemon"),
            Self::Restore => (11, "restore"),
            Self::Save => (12, "save"),
            Self::Zero => (13, "zero"),
        }
    }
}

/// How a listing looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// Addresses and ports as numbers.
    pub numeric: bool,
    /// Counters.
    pub stats: bool,
    /// Rates.
    pub rate: bool,
    /// Numbers in full.
    pub exact: bool,
    /// Connection thresholds.
    pub thresholds: bool,
    /// Persistence templates, or a persistence engine's data.
    pub persistent_connections: bool,
    /// Tunnel type, port and checksum.
    pub tunnel_info: bool,
    /// In the director's own order.
    pub no_sort: bool,
}

/// What `-L` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Every service.
    All,
    /// One service.
    Service(ServiceKey),
    /// The connection table.
    Connections,
    /// The timeouts.
    Timeouts,
    /// The synchronisation daemons.
    Daemons,
}

/// A command line that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-A`
    AddService(ServiceKey, ServiceSettings),
    /// `-E`
    EditService(ServiceKey, ServiceSettings),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-C`
    Flush,
    /// `-a`
    AddServer(ServiceKey, DestKey, DestSettings),
    /// `-e`
    EditServer(ServiceKey, DestKey, DestSettings),
    /// `-d`
    DeleteServer(ServiceKey, DestKey),
    /// `-L`, `-l`, or nothing at all
    List(Listing, Format),
    /// `-R`
    Restore,
    /// `-S`; numeric or not
    Save(Format),
    /// `-Z`
    Zero(Option<ServiceKey>),
    /// `--set`; 0 = keep
    SetTimeouts(Timeouts),
    /// `--start-daemon`
    StartDaemon(DaemonAttrs),
    /// `--stop-daemon`
    StopDaemon(DaemonAttrs),
    /// `-h`
    Help,
    /// `-v`
    Version,
}

impl Command {
    /// The request that carries the command out; `None` for those that only show something and for
    /// `-R`.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        let key = |key: &ServiceKey| ServiceAttrs::from_key(*key);
        Some(match self {
            Self::AddService(key, settings) => {
                Request::NewService(ServiceAttrs::from_settings(*key, settings))
            }
            Self::EditService(key, settings) => {
                Request::SetService(ServiceAttrs::from_settings(*key, settings))
            }
            Self::DeleteService(service) => Request::DelService(key(service)),
            Self::Flush => Request::Flush,
            Self::AddServer(service, dest, settings) => {
                Request::NewDest(key(service), DestAttrs::from_settings(*dest, settings))
            }
            Self::EditServer(service, dest, settings) => {
                Request::SetDest(key(service), DestAttrs::from_settings(*dest, settings))
            }
            Self::DeleteServer(service, dest) => {
                Request::DelDest(key(service), DestAttrs::from_key(*dest))
            }
            Self::Zero(service) => Request::Zero(service.as_ref().map(key)),
            Self::SetTimeouts(timeouts) => Request::SetConfig(*timeouts),
            Self::StartDaemon(daemon) => Request::NewDaemon(daemon.clone()),
            Self::StopDaemon(daemon) => Request::DelDaemon(daemon.clone()),
            Self::List(..) | Self::Restore | Self::Save(_) | Self::Help | Self::Version => {
                return None;
            }
        })
    }
}
