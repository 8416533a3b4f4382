//! Which services have turned connection tracking on (kernel: `ip_vs_register_conntrack`).

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use packet::Family;

use crate::destination::Method;
use crate::service::Service;
use crate::services::FTP_PORT;

/// For each family, how many services have.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    families: [AtomicU32; 2],
}

impl Trackers {
    /// The same for a dry run.
    pub(crate) fn fork(&self) -> Self {
        let families =
            [0, 1].map(|family: usize| AtomicU32::new(self.families[family].load(Relaxed)));
        Self { families }
    }

    /// Whether the kernel would track the connections of this family: while there is a service on the FTP port that
    /// has, or once had, a real server by NAT.
    pub(crate) fn are_on(&self, family: Family) -> bool {
        self.families[family as usize].load(Relaxed) > 0
    }

    /// A service has got a real server of this `method`, or one that is changed to it.
    pub(crate) fn begin(&self, service: &Service, method: Method) {
        let is_ftp = service.config.key.port() == FTP_PORT && method == Method::Masq;
        if is_ftp && !service.tracks.swap(true, Relaxed) {
            self.family(service).fetch_add(1, Relaxed);
        }
    }

    /// A service is gone.
    pub(crate) fn end(&self, service: &Service) {
        if service.tracks.swap(false, Relaxed) {
            self.family(service).fetch_sub(1, Relaxed);
        }
    }

    fn family(&self, service: &Service) -> &AtomicU32 {
        &self.families[service.config.key.family() as usize]
    }
}
