//! Commands that cannot be: the kernel's checks of services and real servers, and its error numbers.

use core::net::IpAddr;

use packet::Family;

use crate::destination::{DestinationConfig, Method, TunnelKind};
use crate::options::Options;
use crate::persistence;
use crate::scheduler::Entry;
use crate::service::{NO_SCHEDULER, ServiceConfig};

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// EEXIST: there is such a service.
    #[error("the service exists already")]
    ServiceExists,
    /// EEXIST: the service has such a real server.
    #[error("the real server exists already")]
    DestinationExists,
    /// ESRCH: there is no such service.
    #[error("there is no such service")]
    NoService,
    /// ENOENT: the service has no such real server.
    #[error("the service has no such real server")]
    NoDestination,
    /// ENOENT: no scheduler has this name.
    #[error("there is no such scheduler")]
    NoScheduler,
    /// ENOENT: no persistence engine has this name.
    #[error("there is no such persistence engine")]
    NoPersistenceEngine,
    /// ERANGE: the weight is below 0.
    #[error("the weight is below 0")]
    NegativeWeight,
    /// ERANGE: the lower threshold is above the upper one.
    #[error("the lower threshold is above the upper one")]
    ThresholdsCrossed,
    /// EINVAL: a threshold is above 2147483647.
    #[error("the threshold is too large")]
    ThresholdTooLarge,
    /// EINVAL: the IPv6 prefix length is not 1 to 128.
    #[error("the prefix length is not 1 to 128")]
    PrefixLength,
    /// EINVAL: GUE needs a port.
    #[error("a GUE tunnel needs a port")]
    TunnelPort,
    /// EINVAL: the real server's address is not a unicast one.
    #[error("the real server's address is not a unicast address")]
    NotUnicast,
    /// EINVAL: only tunnels reach a real server of the other address family, and none while connections are
    /// synchronised.
    #[error(
        "only a tunnel reaches a real server of the other address family, and none while a synchronisation daemon runs"
    )]
    MixedFamilies,
    /// EINVAL: a timeout is longer than the kernel can count.
    #[error("the timeout is too long")]
    TimeoutTooLong,
}

impl CommandError {
    /// The Linux error number that the kernel answers with.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::ServiceExists | Self::DestinationExists => 17,
            Self::NoService => 3,
            Self::NoDestination | Self::NoScheduler | Self::NoPersistenceEngine => 2,
            Self::NegativeWeight | Self::ThresholdsCrossed => 34,
            Self::ThresholdTooLarge
            | Self::PrefixLength
            | Self::TunnelPort
            | Self::NotUnicast
            | Self::MixedFamilies
            | Self::TimeoutTooLong => 22,
        }
    }
}

/// Checks a service's settings; its scheduler is `None` when it is to have none.
pub(crate) fn check_service(
    config: &ServiceConfig,
    options: &Options,
) -> Result<Option<&'static Entry>, CommandError> {
    let entry = match config.scheduler.as_str() {
        NO_SCHEDULER => None,
        name => Some(options.scheduler(name).ok_or(CommandError::NoScheduler)?),
    };
    if let Some(engine) = &config.persistence_engine
        && persistence::find(engine).is_none()
    {
        return Err(CommandError::NoPersistenceEngine);
    }
    if config.key.family() == Family::V6 && !(1..=128).contains(&config.netmask) {
        return Err(CommandError::PrefixLength);
    }
    Ok(entry)
}

/// Checks a real server's settings for a service of this family; synchronisation, while it runs, knows one family
/// alone.
pub(crate) fn check_destination(
    family: Family,
    config: &DestinationConfig,
    is_synchronised: bool,
) -> Result<(), CommandError> {
    let own_family = match config.address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(_) => family == Family::V6,
    };
    if !own_family && (config.method != Method::Tunnel || is_synchronised) {
        return Err(CommandError::MixedFamilies);
    }
    if config.weight < 0 {
        return Err(CommandError::NegativeWeight);
    }
    if config.lower_threshold > config.upper_threshold {
        return Err(CommandError::ThresholdsCrossed);
    }
    if config.upper_threshold > i32::MAX.unsigned_abs() {
        return Err(CommandError::ThresholdTooLarge);
    }
    if config.tunnel.kind == TunnelKind::Gue && config.tunnel.port == 0 {
        return Err(CommandError::TunnelPort);
    }
    Ok(())
}

/// Whether packets can be sent to one host of this address, as the kernel's types of addresses have it: of network 0
/// only 0.0.0.0 is none, and no IPv4-mapped IPv6 address is one. Addresses of the host itself are not known here: an
/// IPv6 link-local one is refused even then.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_multicast()
                && !address.is_unicast_link_local()
                && address.to_ipv4_mapped().is_none()
        }
    }
}
