//! TUN without virtio-net headers: every packet complete and at most as long as the MTU.
//!
//! For kernels that know TUN but not its extensions (sandboxes such as gVisor), one worker. The
//! kernel cuts and finishes what it hands over, at a tenth of the throughput of [`crate::tun`];
//! packets whose checksum or segmentation is still to be done cannot be sent and are refused.

use std::sync::Arc;

use crate::sys::tun as sys_tun;
use crate::{Entry, Link, LinkError, Opened, tun};

/// This kind of link.
pub const ENTRY: Entry = Entry {
    name: "tun_plain",
    summary: "IP packets that the host routes to a virtual interface, each complete.",
    when: "Where the kernel has TUN but not virtio-net headers on it.",
    needs: "/dev/net/tun and CAP_NET_ADMIN.",
    open: |request| {
        Ok(Opened {
            links: vec![open(request.name)?],
            group: None,
            detail: None,
            unsteered: None,
        })
    },
};

/// Opens the TUN device `name`, making it when it does not exist, and brings it up.
///
/// # Errors
/// As [`crate::tun::open`].
pub fn open(name: &str) -> Result<Link, LinkError> {
    let file = sys_tun::open_plain(name).map_err(|source| tun::refused(name, source))?;
    tun::bring_up(name)?;
    Ok(tun::link(Arc::new(file), name, false))
}
